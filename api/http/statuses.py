"""Which HTTP status tells of which error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transship.store import errors
from transship.store.errors import TransshipError

# An error that is not here has the status of the first of its bases that is.
_STATUSES: Final[Mapping[type, int]] = {
    errors.RequestError: 400,
    errors.InvalidPolicyError: 422,
    errors.InvalidSpecError: 422,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.TooLargeError: 413,
    errors.GoneError: 410,
    errors.TokenError: 401,
    errors.ScopeError: 403,
    errors.ThrottledError: 429,
    errors.QuotaError: 429,
    errors.StoreError: 503,
    errors.ContentError: 502,
    errors.InvalidArchiveError: 400,
    errors.RegistryError: 502,
}
INTERNAL: Final = 500


def status_of(error: TransshipError) -> int:
    """The status of a response that tells of *error*."""
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), INTERNAL)
