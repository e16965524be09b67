"""The configuration file: read, typed, checked, and made into the engine's plan."""
