"""Telemeters: what was counted, and how others read it."""
