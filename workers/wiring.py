"""Makes the parts of a process from its settings: the one place where they meet."""

from __future__ import annotations

import logging
import os
import time

from store.catalog import limits, transfers
from store.catalog.credentials import Sealer, home_key
from store.catalog.engine import Catalog
from store.content.local import LocalStore
from store.errors import StoreError
from store.settings import Settings
from workers.rates import Buckets, LocalBuckets, Rates
from workers.registry.client import RegistryClient
from workers.registry.hosts import HostPolicy
from workers.registry.ratelimits import RateLimit
from workers.transfers.retry import LONGEST_RETRY_AFTER_SECONDS
from workers.wire import Wire
from workers.world import World

log = logging.getLogger(__name__)

PARK_SECONDS = 60.0  # a registry whose limit is used up, and that does not say until when


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of a prepared home, with its schema checked, or made where it is new."""
    catalog = Catalog(settings.catalog_url)
    try:
        catalog.prepare()
    except BaseException:
        catalog.close()
        raise
    return catalog


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


def sealer(settings: Settings) -> Sealer:
    """What seals credentials: the key that is set, or the home's own."""
    if settings.secret_key is not None:
        return Sealer(settings.secret_key.get_secret_value())
    return Sealer(home_key(settings.home))


def registry_client(settings: Settings, catalog: Catalog, buckets: Buckets) -> RegistryClient:
    """The process's client for all registries; one that has nothing left to give is parked."""

    def park_exhausted(limit: RateLimit) -> None:
        if limit.remaining > 0:
            return
        seconds = min(limit.reset_seconds or PARK_SECONDS, LONGEST_RETRY_AFTER_SECONDS)
        try:
            with catalog.write() as connection:
                transfers.park(connection, limit.registry, seconds, time.time())
        except StoreError as error:  # a courtesy: the answer it came with is still good
            log.warning("%s could not be parked: %s", limit.registry, error)

    policy = HostPolicy.from_settings(settings, os.environ)
    return RegistryClient(policy, on_rate_limit=park_exhausted, pacer=Rates(catalog, buckets))


def make_world(
    settings: Settings, catalog: Catalog, wire: Wire, buckets: Buckets | None = None
) -> World:
    """The parts that jobs and transfers work with. Closing it closes the catalog too.

    Rates of registries are kept in *buckets*, by default in this process's own.
    """
    return World(
        catalog=catalog,
        content=LocalStore(settings.home),
        registries=registry_client(settings, catalog, buckets or LocalBuckets()),
        sealer=sealer(settings),
        wire=wire,
        shared_trust=settings.trust == "shared",
    )
