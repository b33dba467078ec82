"""The command `transship` and its sub-commands, loaded when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TextIO, cast

import click

# name: (module, its command, the line in --help)
COMMANDS = {
    "up": (
        "transship.api.cli.commands.serve",
        "up",
        "Run everything in the foreground: API, workers, Redis",
    ),
    "api": ("transship.api.cli.commands.serve", "api", "Run the API alone"),
    "worker": ("transship.api.cli.commands.serve", "worker", "Run a worker alone"),
    "migrate": ("transship.api.cli.commands.serve", "migrate", "Upgrade the database schema"),
    "pull": (
        "transship.api.cli.commands.move",
        "pull",
        "Pull an image from a registry into the store",
    ),
    "push": (
        "transship.api.cli.commands.move",
        "push",
        "Push an image from the store to a registry",
    ),
    "copy": (
        "transship.api.cli.commands.move",
        "copy",
        "Copy an image from one registry to another",
    ),
    "mirror": (
        "transship.api.cli.commands.move",
        "mirror",
        "Copy whole repositories, or what a policy file selects",
    ),
    "mirrors": ("transship.api.cli.commands.mirrors", "mirrors", "Manage stored mirror policies"),
    "save": ("transship.api.cli.commands.archives", "save", "Write an archive of images"),
    "load": (
        "transship.api.cli.commands.archives",
        "load",
        "Load the images of an archive into the store",
    ),
    "import": (
        "transship.api.cli.commands.archives",
        "import_",
        "Create an image from a root filesystem tar",
    ),
    "squash": ("transship.api.cli.commands.archives", "squash", "Merge layers into one"),
    "images": ("transship.api.cli.commands.images", "images", "List the images in the store"),
    "inspect": (
        "transship.api.cli.commands.images",
        "inspect",
        "Show an image in the store, or in a registry",
    ),
    "history": (
        "transship.api.cli.commands.images",
        "history",
        "Show an image's layers and the commands that made them",
    ),
    "children": (
        "transship.api.cli.commands.images",
        "children",
        "List the images made here from another",
    ),
    "tag": ("transship.api.cli.commands.images", "tag", "Add a tag to an image"),
    "rm": (
        "transship.api.cli.commands.images",
        "rm",
        "Remove tags; an image goes with its last tag",
    ),
    "create": (
        "transship.api.cli.commands.make",
        "create",
        "Create an image from a config and layers in the store",
    ),
    "cache": ("transship.api.cli.commands.make", "cache", "Look up a cached build step"),
    "workspace": (
        "transship.api.cli.commands.workspaces",
        "workspace",
        "Change files of an image, and commit them",
    ),
    "prune": ("transship.api.cli.commands.maintenance", "prune", "Remove unused images"),
    "df": ("transship.api.cli.commands.records", "df", "Show disk usage"),
    "search": ("transship.api.cli.commands.records", "search", "Search an index of images"),
    "events": ("transship.api.cli.commands.records", "events", "Show image events"),
    "jobs": (
        "transship.api.cli.commands.jobs",
        "jobs",
        "List, show, wait for, cancel and retry jobs",
    ),
    "gc": ("transship.api.cli.commands.maintenance", "gc", "Delete unreferenced blobs"),
    "fsck": (
        "transship.api.cli.commands.maintenance",
        "fsck",
        "Verify every blob in the store, and repair it",
    ),
    "credentials": (
        "transship.api.cli.commands.access",
        "credentials",
        "Manage registry logins stored on the server",
    ),
    "tokens": ("transship.api.cli.commands.access", "tokens", "Create, list and revoke API tokens"),
    "audit": (
        "transship.api.cli.commands.records",
        "audit",
        "Show who was refused, and who changed what",
    ),
    "limits": ("transship.api.cli.commands.limits", "limits", "Show or change the limits in force"),
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
@click.version_option(package_name="transship")
def cli() -> None:
    """Move container images between registries, as background jobs.

    Commands talk to the server at TRANSSHIP_URL, else to the process that uses the data directory,
    else they start an in-process engine and stop it when done.
    """
