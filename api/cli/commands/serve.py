"""up, api, worker, migrate: the processes of a server."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Serve HTTP there; port 0 takes a free one.")
@click.option(
    "--flower",
    is_flag=False,
    flag_value="127.0.0.1:5555",
    metavar="[HOST:PORT]",
    help="Run Flower too, read-only.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True)
def up(listen: str | None, flower: str | None, workers: int) -> int:
    """Run everything in the foreground until Ctrl-C: API, workers, and, if needed, a private Redis.

    Children that die are started again; all of them end with this command.
    """
    from transship.api.processes.up import run  # noqa: PLC0415 -- --help needs none of it

    return run(_settings(listen), flower=flower, workers=workers)


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Serve HTTP there.")
def api(listen: str | None) -> int:
    """Run the API alone; it needs TRANSSHIP_BROKER_URL."""
    from transship.api.processes.roles import run_api  # noqa: PLC0415

    run_api(_settings(listen))
    return 0


@click.command()
@click.option(
    "-Q",
    "--queues",
    default="control,downloads,uploads,local",
    show_default=True,
    help="Which queues to serve, by comma.",
)
def worker(queues: str) -> int:
    """Run a worker alone; it needs TRANSSHIP_BROKER_URL."""
    from transship.api.processes.roles import run_worker  # noqa: PLC0415
    from transship.workers.runtime.wire import Queue  # noqa: PLC0415

    known = {queue.value.removeprefix("transship."): queue for queue in Queue}
    names = [name.strip().removeprefix("transship.") for name in queues.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(
            f"{unknown[0]!r} must be one of {', '.join(known)}", param_hint="--queues"
        )
    return run_worker(_settings(None), [known[name] for name in names])


@click.command()
@click.option(
    "--adopt",
    is_flag=True,
    help="Make this data directory and this secret key the cluster's, after a move or a loss.",
)
def migrate(adopt: bool) -> int:
    """Upgrade the database schema. Run it while nothing else runs."""
    from transship.store.catalog.db.engine import Catalog  # noqa: PLC0415
    from transship.store.home import prepare_home  # noqa: PLC0415
    from transship.workers.process.bootstrap import join_cluster  # noqa: PLC0415

    settings = _settings(None)
    prepare_home(settings.home)
    catalog = Catalog(settings.catalog_url)
    try:
        before = catalog.schema_version()
        catalog.migrate()
        join_cluster(settings, catalog, adopt=adopt)
        after = catalog.schema_version()
    finally:
        name = catalog.name
        catalog.close()
    if before == after:
        print(f"{name}: schema {after}, nothing to do")
    else:
        print(f"{name}: schema {before or 'none'} -> {after}")
    return 0


def _settings(listen: str | None) -> Any:
    from transship.store.settings import Settings  # noqa: PLC0415

    return Settings.load(**({"listen": listen} if listen is not None else {}))
