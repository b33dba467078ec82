"""Nobody's input harms another's image: wrong sizes, lying registries, blobs of others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from tests.contract.catalog.prepared import PreparedPostgres, prepared_sqlite
from tests.support.engine import Engine
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until
from tests.support.registry_simulator import RegistrySimulator, digest_of
from transship.store.catalog.access.tenants import HOUSE
from transship.store.catalog.content import references
from transship.store.catalog.db.schema import images as image_rows
from transship.store.catalog.db.schema import references as reference_rows
from transship.store.errors import BlobMissingError
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.credentials import Credential

WRONG = {"shorter": 5, "longer": 2000, "empty": 0}

Registries = Callable[[], RegistrySimulator]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with PostgresCluster() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def engine(
    dialect: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The engine of all tests that care for their own registries and layers only."""
    with ExitStack() as stack:
        settings: dict[str, Any] = {}
        if dialect == "postgresql":
            cluster: PostgresCluster = request.getfixturevalue("cluster")
            settings["database_url"] = cluster.url(stack.enter_context(cluster.database()))
        home = tmp_path_factory.mktemp("shared") / "home"
        yield stack.enter_context(Engine(home, **settings))


@pytest.fixture(scope="module")
def prepared_postgres(cluster: PostgresCluster) -> Iterator[PreparedPostgres]:
    with cluster.database() as name:
        prepared = PreparedPostgres(cluster, name)
        yield prepared
        prepared.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def database(dialect: str, request: pytest.FixtureRequest, home: Path) -> Iterator[dict[str, Any]]:
    """What the settings of a test's own engine say of its database, which is as new."""
    if dialect == "sqlite":
        prepared_sqlite(home)
        yield {}
        return
    prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
    yield {"database_url": prepared.url}
    prepared.renew()


@pytest.fixture
def registries() -> Iterator[Registries]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(RegistrySimulator())


@pytest.fixture
def layer() -> bytes:
    """Bytes that no other test has."""
    return os.urandom(1000)


def bodies(registry: RegistrySimulator, data: bytes) -> int:
    """How often a blob's body was asked for."""
    path = f"/blobs/{digest_of(data)}"
    return sum(r.method == "GET" and r.target.endswith(path) for r in registry.requests())


def sizes_of(engine: Engine, digest: str) -> list[int]:
    return [row.size for row in engine.ask(f"SELECT size FROM blobs WHERE digest = '{digest}'")]


