"""Announcers: where the addresses of our servers are made known, one file a kind (reference/naming.md §7)."""
