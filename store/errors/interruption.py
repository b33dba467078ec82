"""Why work stops before its end, without having failed."""

from __future__ import annotations

from transship.store.errors.error import Side, TransshipError


class Interruption(TransshipError):  # noqa: N818 -- its children end in Error; it is no failure
    """Work stopped before its end, for a reason that is no failure of it."""

    code = "interrupted"


class CancelledError(Interruption):
    """Someone asked for the stop."""

    code = "cancelled"
    side = Side.REQUEST


class LeaseLostError(Interruption):
    """The owner could not renew its lease; someone else may own the work now."""

    code = "lease-lost"


class HandedBackError(Interruption):
    """The worker is stopping, and gives the work to another."""

    code = "handed-back"
