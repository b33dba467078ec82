"""What all commands have: an example in their help, a trace of requests, help with misspellings."""

from __future__ import annotations

from typing import Any

import click

from transship.api.cli.examples import EXAMPLES


class Group(click.Group):
    """A group of commands, each with its example and with `--debug`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, completed."""
        command = self.find(ctx, cmd_name)
        if command is not None:
            path = " ".join((*_path(ctx), cmd_name))
            if path in EXAMPLES:
                command.epilog = f"\b\nExample:\n  transship {EXAMPLES[path]}"
            if not any(parameter.name == "debug" for parameter in command.params):
                command.params.append(_debug_option(command))
        return command

    def find(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, as it was written."""
        return super().get_command(ctx, name)


def trace(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Show each request to the server on stderr from now on."""
    if wanted and not context.resilient_parsing:
        from transship.api.client.http import HttpClient  # noqa: PLC0415 -- few commands want it

        HttpClient.trace = staticmethod(_say)


def debug_option(*names: str) -> click.Option:
    """The option that turns the trace on."""
    return click.Option(
        [*names, "debug"],
        is_flag=True,
        expose_value=False,
        callback=trace,
        help="Show each request to the server on stderr.",
    )


def _debug_option(command: click.Command) -> click.Option:
    taken = {name for parameter in command.params for name in parameter.opts}
    return debug_option(*(() if "-v" in taken else ("-v",)), "--debug")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _path(context: click.Context | None) -> list[str]:
    """The names of the groups down to *context*, the program apart."""
    names: list[Any] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return names
