"""The admin server: what a process shows of itself, and how it is told to stop; for linkers and namerd alike."""
