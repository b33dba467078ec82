"""load, save, import, squash: archives of images, and images made of them and of others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from transship.api.cli.connect.completion import references as local_references
from transship.api.cli.connect.options import (
    job_options,
    job_options_for_files,
    platform_options,
    source_date_epoch,
)
from transship.api.cli.submit import ask


@click.command()
@click.argument("file")
@click.option("--repository", metavar="REPOSITORY", help="Repository for tags without one.")
@job_options
def load(file: str, repository: str | None, **options: Any) -> int:
    """Take the images of the archive FILE, or of standard input where it is -, into the store.

    It may be a docker-archive or an OCI layout as a tar, compressed or not.
    """
    return _send("/loads", file, {"kind": "load", "repository": repository}, options)


@click.command(name="import")
@click.argument("source")
@click.argument("reference", required=False)
@click.option("--change", "-c", "changes", multiple=True, help="A Dockerfile instruction.")
@click.option("--message", "-m", default="", help="Commit message.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="What it is for; here by default.")
@job_options
def import_(
    source: str,
    reference: str | None,
    changes: tuple[str, ...],
    message: str,
    platform: str | None,
    **options: Any,
) -> int:
    """Make an image, called REFERENCE where that is given, of the tar of a file system.

    SOURCE is a file, a URL that the server fetches, or - for standard input. With
    SOURCE_DATE_EPOCH in the environment that is when the image was created.
    """
    spec = {
        "kind": "import",
        "reference": reference,
        "changes": list(changes),
        "message": message,
        "platform": platform,
        "source_date_epoch": source_date_epoch(),
    }
    if _is_url(source):
        return ask({**spec, "url": source}, options)
    return _send("/imports", source, spec, options)


def _is_url(source: str) -> bool:
    """Whether it is to be fetched; without a scheme where it begins with a host, and is no file."""
    if source.startswith(("http://", "https://")):
        return True
    host, _, path = source.partition("/")
    is_host = host == "localhost" or "." in host.strip(".") or ":" in host
    return bool(path) and is_host and not Path(source).exists()


@click.command()
@click.argument("references", nargs=-1, required=True, shell_complete=local_references)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Where to; - is standard output.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["docker", "oci"]),
    default="docker",
    help="docker: readable by any Docker; oci: for strict OCI readers.",
)
@click.option(
    "--compress",
    type=click.Choice(["none", "gzip", "zstd"]),
    default="none",
    help="Compress the archive; layers stay as they are.",
)
@click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Platform that Docker loads from a multi-platform image.",
)
@job_options_for_files
def save(
    references: tuple[str, ...],
    output: str | None,
    format_: str,
    compress: str,
    platform: str | None,
    **options: Any,
) -> int:
    """Write an archive of the images REFERENCES; a repository without a tag is all its tags.

    The format docker is read by every Docker, and by whatever reads OCI layouts as well.
    """
    from transship.api.cli.commands.transfer import save_archive  # noqa: PLC0415 -- --help needs none of it

    target = None if output in (None, "-") else output
    if target is None and sys.stdout.isatty():
        raise click.UsageError("an archive is not for a terminal: use -o FILE, or a pipe")
    if options.pop("detach"):
        raise click.UsageError("the archive comes when the job has ended: --detach makes no sense")
    spec = {"kind": "export", "references": list(references), "format": format_}
    if platform is not None:
        spec["platform"] = platform
    return save_archive(spec, Path(target) if target else None, compress, options)


@click.command()
@click.argument("reference", shell_complete=local_references)
@click.option("--tag", "-t", "target", metavar="NEW", required=True, help="Name of the new image.")
@click.option("--parent", metavar="REF", help="Squash what is above this image.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Squash the last N layers.")
@click.option(
    "--compress",
    type=click.Choice(["gzip", "zstd"]),
    default="gzip",
    help="Of the new layer; zstd makes Docker's media types OCI's.",
)
@platform_options
@job_options
def squash(
    reference: str,
    target: str,
    parent: str | None,
    last: int | None,
    compress: str,
    **options: Any,
) -> int:
    """Make one layer of the layers of REFERENCE: of all, or of those above --parent.

    REFERENCE, NEW and the parent may be in a registry each: write `registry:` before the name.
    With SOURCE_DATE_EPOCH in the environment that is when the image was created, and the same
    layers give the same image.
    """
    spec = {
        "kind": "squash",
        "reference": reference,
        "target": target,
        "parent": parent,
        "last": last,
        "compress": compress,
        "source_date_epoch": source_date_epoch(),
    }
    return ask(spec, options)


def _send(path: str, file: str, spec: dict[str, Any], options: dict[str, Any]) -> int:
    """Send a file, or standard input, and follow the job that is made of it."""
    from transship.api.cli.commands.transfer import send_file  # noqa: PLC0415
    from transship.workers.specs import parse_spec  # noqa: PLC0415

    for name in ("priority", "deadline"):
        if (value := options.pop(name)) is not None:
            spec[name] = value
    parse_spec(spec)  # before anything is sent
    del spec["kind"]
    if "changes" in spec:
        spec["change"] = spec.pop("changes")  # a query repeats one of them
    with _opened(file) as (stream, size):
        return send_file(path, stream, size, spec, **options)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file and, where it is one, its length."""
    if file == "-":
        if sys.stdin.isatty():
            raise click.UsageError("an archive does not come from a terminal: name a file, or pipe")
        yield sys.stdin.buffer, None
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    with stream:
        regular = Path(file).is_file()
        yield stream, os.fstat(stream.fileno()).st_size if regular else None
