"""The command `transship` and its sub-commands, loaded when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import click

from transship import __version__
from transship.api.cli.groups import Group, debug_option
from transship.store.setting_names import PREFIX, unknown_variables
from transship.store.text import escaped

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM: Final = "transship"
COMPLETE_VARIABLE: Final = "_TRANSSHIP_COMPLETE"
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
    "tags": ("remote", "tags", "List the tags of a repository in a registry"),
    "digest": ("remote", "digest", "Print the digest of an image in a registry"),
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
    "login": ("signin", "login", "Sign in at a registry, and keep the login"),
    "logout": ("signin", "logout", "Forget the login for a registry"),
    "credentials": ("access", "credentials", "Manage registry logins stored on the server"),
    "tokens": ("access", "tokens", "Create, list and revoke API tokens"),
    "audit": ("records", "audit", "Show who was refused, and who changed what"),
    "limits": ("limits", "limits", "Show or change the limits in force"),
    "status": ("server", "status", "Show the server, its workers, and what is degraded"),
    "version": ("server", "version", "Show the versions of program and server"),
    "completion": ("server", "completion", "Print a script of completions for a shell"),
}


class Lazy(Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which a newcomer should meet them."""
        return list(COMMANDS)

    def find(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command."""
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command: click.Command = getattr(
            importlib.import_module(f"{_COMMANDS}.{module}"), attribute
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for one that is mistyped, name those that are like it."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, without importing any; and options."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 -- only a shell needs it

        items = [
            CompletionItem(name, help=line)
            for name, (_, _, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

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
        _warn_of_variables()
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


def _warn_of_variables() -> None:
    """Tell of variables that are no settings; children of `up` leave that to their parent."""
    if f"{PREFIX}CHILD_OF" in os.environ or COMPLETE_VARIABLE in os.environ:
        return
    for name, nearest in unknown_variables(os.environ):
        hint = f"; did you mean {nearest}?" if nearest else ""
        sys.stderr.write(f"transship: warning: {escaped(name)} is not a setting{hint}\n")


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Move container images between registries, as background jobs.

    Commands talk to the server at TRANSSHIP_URL, else to the process that uses the data directory,
    else they start an in-process engine and stop it when done.
    """


cli.params.append(debug_option("-v", "--debug"))
