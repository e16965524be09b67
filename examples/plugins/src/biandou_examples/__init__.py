"""Plugins for Biandou, as a third party writes them."""
