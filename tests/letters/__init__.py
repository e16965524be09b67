"""Golden letters: what crosses the door, byte for byte; pytest and cargo test read the same files."""
