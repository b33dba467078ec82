"""Which ways of uploading a registry takes, as far as this process has found out (protocol A8)."""

from __future__ import annotations

# Their documents say that they take no chunks; a refusal would come late and in many forms.
_WHOLE_ONLY = ("gcr.io", "pkg.dev")


class UploadCapabilities:
    """What registries have refused. May be used from many threads; a late note costs a request."""

    def __init__(self) -> None:
        self._no_put: set[str] = set()
        self._no_chunks: set[str] = set()

    def takes_put(self, host: str) -> bool:
        """Whether one PUT with the whole blob is worth trying."""
        return host not in self._no_put

    def takes_chunks(self, host: str) -> bool:
        """Whether PATCH after PATCH, each labelled with its range, is worth trying."""
        return host not in self._no_chunks and not any(
            host == name or host.endswith(f".{name}") for name in _WHOLE_ONLY
        )

    def refused_put(self, host: str) -> None:
        """A blob that PUT would not take, and not in passing, went by PATCH."""
        self._no_put.add(host)

    def refused_chunks(self, host: str) -> None:
        """A blob that was refused in chunks went as a whole."""
        self._no_chunks.add(host)
