"""How others talk to namerd: an interface a file."""
