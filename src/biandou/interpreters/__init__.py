"""② Binding: what a service name means here and now."""
