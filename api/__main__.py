"""`python -m api` is `transship`."""

from api.cli import main

main()
