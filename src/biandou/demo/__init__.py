"""The demonstration behind `biandou demo`: services, two linkers, traffic, and a story that moves it."""
