"""`python -m biandou` is the command `biandou`."""

from biandou.cli import main

main()
