"""The command `transship` and its sub-commands, loaded when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TextIO, cast

import click

# name: (module, its command, the line in --help)
COMMANDS = {
    "up": ("api.cli.serve", "up", "Run everything in the foreground: API, workers, Redis"),
    "api": ("api.cli.serve", "api", "Run the API alone"),
    "worker": ("api.cli.serve", "worker", "Run a worker alone"),
    "migrate": ("api.cli.serve", "migrate", "Upgrade the database schema"),
    "pull": ("api.cli.move", "pull", "Pull an image from a registry into the store"),
    "push": ("api.cli.move", "push", "Push an image from the store to a registry"),
    "copy": ("api.cli.move", "copy", "Copy an image from one registry to another"),
    "mirror": ("api.cli.move", "mirror", "Copy whole repositories, or what a policy file selects"),
    "mirrors": ("api.cli.mirrors", "mirrors", "Manage stored mirror policies"),
    "save": ("api.cli.archives", "save", "Write an archive of images"),
    "load": ("api.cli.archives", "load", "Load the images of an archive into the store"),
    "import": ("api.cli.archives", "import_", "Create an image from a root filesystem tar"),
    "squash": ("api.cli.archives", "squash", "Merge layers into one"),
    "images": ("api.cli.images", "images", "List the images in the store"),
    "inspect": ("api.cli.images", "inspect", "Show an image in the store, or in a registry"),
    "history": (
        "api.cli.images",
        "history",
        "Show an image's layers and the commands that made them",
    ),
    "children": ("api.cli.images", "children", "List the images made here from another"),
    "tag": ("api.cli.images", "tag", "Add a tag to an image"),
    "rm": ("api.cli.images", "rm", "Remove tags; an image goes with its last tag"),
    "create": ("api.cli.make", "create", "Create an image from a config and layers in the store"),
    "cache": ("api.cli.make", "cache", "Look up a cached build step"),
    "workspace": ("api.cli.workspaces", "workspace", "Change files of an image, and commit them"),
    "prune": ("api.cli.upkeep", "prune", "Remove unused images"),
    "df": ("api.cli.records", "df", "Show disk usage"),
    "search": ("api.cli.records", "search", "Search an index of images"),
    "events": ("api.cli.records", "events", "Show image events"),
    "jobs": ("api.cli.jobs", "jobs", "List, show, wait for, cancel and retry jobs"),
    "gc": ("api.cli.upkeep", "gc", "Delete unreferenced blobs"),
    "fsck": ("api.cli.upkeep", "fsck", "Verify every blob in the store, and repair it"),
    "credentials": ("api.cli.access", "credentials", "Manage registry logins stored on the server"),
    "tokens": ("api.cli.access", "tokens", "Create, list and revoke API tokens"),
    "audit": ("api.cli.records", "audit", "Show who was refused, and who changed what"),
    "limits": ("api.cli.limits", "limits", "Show or change the limits in force"),
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
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, and turn whatever happens into one sentence and an exit code."""
        from api.cli.errors import exit_code, explain  # noqa: PLC0415
        from api.cli.printable import Printable  # noqa: PLC0415

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
@click.version_option(package_name="transship")
def cli() -> None:
    """Move container images between registries, as background jobs.

    Commands talk to the server at TRANSSHIP_URL, else to the process that uses the data directory,
    else they start an in-process engine and stop it when done.
    """
