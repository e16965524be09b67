"""The linker: the data plane's process, and the road of a name through the Python rooms."""
