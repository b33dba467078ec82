"""What can be asked of a server: each call once, as the steps that it consists of.

The functions of these classes are the methods of `Client` and, awaited, those of `AsyncClient`.
Where they raise, they raise `ClientError`, of a kind in `transship.client.errors`; what a file
that is read or written raises passes as it is.
"""

from __future__ import annotations

from transship.client.calls.archives import ArchiveCalls
from transship.client.calls.images import ImageCalls
from transship.client.calls.mirrors import MirrorCalls


class Calls(ArchiveCalls, ImageCalls, MirrorCalls):
    """All of them, to one server."""
