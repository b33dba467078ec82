"""Passwords: from standard input or the terminal, and never from an argument."""

from __future__ import annotations

import sys

import click


def secret(from_stdin: bool) -> str:
    """The password: all of standard input, or what is typed without being shown.

    Raises:
        click.UsageError: there is no terminal to ask, or nothing came.
    """
    if from_stdin:
        typed = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        typed = click.prompt("Password", hide_input=True, err=True)
    else:
        raise click.UsageError("there is no terminal to ask for a password: use --password-stdin")
    if not typed:
        raise click.UsageError("the password is empty")
    return typed