@pytest.mark.parametrize("claimed", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("kind", ["pull", "copy"])
def test_a_wrong_size_of_a_held_layer_fails_the_job_that_brought_it(
    engine: Engine, registries: Registries, layer: bytes, kind: str, claimed: int
) -> None:
    digest = digest_of(layer)
    good, evil, target = registries(), registries(), registries()
    good.add_image("app", "1", [layer])
    evil.add_image("app", "1", [layer], sizes={1: claimed})
    assert engine.run(kind="pull", reference=f"{good.host}/app:1").state == "succeeded"
    wrong = (
        engine.run(kind="pull", reference=f"{evil.host}/app:1")
        if kind == "pull"
        else engine.run(
            kind="copy", source=f"{evil.host}/app:1", destination=f"{target.host}/app:1"
        )
    )
    assert (wrong.state, wrong.error["code"], wrong.error["side"]) == (
        "failed",
        "wrong-size",
        "source",
    )
    assert sizes_of(engine, digest) == [len(layer)]
    assert engine.content.size(Digest.parse(digest)) == len(layer)
    pushed = engine.run(
        kind="push", reference=f"{good.host}/app:1", destination=f"{target.host}/app:2"
    )
    assert pushed.state == "succeeded"
    assert target.blobs["app"][digest] == layer
    assert engine.run(kind="gc").state == "succeeded"


@pytest.mark.parametrize("claimed", WRONG.values(), ids=WRONG)
def test_a_wrong_size_of_a_layer_that_is_being_fetched_delays_nobody(
    engine: Engine, registries: Registries, layer: bytes, claimed: int
) -> None:
    digest = digest_of(layer)
    good, evil = registries(), registries()
    good.add_image("app", "1", [layer])
    evil.add_image("app", "1", [layer], sizes={1: claimed})
    evil.held_back.add(digest)
    wrong = engine.submit(kind="pull", reference=f"{evil.host}/app:1")
    running = "SELECT size FROM transfers WHERE state = 'running' AND digest = '{}'"
    if claimed:
        wait_until(lambda: engine.ask(running.format(digest)), 30, "the wrong one's download")
    assert engine.run(kind="pull", reference=f"{good.host}/app:1").state == "succeeded"
    evil.let_go.set()
    assert engine.end(wrong).state == "failed"
    assert sizes_of(engine, digest) == [len(layer)]


def test_a_word_opens_nothing(engine: Engine, registries: Registries, layer: bytes) -> None:
    """Somebody knows a private layer's digest, and has a registry that says it has it."""
    digest = digest_of(layer)
    private, own, target = registries(), registries(), registries()
    private.add_image("secret", "1", [layer])
    own.add_image("mine", "1", [layer])
    del own.blobs["mine"][digest]
    own.claimed[digest] = len(layer)
    assert engine.run(kind="pull", reference=f"{private.host}/secret:1").state == "succeeded"
    thief = engine.run(
        kind="copy", source=f"{own.host}/mine:1", destination=f"{target.host}/mine:1"
    )
    assert (thief.state, thief.error["side"]) == ("failed", "source")
    assert digest not in target.blobs.get("mine", {})


def test_who_joins_is_served_with_bytes_of_its_own_source_only(
    engine: Engine, registries: Registries, layer: bytes
) -> None:
    digest = digest_of(layer)
    private, own, target = registries(), registries(), registries()
    private.add_image("secret", "1", [layer])
    own.add_image("mine", "1", [layer])
    del own.blobs["mine"][digest]
    own.claimed[digest] = len(layer)
    private.held_back.add(digest)
    victim = engine.submit(kind="pull", reference=f"{private.host}/secret:1")
    wait_until(lambda: bodies(private, layer), 30, "the victim's download")
    thief = engine.submit(
        kind="copy", source=f"{own.host}/mine:1", destination=f"{target.host}/mine:1"
    )
    joined = "SELECT count(*) FROM waits WHERE NOT ended AND joined"
    wait_until(lambda: engine.ask(joined)[0][0], 30, "the thief to join")
    private.let_go.set()
    assert engine.end(victim).state == "succeeded"
    assert engine.end(thief).state == "failed"
    assert digest not in target.blobs.get("mine", {})


def test_a_source_that_has_the_bytes_shows_them_once(
    engine: Engine, registries: Registries, layer: bytes
) -> None:
    """It is read and compared, and nothing is written; from then on its word is enough."""
    digest = digest_of(layer)
    first, second = registries(), registries()
    first.add_image("app", "1", [layer])
    second.add_image("app", "1", [layer])
    second.add_image("app", "2", [layer, b"another"])
    engine.run(kind="pull", reference=f"{first.host}/app:1")
    path = engine.settings.home / "blobs" / "sha256" / digest.removeprefix("sha256:")
    before = path.stat()
    assert engine.run(kind="pull", reference=f"{second.host}/app:1").state == "succeeded"
    assert bodies(second, layer) == 1
    assert engine.run(kind="pull", reference=f"{second.host}/app:2").state == "succeeded"
    assert bodies(second, layer) == 1
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_wrong_bytes_of_a_held_blob_fail_their_own_job(
    engine: Engine, registries: Registries, layer: bytes
) -> None:
    digest = digest_of(layer)
    first, liar = registries(), registries()
    first.add_image("app", "1", [layer])
    liar.add_image("app", "1", [layer])
    liar.blobs["app"][digest] = bytes(len(layer))
    engine.run(kind="pull", reference=f"{first.host}/app:1")
    id_ = engine.submit(kind="pull", reference=f"{liar.host}/app:1")
    wait_until(lambda: bodies(liar, layer), 30, "the liar to be asked")
    assert engine.ask(f"SELECT state FROM jobs WHERE id = '{id_}'")[0].state != "succeeded"
    assert engine.content.read(Digest.parse(digest), max_bytes=len(layer)) == layer
    assert engine.run(kind="pull", reference=f"{first.host}/app:1").state == "succeeded"


def test_a_rotated_token_costs_no_new_download(
    engine: Engine, registries: Registries, layer: bytes
) -> None:
    registry = registries()
    registry.wants_token = True
    registry.add_image("app", "1", [layer])
    for day in range(3):
        login = {registry.host: Credential(username="ci", password=f"of day {day}")}
        reference = f"{registry.host}/app:1"
        pulled = engine.run(kind="pull", reference=reference, credentials=login)
        assert pulled.state == "succeeded"
    assert bodies(registry, layer) == 1


def test_where_trust_is_shared_what_is_held_serves_everybody(
    database: dict[str, Any], registries: Registries, layer: bytes, home: Path
) -> None:
    first, second = registries(), registries()
    first.add_image("app", "1", [layer])
    second.add_image("other", "1", [layer])
    with Engine(home, trust="shared", **database) as engine:
        engine.run(kind="pull", reference=f"{first.host}/app:1")
        assert engine.run(kind="pull", reference=f"{second.host}/other:1").state == "succeeded"
    assert bodies(second, layer) == 0


class Hiding:
    """A store on a file system that does not show one of its files for a while."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self.hidden = ""
        self.until = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    def _hides(self, digest: Digest) -> bool:
        return str(digest) == self.hidden and time.monotonic() < self.until

    def size(self, digest: Digest) -> int | None:
        return None if self._hides(digest) else self._content.size(digest)

    def open(self, digest: Digest) -> Any:
        if self._hides(digest):
            raise BlobMissingError("the store does not hold it", subject=str(digest))
        return self._content.open(digest)

    def restore(self, digest: Digest) -> bool:
        return not self._hides(digest) and self._content.restore(digest)


@pytest.mark.parametrize("kinds", [("push", "fsck", "export"), ("gc", "squash")], ids=" ".join)
def test_a_file_that_is_hidden_for_some_seconds_is_no_loss(
    database: dict[str, Any],
    registries: Registries,
    layer: bytes,
    home: Path,
    kinds: tuple[str, ...],
) -> None:
    digest = digest_of(layer)
    source, target = registries(), registries()
    source.add_image("app", "1", [layer])
    with Engine(home, content=Hiding, **database) as engine:
        name = f"{source.host}/app:1"
        engine.run(kind="pull", reference=name)
        specs: dict[str, dict[str, Any]] = {
            "push": {"reference": name, "destination": f"{target.host}/app:1"},
            "export": {"references": [name], "format": "docker"},
            "squash": {"reference": name, "target": "squashed:1"},
        }
        hiding: Any = engine.content
        hiding.hidden = digest
        hiding.until = time.monotonic() + 3.0
        jobs = {kind: engine.submit(kind=kind, **specs.get(kind, {})) for kind in kinds}
        for kind, id_ in jobs.items():
            ended = engine.end(id_)
            # Squash expects a plain tar, which this layer is not: it says so, and is no loss.
            assert ended.state == "succeeded" or ended.error["code"] != "blob-missing"
            if kind == "fsck":
                assert ended.result["missing"] == []
        assert sizes_of(engine, digest) == [len(layer)]


@pytest.fixture
def own_engine(database: dict[str, Any], home: Path) -> Iterator[Engine]:
    with Engine(home, **database) as engine:
        yield engine


def test_a_lost_blob_is_named_and_stops_no_collection(
    own_engine: Engine, registries: Registries, layer: bytes
) -> None:
    digest = digest_of(layer)
    engine = own_engine
    registry = registries()
    registry.add_image("broken", "1", [layer])
    registry.add_image("unused", "1", [b"of no use"])
    broken = f"{registry.host}/broken:1"
    engine.run(kind="pull", reference=broken)
    engine.run(kind="pull", reference=f"{registry.host}/unused:1")
    (engine.settings.home / "blobs" / "sha256" / digest.removeprefix("sha256:")).unlink()
    checked = engine.run(kind="fsck")
    assert (checked.state, checked.result["damaged"]) == ("failed", [digest])
    with engine.catalog.write() as connection:
        rows = [row for row in references.listed(connection, HOUSE) if "unused" in row.name]
        for row in rows:
            connection.execute(delete(reference_rows).where(reference_rows.c.name == row.name))
            connection.execute(delete(image_rows).where(image_rows.c.digest == row.digest))
    swept = engine.run(kind="gc")
    assert swept.state == "succeeded"
    assert swept.result["broken"] == 1
    (named,) = swept.result["broken_images"]
    assert broken in named["names"]
    assert named["missing"] == [digest]
    assert swept.result["blobs"] >= 2
    assert engine.run(kind="fsck", repair=True).state == "succeeded"
    assert engine.run(kind="gc").result["broken"] == 0
