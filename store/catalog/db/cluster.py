"""What the processes of a cluster must have in common: one data directory, and one secret key.

Both are recorded by the first process that comes. One with another data directory would look for
blobs where they are not; one with another key could open no credential, and would fail the jobs of
all the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from transship.store.catalog.db.schema import cluster
from transship.store.errors import ForeignProcessError


@dataclass(frozen=True, slots=True)
class Identity:
    """The id of a data directory, and the fingerprint of a secret key; None where unknown."""

    home: str | None
    key_fingerprint: str | None


def recorded(connection: Connection) -> Identity:
    """What the cluster has recorded."""
    row = connection.execute(select(cluster.c.home, cluster.c.key_fingerprint)).one()
    return Identity(row.home, row.key_fingerprint)


def check(own: Identity, known: Identity) -> None:
    """Compare a process with its cluster. What the cluster has not recorded yet is no difference.

    Raises:
        ForeignProcessError: it has another data directory, or another key.
    """
    if known.home is not None and own.home != known.home:
        raise ForeignProcessError(
            "this data directory is not the one that the database belongs to",
            subject="TRANSSHIP_HOME",
            hint="use the directory that the cluster's other processes use; after a move that was"
            " meant, run `transship migrate --adopt`",
        )
    if known.key_fingerprint not in (None, own.key_fingerprint):
        raise ForeignProcessError(
            "this secret key is not the one that the cluster's credentials are sealed with",
            subject="TRANSSHIP_SECRET_KEY",
            hint="use the key of the cluster's other processes; where it is lost, run"
            " `transship migrate --adopt`, and add the credentials again",
        )


def record(connection: Connection, own: Identity) -> None:
    """Make *own* what every process of the cluster has to have."""
    connection.execute(update(cluster).values(home=own.home, key_fingerprint=own.key_fingerprint))
