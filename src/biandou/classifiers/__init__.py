"""Response classifiers in Python: third parties'. Those of Linkerd are run by the engine (`policies.py`)."""
