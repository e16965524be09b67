"""④ Transformation: which of a client name's endpoints, and on what port."""
