"""Makes the parts of a process from its settings: the one place where they meet."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

from transship.store.catalog.access.credentials import Sealer, kept_key
from transship.store.catalog.access.quotas import Quotas
from transship.store.catalog.db import cluster
from transship.store.catalog.db.engine import Catalog
from transship.store.catalog.scheduling import heartbeats
from transship.store.catalog.scheduling.admission import limits, parking
from transship.store.content.local import LocalStore
from transship.store.errors import StoreError
from transship.store.home import KEY_FILE, home_id, write_home_id
from transship.store.settings import Settings
from transship.workers.broker.rates import Buckets, LocalBuckets, Rates
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.flow_control.health import RegistryHealth
from transship.workers.registry.flow_control.ratelimits import RateLimit
from transship.workers.registry.transport.hosts import HostPolicy
from transship.workers.runtime.context import WorkerContext
from transship.workers.runtime.maintenance_policy import MaintenancePolicy
from transship.workers.runtime.wire import Wire
from transship.workers.transfers.retry import LONGEST_RETRY_AFTER_SECONDS

log = logging.getLogger(__name__)

PARK_SECONDS = 60.0  # a registry whose limit is used up, and that does not say until when


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of a prepared home, with its schema checked, or made where it is new.

    Raises:
        ForeignProcessError: the database belongs to another data directory, or to a cluster with
            another secret key.
    """
    catalog = Catalog(settings.catalog_url)
    try:
        catalog.prepare()
        join_cluster(settings, catalog)
    except BaseException:
        catalog.close()
        raise
    return catalog


def join_cluster(settings: Settings, catalog: Catalog, *, adopt: bool = False) -> None:
    """Check that this process belongs to the cluster, or make it the first that does.

    With *adopt* its data directory and its key become the cluster's, whatever was recorded.

    Raises:
        ForeignProcessError: it does not belong there.
    """
    own = cluster.Identity(home_id(settings.home), sealer(settings).fingerprint)
    with catalog.read() as connection:
        if own == cluster.recorded(connection):
            return
    with catalog.write() as connection:
        known = cluster.recorded(connection)
        # A database in the directory itself belongs to it, whatever became of the id.
        same_place = settings.database_url is None
        if own.home is None and (known.home is None or same_place or adopt):
            own = replace(own, home=write_home_id(settings.home, known.home or uuid4().hex))
        if not adopt:
            cluster.check(own, known)
        cluster.record(connection, own)


def write_defaults(catalog: Catalog, settings: Settings) -> None:
    """Let this start's limits and lease be the defaults of the whole cluster; the last one wins."""
    values = {
        name: (
            int(getattr(settings, name)),
            "environment" if name in settings.model_fields_set else "default",
        )
        for name in limits.NAMES
    }
    with catalog.write() as connection:
        before = limits.effective(connection)
        limits.write_defaults(connection, values)
        limits.set_lease_seconds(connection, settings.lease_seconds)
        after = limits.effective(connection)
    for name in limits.NAMES:
        if before[name].value != after[name].value:
            log.info("%s is now %d, was %d", name, after[name].value, before[name].value)


def reap_predecessors(catalog: Catalog) -> None:
    """The home's lock is ours: whoever had work here is gone, and its leases need not run out.

    Where other hosts use the catalog too, only the workers of this one are gone.
    """
    reap = heartbeats.bury_host if catalog.shared else heartbeats.bury_everyone
    with catalog.write() as connection:
        reap(connection, catalog.now())


def sealer(settings: Settings) -> Sealer:
    """What seals credentials: the key that is set, or the home's own."""
    if settings.secret_key is not None:
        return Sealer(settings.secret_key.get_secret_value())
    return Sealer(kept_key(settings.home / KEY_FILE))


def registry_client(
    settings: Settings,
    catalog: Catalog,
    buckets: Buckets,
    clock: Callable[[], float] | None = None,
) -> RegistryClient:
    """The process's client for all registries; a credential that has nothing left is parked.

    Time is read from *clock*, by default the catalog's.
    """
    now = clock or catalog.now

    def park_exhausted(limit: RateLimit) -> None:
        if limit.remaining > 0:
            return
        seconds = min(limit.reset_seconds or PARK_SECONDS, LONGEST_RETRY_AFTER_SECONDS)
        with _courtesy(limit.registry), catalog.write() as connection:
            parking.park_budget(connection, limit.registry, limit.credential, seconds, now())

    def back_off(registry: str, probed: bool) -> None:
        with _courtesy(registry), catalog.write() as connection:
            seconds = parking.back_off(connection, registry, now(), probed=probed)
            if seconds:
                log.warning("%s is not responding; backing off for %.0f s", registry, seconds)

    def reopen(registry: str, token: float) -> None:
        with _courtesy(registry), catalog.write() as connection:
            parking.reopen(connection, parking.Probe(registry, token))

    return RegistryClient(
        HostPolicy.from_settings(settings, os.environ),
        on_rate_limit=park_exhausted,
        pacer=Rates(catalog, buckets),
        health=RegistryHealth(back_off, reopen),
    )


@contextmanager
def _courtesy(registry: str) -> Iterator[None]:
    """What is done for the registry's sake may fail: the work that led to it goes on."""
    try:
        yield
    except StoreError as error:
        log.warning("%s could not be parked, or taken up again: %s", registry, error)


def make_context(
    settings: Settings, catalog: Catalog, wire: Wire, buckets: Buckets | None = None
) -> WorkerContext:
    """The parts that jobs and transfers work with. Closing it closes the catalog too.

    Rates of registries are kept in *buckets*, by default in this process's own.
    """
    return WorkerContext(
        catalog=catalog,
        content=LocalStore(settings.home),
        registries=registry_client(settings, catalog, buckets or LocalBuckets()),
        sealer=sealer(settings),
        wire=wire,
        shared_trust=settings.trust == "shared",
        page_hosts=settings.page_hosts,
        quotas=Quotas(
            jobs=settings.token_jobs,
            spec_bytes=settings.token_spec_bytes,
            store_bytes=settings.token_store_bytes,
        ),
        maintenance_policy=MaintenancePolicy.of(settings),
        home=str(settings.home),
    )
