"""Mirrors that a server keeps, and their runs."""

from __future__ import annotations

from transship.api.client import requests
from transship.api.models.jobs import JobList, JobSummary, JobView
from transship.api.models.mirrors import MirrorList, MirrorSummary, MirrorView
from transship.client.calls.exchange import Exchange, new_key
from transship.client.steps import Call


class MirrorCalls(Exchange):
    """What can be asked about mirrors."""

    def mirrors(self) -> Call[list[MirrorSummary]]:
        """The mirrors that the server keeps, by name."""
        return (yield from self._parsed(requests.mirrors(), MirrorList)).items

    def mirror(self, name: str, /) -> Call[MirrorView]:
        """A mirror that the server keeps, with the spec of its runs."""
        return (yield from self._parsed(requests.mirror(name), MirrorView))

    def run_mirror(self, name: str, /, *, idempotency_key: str | None = None) -> Call[JobView]:
        """Start a run of a mirror, and return its job.

        Raises:
            ConflictError: a run is in progress.
        """
        request = requests.run_mirror(name).keyed(idempotency_key or new_key())
        return (yield from self._parsed(request, JobView))

    def verify_mirror(
        self,
        name: str,
        /,
        *,
        read: bool = False,
        repair: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[JobView]:
        """Verify what a mirror has brought to its destinations, by a job, and return that.

        With *read* every byte is read; *repair* copies again what is damaged.

        Raises:
            ConflictError: a run is in progress.
        """
        request = requests.verify_mirror(name, read=read, repair=repair)
        return (yield from self._parsed(request.keyed(idempotency_key or new_key()), JobView))

    def mirror_runs(self, name: str, /, *, limit: int = 100) -> Call[list[JobSummary]]:
        """The newest runs of a mirror, each with its report as result."""
        return (yield from self._parsed(requests.mirror_runs(name, limit=limit), JobList)).items
