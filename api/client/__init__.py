"""The client of a Transship server: one method a call, by what it is about."""

from __future__ import annotations

from transship.api.client.administration import AdministrationCalls
from transship.api.client.images import ImageCalls
from transship.api.client.jobs import JobCalls
from transship.api.client.mirrors import MirrorCalls
from transship.api.client.workspaces import WorkspaceCalls


class Client(JobCalls, MirrorCalls, ImageCalls, WorkspaceCalls, AdministrationCalls):
    """A server, as its API describes itself. Whoever makes it closes it."""
