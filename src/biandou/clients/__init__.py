"""One client a back end, shared by the rooms that need it."""
