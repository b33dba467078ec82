"""Two hosts, one PostgreSQL, one directory: what runs on them comes and goes, the batch goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from tests.support.hosts import Host
from tests.support.images import Image, build_image, push_to_registry
from tests.support.postgres import PostgresCluster
from tests.support.processes import ChildProcess, free_port, stop_all, wait_until
from tests.support.proxy import ProxiedRequest, SlowProxy
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment, owner_client, run
from transship.api.client import Client
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.db.schema import jobs, transfers, workers

IMAGES = 24
HOLD_SECONDS = 0.3
LEASE_SECONDS = 4.0
PATIENCE_SECONDS = 120.0
DOWNLOADS, UPLOADS = 3, 5  # the limits, as they are unless set

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Fleet:
    """An API on the first host, a worker on each, all on one home and one database.

    Args:
        directory: Home and logs go there.
        reachable: Ports outside that the hosts reach.
    """

    def __init__(
        self, directory: Path, hosts: list[Host], environ: dict[str, str], reachable: list[int]
    ) -> None:
        self.directory = directory
        self.environ = environ
        self.catalog = Catalog(environ["TRANSSHIP_DATABASE_URL"])
        self.host_of: dict[str, str] = {}  # of every worker that has been seen
        port = free_port()
        for host in hosts:
            host.reach(*reachable)
        hosts[0].expose(port)
        self.client = Client(f"http://127.0.0.1:{port}")
        self._commands = {
            "api": hosts[0].command(*TRANSSHIP, "api", "--listen", f"127.0.0.1:{port}"),
            **{f"worker on {host.name}": host.command(*TRANSSHIP, "worker") for host in hosts},
        }
        self._processes: dict[str, ChildProcess] = {}
        try:
            for name in self._commands:
                self.start(name)
            self.client.close()
            self.client = owner_client(f"http://127.0.0.1:{port}", Path(environ["TRANSSHIP_HOME"]))
        except BaseException:
            self.stop()
            raise

    @property
    def parts(self) -> list[str]:
        """What can be restarted."""
        return list(self._commands)

    def start(self, name: str) -> None:
        """Start a part, and wait until it is there."""
        before = set(self.workers())
        process = ChildProcess(
            self._commands[name], directory=self.directory, name=name, environ=self.environ
        )
        self._processes[name] = process
        process.wait_ready(
            self.client.alive if name == "api" else lambda: set(self.workers()) - before, 40
        )

    def restart(self, name: str) -> None:
        """Ask a part to end, as an upgrade does, and start it again."""
        self._processes[name].stop(20)
        self.start(name)

    def kill(self, name: str) -> None:
        """End a part as a power cut would, and start it again."""
        self._processes[name].kill()
        self.start(name)

    def workers(self) -> dict[str, str]:
        """The workers that are there, and the host of each."""
        try:
            with self.catalog.read() as connection:
                found = {row.id: row.host for row in connection.execute(select(workers))}
        except Exception:  # noqa: BLE001 -- there is no schema before the first part is there
            return {}
        self.host_of |= found
        return found

    def states(self) -> Counter[str]:
        """How many jobs are in each state."""
        with self.catalog.read() as connection:
            return Counter(connection.execute(select(jobs.c.state)).scalars())

    def ended(self) -> int:
        """How many jobs have ended."""
        states = self.states()
        return states.total() - states["queued"] - states["running"]

    def served_by(self) -> set[str]:
        """The hosts whose workers have moved a blob."""
        with self.catalog.read() as connection:
            owners = connection.execute(select(transfers.c.served_by).distinct()).scalars().all()
        return {self.host_of[owner] for owner in owners if owner is not None}

    def stuck(self) -> int:
        """How many transfers have not ended."""
        with self.catalog.read() as connection:
            return connection.execute(
                select(func.count()).where(
                    transfers.c.state.not_in(("done", "failed", "cancelled"))
                )
            ).scalar_one()

    def stop(self) -> None:
        """End everything."""
        self.client.close()
        self.catalog.close()
        stop_all(self._processes.values())


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with Host("host-a") as first, Host("host-b") as second:
        yield [first, second]


@pytest.fixture
def postgres() -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def proxies(
    source: RegistryProcess, target: RegistryProcess
) -> Iterator[tuple[SlowProxy, SlowProxy]]:
    """Before the source and the target, both slow."""
    with (
        SlowProxy(source.host, hold_blob_seconds=HOLD_SECONDS, host_name="localhost") as near,
        SlowProxy(target.host, hold_upload_seconds=HOLD_SECONDS / 3, host_name="localhost") as far,
    ):
        yield near, far


@pytest.fixture
def fleet(
    tmp_path: Path,
    hosts: list[Host],
    postgres: PostgresCluster,
    redis: RedisProcess,
    proxies: tuple[SlowProxy, SlowProxy],
) -> Iterator[Fleet]:
    directory = tmp_path / "fleet"
    directory.mkdir()
    postgres.run("CREATE DATABASE transship")
    environ = environment(
        directory / "home",
        TRANSSHIP_DATABASE_URL=postgres.url("transship"),
        TRANSSHIP_BROKER_URL=redis.url,
        TRANSSHIP_LEASE_SECONDS=str(LEASE_SECONDS),
        TRANSSHIP_LOG="INFO",
    )
    reachable = [postgres.port, redis.port, *(proxy.port for proxy in proxies)]
    made = Fleet(directory, hosts, environ, reachable)
    yield made
    made.stop()


def _submit(fleet: Fleet, near: SlowProxy, far: SlowProxy, numbers: range) -> list[str]:
    return [
        fleet.client.submit(
            {
                "kind": "copy",
                "source": f"{near.host}/team/app:v{n}",
                "destination": f"{far.host}/mirror/app:v{n}",
            },
            credentials={},
        )["id"]
        for n in numbers
    ]


def _push(source: RegistryProcess) -> list[Image]:
    images = [build_image(f"image {n}", layers=2) for n in range(IMAGES)]
    for number, image in enumerate(images):
        push_to_registry(source.url, "team/app", f"v{number}", image)
    return images


def _assert_all_arrived(fleet: Fleet, target: RegistryProcess, images: list[Image]) -> None:
    wait_until(lambda: fleet.ended() == IMAGES, PATIENCE_SECONDS, "the batch to end")
    assert fleet.states() == {"succeeded": IMAGES}
    assert fleet.stuck() == 0
    for number, image in enumerate(images):
        head = httpx.head(
            f"{target.url}/v2/mirror/app/manifests/v{number}",
            headers={"Accept": image.descriptor.media_type},
        )
        assert head.headers["Docker-Content-Digest"] == str(image.descriptor.digest)


def test_a_batch_goes_on_while_everything_is_restarted_one_by_one(
    fleet: Fleet,
    source: RegistryProcess,
    target: RegistryProcess,
    postgres: PostgresCluster,
    proxies: tuple[SlowProxy, SlowProxy],
) -> None:
    near, far = proxies
    images = _push(source)
    steps = [*fleet.parts, "postgresql"]
    for number, step in enumerate(steps):
        _submit(fleet, near, far, range(number * IMAGES // 4, (number + 1) * IMAGES // 4))
        wait_until(lambda: near.blob_bodies == DOWNLOADS, 60, "the batch to be under way")
        if step == "postgresql":
            postgres.go_down()
            postgres.come_back()
        else:
            fleet.restart(step)

    _assert_all_arrived(fleet, target, images)

    assert near.peak_blob_bodies == DOWNLOADS
    assert far.peak_upload_bodies <= UPLOADS
    assert fleet.served_by() == set(fleet.host_of.values())


def test_a_host_that_is_cut_off_is_replaced_and_comes_back(
    fleet: Fleet,
    hosts: list[Host],
    source: RegistryProcess,
    target: RegistryProcess,
    proxies: tuple[SlowProxy, SlowProxy],
) -> None:
    near, far = proxies
    images = _push(source)
    _submit(fleet, near, far, range(IMAGES))
    wait_until(lambda: fleet.served_by() >= {"host-b"}, 60, "the second host to move something")
    hosts[1].cut_off()
    wait_until(
        lambda: set(fleet.workers().values()) == {"host-a"}, 60, "the second host to be reaped"
    )

    _assert_all_arrived(fleet, target, images)
    assert near.peak_blob_bodies == DOWNLOADS
    assert far.peak_upload_bodies <= UPLOADS

    hosts[1].join_again()
    wait_until(
        lambda: "host-b" in fleet.workers().values(), PATIENCE_SECONDS, "the second host to join"
    )


def test_the_limit_holds_on_the_wire_while_it_changes_and_workers_are_killed(
    fleet: Fleet,
    source: RegistryProcess,
    target: RegistryProcess,
    proxies: tuple[SlowProxy, SlowProxy],
) -> None:
    """Lowered, it lets what runs end: so many may still be seen, and not one more."""
    near, far = proxies
    images = _push(source)
    audit = _Audit(near)
    _submit(fleet, near, far, range(IMAGES))
    for number, limit in enumerate([1, 4, 2, 5, 1, 3, 6, 2, 4, 3]):
        audit.changed_to(limit)
        fleet.client.change_limits({"max_concurrent_downloads": limit})
        moved = audit.bodies
        if number in (2, 5, 8):
            fleet.kill(f"worker on host-{'ab'[number % 2]}")
        wait_until(partial(_further, audit, fleet, moved + 4), 60, "some more blobs")

    _assert_all_arrived(fleet, target, images)

    assert audit.bodies >= 2 * IMAGES
    assert audit.beyond == []
    assert far.peak_upload_bodies <= UPLOADS


def _further(audit: _Audit, fleet: Fleet, bodies: int) -> bool:
    return audit.bodies >= bodies or fleet.ended() == IMAGES


class _Audit:
    """Counts bodies of blobs as the registry sees them, each as it begins."""

    STILL_SECONDS = 6.0  # what was admitted before a change may begin so long after it

    def __init__(self, proxy: SlowProxy) -> None:
        self.bodies = 0
        self.beyond: list[tuple[int, int]] = []  # how many there were, how many there may be
        self._limits = [(time.monotonic(), DOWNLOADS)]
        self._proxy = proxy
        proxy.on_request = self._look

    def changed_to(self, limit: int) -> None:
        """From now on *limit* may be in force."""
        self._limits.append((time.monotonic(), limit))

    def _look(self, request: ProxiedRequest) -> None:
        if not request.is_blob_get:
            return
        self.bodies += 1
        now, most = time.monotonic(), 0
        for (_, limit), until in zip(
            self._limits, [*(at for at, _ in self._limits[1:]), now], strict=True
        ):
            if until >= now - self.STILL_SECONDS:
                most = max(most, limit)
        count = self._proxy.blob_bodies + 1
        if count > most:
            self.beyond.append((count, most))


def test_a_process_of_another_schema_version_refuses_to_start(
    fleet: Fleet, postgres: PostgresCluster
) -> None:
    postgres.run("CREATE DATABASE older")
    environ = {**fleet.environ, "TRANSSHIP_DATABASE_URL": postgres.url("older")}
    assert run("migrate", environ=environ).returncode == 0
    assert run("migrate", environ=environ).returncode == 0  # again does nothing
    catalog = Catalog(environ["TRANSSHIP_DATABASE_URL"])
    with catalog.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    catalog.close()
    for role in ("api", "worker"):
        refused = run(role, environ=environ)
        assert refused.returncode == 1
        assert "0001" in refused.stderr
        assert "transship migrate" in refused.stderr
        assert "Traceback" not in refused.stderr
