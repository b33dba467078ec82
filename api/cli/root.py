"""The command `transship` and its sub-commands, loaded when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TextIO, cast

import click

from transship import __version__

_COMMANDS = "transship.api.cli.commands"
# name: (module of `commands`, its command, the line in --help)
COMMANDS = {
    "up": ("serve", "up", "Run everything in the foreground: API, workers, Redis"),
    "api": ("serve", "api", "Run the API alone"),
    "worker": ("serve", "worker", "Run a worker alone"),
    "migrate": ("serve", "migrate", "Upgrade the database schema"),
    "pull": ("move", "pull", "Pull an image from a registry into the store"),
    "push": ("move", "push", "Push an image from the store to a registry"),
    "copy": ("move", "copy", "Copy an image from one registry to another"),
    "mirror": ("move", "mirror", "Copy whole repositories, or what a policy file selects"),
    "mirrors": ("mirrors", "mirrors", "Manage stored mirror policies"),
    "save": ("archives", "save", "Write an archive of images"),
    "load": ("archives", "load", "Load the images of an archive into the store"),
    "import": ("archives", "import_", "Create an image from a root filesystem tar"),
    "squash": ("archives", "squash", "Merge layers into one"),
    "images": ("images", "images", "List the images in the store"),
    "inspect": ("images", "inspect", "Show an image in the store, or in a registry"),
    "history": ("images", "history", "Show an image's layers and the commands that made them"),
    "children": ("images", "children", "List the images made here from another"),
    "tag": ("images", "tag", "Add a tag to an image"),
    "rm": ("images", "rm", "Remove tags; an image goes with its last tag"),
    "create": ("make", "create", "Create an image from a config and layers in the store"),
    "cache": ("make", "cache", "Look up a cached build step"),
    "workspace": ("workspaces", "workspace", "Change files of an image, and commit them"),
    "prune": ("maintenance", "prune", "Remove unused images"),
    "df": ("records", "df", "Show disk usage"),
    "search": ("records", "search", "Search an index of images"),
    "events": ("records", "events", "Show image events"),
    "jobs": ("jobs", "jobs", "List, show, wait for, cancel and retry jobs"),
    "gc": ("maintenance", "gc", "Delete unreferenced blobs"),
    "fsck": ("maintenance", "fsck", "Verify every blob in the store, and repair it"),
    "credentials": ("access", "credentials", "Manage registry logins stored on the server"),
    "tokens": ("access", "tokens", "Create, list and revoke API tokens"),
    "audit": ("records", "audit", "Show who was refused, and who changed what"),
    "limits": ("limits", "limits", "Show or change the limits in force"),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which a newcomer should meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"{_COMMANDS}.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, and turn whatever happens into one sentence and an exit code."""
        from transship.api.cli.output.errors import exit_code, explain  # noqa: PLC0415
        from transship.api.cli.output.printable import Printable  # noqa: PLC0415

        if not isinstance(sys.stdout, Printable):
            sys.stdout = cast("TextIO", Printable(sys.stdout))
        try:
            return super().main(*args, **extra)
        except click.exceptions.Exit as done:
            return done.exit_code
        except (click.Abort, KeyboardInterrupt):
            sys.stderr.write("interrupted\n")
            return 130
        except click.ClickException as wrong:
            wrong.show()
            return wrong.exit_code
        except Exception as error:  # noqa: BLE001 -- the last place before a traceback
            sys.stderr.write(explain(error))
            return exit_code(error)


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Move container images between registries, as background jobs.

    Commands talk to the server at TRANSSHIP_URL, else to the process that uses the data directory,
    else they start an in-process engine and stop it when done.
    """
