"""Biandou: a service mesh in which every name is resolved through a table that can be changed while traffic flows."""

__version__ = "0.1.0"
