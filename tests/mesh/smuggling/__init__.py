"""Messages that two readers could take differently, as tables: what is sent, and what may become of it."""
