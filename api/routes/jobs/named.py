"""A job in a path: by its id, an unambiguous beginning or end of one, or `last`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends, Path

from transship.api.http.auth import Asking, Caller
from transship.api.services import Injected, Services
from transship.api.views.visibility import job_named
from transship.store.catalog.scheduling.job_names import ID_CHARS


async def _id(
    services: Injected,
    asking: Asking,
    job: Annotated[
        str,
        Path(
            description="an id, an unambiguous beginning or end of one, or `last`: the newest job "
            "that whoever asks has asked for"
        ),
    ],
) -> str:
    if len(job) >= ID_CHARS:  # as nearly always: nothing has to be looked up
        return job
    return await asyncio.to_thread(_found, services, asking, job)


def _found(services: Services, asking: Caller, name: str) -> str:
    with services.catalog.read() as connection:
        return job_named(connection, asking, name)


NamedJob = Annotated[str, Depends(_id)]
