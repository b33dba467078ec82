"""What is wrong with a request."""

from __future__ import annotations

from typing import Any

from transship.store.errors.error import Side, TransshipError


class RequestError(TransshipError):
    """What was asked for cannot be done as asked; nothing was started."""

    code = "invalid-request"
    side = Side.REQUEST


class InvalidReferenceError(RequestError):
    """Not an image reference in Docker's grammar."""

    code = "invalid-reference"


class InvalidDigestError(RequestError):
    """Not a digest of a known algorithm."""

    code = "invalid-digest"


class InvalidPlatformError(RequestError):
    """Not a platform of the form os/arch[/variant]."""

    code = "invalid-platform"


class InvalidTimeError(RequestError):
    """Not a point in time: RFC 3339, seconds since the epoch, or a duration before now."""

    code = "invalid-time"


class InvalidSelectionError(RequestError):
    """Not a pattern for tags, not a range of versions, or not the type of an artifact."""

    code = "invalid-selection"


class InvalidPolicyError(RequestError):
    """A file that says what to mirror, and cannot be used; the subject is the file and the key."""

    code = "invalid-policy"


class InvalidSpecError(RequestError):
    """A job that cannot be asked for; *errors* names each field that is wrong."""

    code = "invalid-spec"

    def __init__(self, detail: str, *, errors: list[dict[str, str]], hint: str = "") -> None:
        super().__init__(detail, subject=errors[0]["field"] if errors else "", hint=hint)
        self.errors = errors

    def as_json(self) -> dict[str, Any]:
        """The error, with each wrong field and what is wrong with it."""
        return {**super().as_json(), "errors": self.errors}


class NotFoundError(RequestError):
    """No such job, image or blob here."""

    code = "not-found"


class OtherPlatformError(NotFoundError):
    """The image is held, but not for the platform asked for; *image* says what it is for."""

    code = "platform-not-held"
    side = Side.STORE

    def __init__(self, detail: str, *, subject: str, image: dict[str, Any]) -> None:
        super().__init__(detail, subject=subject, hint="pull it with --platform first")
        self.image = image

    def as_json(self) -> dict[str, Any]:
        """The error, with the image."""
        return {**super().as_json(), "image": self.image}


class ConflictError(RequestError):
    """The request contradicts what is there."""

    code = "conflict"


class AmbiguousError(ConflictError):
    """A part of a name stands for several things; the text names them."""

    code = "ambiguous"


class CredentialsNeededError(ConflictError):
    """The first job came with credentials, which are gone; the new one must bring them again."""

    code = "credentials-needed"


class TooLargeError(RequestError):
    """The request's body is longer than the server reads."""

    code = "too-large"


class IncompleteBodyError(RequestError):
    """The request's body ended before it was whole; nothing of it is used."""

    code = "body-incomplete"


class GoneError(RequestError):
    """It was here, and is kept no longer."""

    code = "gone"


class TokenError(RequestError):
    """The request carries no token that is known here."""

    code = "unauthorized"


class ScopeError(RequestError):
    """The request's token is known, and does not allow this; the subject is the scope it lacks."""

    code = "forbidden"


class ThrottledError(RequestError):
    """Too much at a time, or too often; the same request may succeed later."""

    code = "throttled"
    retryable = True


class QuotaError(RequestError):
    """The token has as much as it may have; the subject is the setting that says how much."""

    code = "quota-exceeded"
