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
    "migrate": ("api.cli.serve", "migrate", "Bring the database to this version's schema"),
    "pull": ("api.cli.move", "pull", "Bring an image from a registry into the store"),
    "push": ("api.cli.move", "push", "Send an image from the store to a registry"),
    "copy": ("api.cli.move", "copy", "Copy an image from one registry to another"),
    "mirror": ("api.cli.move", "mirror", "Copy repositories, as a policy says or all tags of one"),
    "mirrors": ("api.cli.mirrors", "mirrors", "Work with policies of what to mirror"),
    "save": ("api.cli.archives", "save", "Write an archive of images"),
    "load": ("api.cli.archives", "load", "Take the images of an archive into the store"),
    "import": ("api.cli.archives", "import_", "Make an image of the tar of a file system"),
    "squash": ("api.cli.archives", "squash", "Make one layer of several"),
    "images": ("api.cli.images", "images", "List the images in the store"),
    "inspect": ("api.cli.images", "inspect", "Show what is held of an image, or in a registry"),
    "history": ("api.cli.images", "history", "Show how an image came about"),
    "children": ("api.cli.images", "children", "List the images made here from another"),
    "tag": ("api.cli.images", "tag", "Give an image another name"),
    "rm": ("api.cli.images", "rm", "Take names of images away, and images with their last"),
    "create": ("api.cli.make", "create", "Make an image of a config, over layers that are held"),
    "cache": ("api.cli.make", "cache", "Find the image that a step of a build gives"),
    "workspace": ("api.cli.workspaces", "workspace", "Put files over an image, and commit them"),
    "prune": ("api.cli.upkeep", "prune", "Remove images that nobody needs"),
    "df": ("api.cli.records", "df", "Show what images take up"),
    "search": ("api.cli.records", "search", "Search an index of images"),
    "events": ("api.cli.records", "events", "Show what has happened to images"),
    "jobs": ("api.cli.jobs", "jobs", "List, show, wait for, cancel and retry jobs"),
    "gc": ("api.cli.upkeep", "gc", "Collect what no image, job or workspace needs"),
    "fsck": ("api.cli.upkeep", "fsck", "Hash the whole store again, and repair it"),
    "credentials": ("api.cli.access", "credentials", "Let the server keep logins for registries"),
    "tokens": ("api.cli.access", "tokens", "Make, list and remove tokens for the API"),
    "audit": ("api.cli.records", "audit", "Show who was refused, and who changed what"),
    "limits": ("api.cli.limits", "limits", "Show or change the limits, while everything runs"),
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

    With TRANSSHIP_URL a command talks to that server; without, it uses the engine that runs on
    this home, or brings its own for as long as it takes.
    """
