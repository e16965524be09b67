"""Access logs of namerd: a line for each call (reference/linker.md §6.4), written by a thread of their own.

The linker's are the engine's (`engine/src/access_log`), which a namerd does without; their rules are the same.
"""
