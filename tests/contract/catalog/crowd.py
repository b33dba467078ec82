"""One process of a crowd that admits, takes up and completes until nothing is left.

    python -m tests.contract.catalog.crowd URL NAME

It waits for a line on standard input, and prints as JSON how many transfers it saw busy at most,
inside the transactions that admit, and which ones it completed. Between counting what is busy and
reading the queue it stays a moment: that is when admitters who do not take turns pass a limit.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from sqlalchemy import Connection, event, func, select, text

from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import TRANSFER_ACTIVE, TRANSFER_BUSY
from transship.store.catalog.db.schema import transfers as rows
from transship.store.catalog.scheduling import transfers
from transship.store.catalog.scheduling.admission import admission

DIRECTION = "download"
NOW = 1_000_000.0
LINGER_SECONDS = 0.004

_BUSY = select(func.count()).select_from(rows).where(text(TRANSFER_BUSY))
_ACTIVE = select(rows.c.id).where(text(TRANSFER_ACTIVE)).limit(1)


def work(url: str, name: str) -> dict[str, Any]:
    """Take part until no transfer is active; returns what was seen and done."""
    catalog = Catalog(url)
    most_busy = 0
    completed: list[str] = []
    while True:
        with catalog.write() as connection:
            event.listen(connection, "before_cursor_execute", _linger)
            admitted = admission.admit(connection, DIRECTION, NOW)
            most_busy = max(most_busy, connection.execute(_BUSY).scalar_one())
        for one in admitted:
            with catalog.write() as connection:
                claims = transfers.claim(connection, DIRECTION, one.bundle, name, NOW)
            for claim in claims:  # none where somebody else admitted it too
                with catalog.write() as connection:
                    transfers.complete(connection, [(claim, claim.sources[0])], NOW)
                completed.append(claim.digest)
        with catalog.read() as connection:
            if connection.execute(_ACTIVE).first() is None:
                break
    catalog.close()
    return {"most_busy": most_busy, "completed": completed}


def _linger(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    if statement.startswith("SELECT lanes.registry"):  # between the count and the queue
        time.sleep(random.uniform(0, LINGER_SECONDS))


def main() -> None:
    """Wait for the sign, work, and report."""
    url, name = sys.argv[1:]
    Catalog(url).close()  # everything is imported by now
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(work(url, name)), flush=True)


if __name__ == "__main__":
    main()
