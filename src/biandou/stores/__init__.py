"""The room of stores: where namerd keeps its dtabs, a kind each file."""
