"""Entry point of `python -m gnnpot`."""

from gnnpot.cli import main

main()
