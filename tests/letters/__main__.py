"""Writes the golden files anew: `PYTHONPATH=src python -m tests.letters`."""

from tests.letters.golden import FAMILIES, file, shown

for family in FAMILIES:
    file(family).write_text(shown(family))
