"""`python -m transship` is `transship`."""

from transship.api.cli import main

main()
