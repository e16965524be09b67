"""③ Resolution: where a client name is."""
