"""Bytes that are not what they are said to be."""

from __future__ import annotations

from transship.store.errors.error import Side, TransshipError


class ContentError(TransshipError):
    """Bytes that are not what their descriptor, or their format, promises."""

    code = "invalid-content"
    side = Side.SOURCE


class SizeMismatchError(ContentError):
    """More or fewer bytes arrived than the descriptor names."""

    code = "size-mismatch"
    retryable = True  # a cut connection is likelier than a lying registry; the budget ends it

    def __init__(self, *, subject: str, expected: int, actual: int) -> None:
        super().__init__(f"expected {expected} bytes, got {actual}", subject=subject)
        self.expected, self.actual = expected, actual


class WrongSizeError(ContentError):
    """A descriptor claims another size than the blob of its digest has. No retry mends that."""

    code = "wrong-size"

    def __init__(self, *, subject: str, claimed: int, actual: int) -> None:
        super().__init__(
            f"its manifest claims {claimed} bytes, but the blob of this digest has {actual}",
            subject=subject,
            hint="the image was made or changed by something that counts wrongly; build it again",
        )


class DigestMismatchError(ContentError):
    """The bytes received are not the bytes named."""

    code = "digest-mismatch"
    retryable = True

    def __init__(self, *, expected: str, actual: str) -> None:
        super().__init__(f"the bytes received have the digest {actual}", subject=expected)
        self.expected, self.actual = expected, actual


class InvalidManifestError(ContentError):
    """Not a manifest, index or config that can be understood safely."""

    code = "invalid-manifest"


class TooFewTagsError(ContentError):
    """A policy selects fewer tags of a repository than it requires."""

    code = "too-few-tags"


class UnsupportedMediaTypeError(ContentError):
    """A media type that this operation cannot work with, such as schema 1."""

    code = "unsupported-media-type"


class UnsupportedCompressionError(ContentError):
    """A compression that is read, but never written."""

    code = "unsupported-compression"


class DecompressionError(ContentError):
    """Compressed bytes that are damaged, end too early, or go on with something else."""

    code = "decompression-failed"


class ExpansionError(ContentError):
    """A stream grows beyond what it may, or beyond what its compressed size makes likely."""

    code = "expands-too-far"


class InvalidLayerError(ContentError):
    """Not a tar that can be understood safely; the subject is the entry's name."""

    code = "invalid-layer"


class InvalidArchiveError(ContentError):
    """Not an archive of images that holds together; the subject is the file in it that is wrong."""

    code = "invalid-archive"
