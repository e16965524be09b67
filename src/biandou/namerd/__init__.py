"""namerd: the control plane, which keeps dtabs and binds names for linkers."""
