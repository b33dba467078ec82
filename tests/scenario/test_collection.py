"""A thousand collections against a thousand pulls: no name ever lacks a blob."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.images import build_image, push_to_registry
from tests.support.registries import RegistryProcess
from transship.api.client import Client
from transship.api.client.exchange import RefusedError
from transship.api.processes.embedded import Engine
from transship.api.processes.locks import SOCKET
from transship.store.catalog.content import collection
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import blobs, edges
from transship.store.catalog.db.schema import references as reference_rows
from transship.store.content.local import LocalStore
from transship.store.gc import broken, sweep
from transship.store.oci.digest import Digest
from transship.store.settings import Settings

PULLS = COLLECTIONS = 1000
IN_FLIGHT = 8
LAYERS = 6


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_thousand_collections_against_a_thousand_pulls(
    source: RegistryProcess, tmp_path: Path
) -> None:
    """Images share layers and names come and go: there is always something to take."""
    names = _push_overlapping(source)
    settings = Settings(home=tmp_path / "home", lease_seconds=20.0, max_concurrent_downloads=8)
    engine = Engine(settings, kind="up")
    catalog = Catalog(settings.catalog_url)
    content = LocalStore(settings.home)
    swept = [0]
    ended = threading.Event()
    failures: list[BaseException] = []

    def collect() -> None:
        try:
            for _ in range(COLLECTIONS):
                swept[0] += sweep(catalog, content, check=lambda: None).blobs
                _check(catalog, content)
        except BaseException as failure:  # noqa: BLE001 -- raised by whoever waits
            failures.append(failure)
        finally:
            ended.set()

    collecting = threading.Thread(target=collect)
    collecting.start()
    try:
        pulled = _pull(settings.run_dir / SOCKET, names, ended)
    finally:
        ended.wait(300)
        collecting.join(300)
        _check(catalog, content)
        engine.stop(wait_for_clients=False)
        catalog.close()
    if failures:
        raise failures[0]
    assert pulled >= PULLS
    assert swept[0] > PULLS / 10  # they did meet


def _push_overlapping(source: RegistryProcess) -> list[str]:
    base = build_image("base", layers=LAYERS, layer_bytes=4000)
    names = []
    for number in range(12):
        image = build_image(f"top {number % 4}", layers=2, layer_bytes=3000, base=base,
                            labels={"variant": str(number)})  # fmt: skip
        push_to_registry(source.url, f"team/app{number % 3}", f"v{number}", image)
        names.append(f"{source.host}/team/app{number % 3}:v{number}")
    return names


def _pull(socket: Path, names: list[str], ended: threading.Event) -> int:
    """Pull at random, and take names away at random, until there were enough of both."""
    random = Random(1)
    done = [0]
    lock = threading.Lock()
    failures: list[Any] = []

    def work(seed: int) -> None:
        mine = Random(seed)
        with Client("http://engine", socket=socket) as client:
            while not failures:
                with lock:
                    if done[0] >= PULLS and ended.is_set():
                        return
                    done[0] += 1
                name = mine.choice(names)
                job = client.wait(
                    client.submit({"kind": "pull", "reference": name}, credentials={})["id"]
                )
                if job["state"] != "succeeded":
                    failures.append(job["error"])
                if mine.random() < 0.7:
                    _remove(client, name)

    threads = [threading.Thread(target=work, args=(random.random(),)) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return done[0]


def _remove(client: Client, name: str) -> None:
    """Take an image away, unless somebody pulls it, or has taken it away already."""
    with contextlib.suppress(RefusedError):
        client.remove(name, force=True)


def _check(catalog: Catalog, content: LocalStore) -> None:
    """Nothing that a name leads to is missing, in the catalog or on the disk."""
    with catalog.read() as connection:
        assert broken(collection.snapshot(connection)) == []
        roots = set(connection.execute(select(reference_rows.c.digest)).scalars())
        below = connection.execute(select(edges.c.parent, edges.c.child)).all()
        held = set(connection.execute(select(blobs.c.digest)).scalars())
    needed, ahead = set(), list(roots)
    while ahead:
        digest = ahead.pop()
        if digest not in needed:
            needed.add(digest)
            ahead += [child for parent, child in below if parent == digest]
    assert needed <= held
    for digest in needed:
        if content.size(Digest.parse(digest)) is None:
            # Its name may have gone since, and its blob with it.
            with catalog.read() as connection:
                assert not collection.held(connection, [digest]), digest
