"""The tests that take above a minute, which `make test` leaves out."""
