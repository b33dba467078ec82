"""Images: those that the store holds, and those that a registry has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from transship.api.client import requests
from transship.api.models.credentials import CredentialBody
from transship.api.models.images import ImageDetails, ImageList, ImageSummary, RemoteImage, Tagged
from transship.client.calls.exchange import Exchange
from transship.client.steps import Call


class ImageCalls(Exchange):
    """What can be asked about images."""

    def images(
        self,
        pattern: str | None = None,
        *,
        filters: Iterable[str] = (),
        all: bool = False,  # noqa: A002 -- as the API has it
    ) -> Call[list[ImageSummary]]:
        """The images in the store, the newest first.

        Args:
            pattern: Those with a name that this glob matches.
            filters: `key=value` each, as for `transship images --filter`.
            all: Whether unnamed ones that have children are listed too.
        """
        request = requests.images(pattern, filters=filters, all_=all)
        return (yield from self._parsed(request, ImageList)).items

    def inspect(self, ref: str, /, *, platform: str | None = None) -> Call[ImageDetails]:
        """What the store has of an image, by its name, digest or ID."""
        return (yield from self._parsed(requests.inspect(ref, platform=platform), ImageDetails))

    def inspect_remote(
        self, ref: str, /, *, credential: CredentialBody | Mapping[str, str] | None = None
    ) -> Call[RemoteImage]:
        """What a registry has under a reference now."""
        logins = yield from self._logins(None if credential is None else {ref: credential})
        request = requests.inspect_remote(ref, logins.get(ref))
        return (yield from self._parsed(request, RemoteImage))

    def tag(self, ref: str, new: str, /) -> Call[str]:
        """Let the name *new* stand for an image; returns the name with its tag."""
        return (yield from self._parsed(requests.tag(ref, new), Tagged)).reference

    def remove(
        self, ref: str, /, *, force: bool = False, prune: bool = True
    ) -> Call[list[dict[str, str]]]:
        """Remove a name, and with its last name the image; given an ID, all names and the image.

        Returns what was `untagged` and `deleted`, in order. Without *prune* parents stay that
        nothing else needs.
        """
        request = requests.remove(ref, force=force, noprune=not prune)
        return (yield from self._parsed(request, list[dict[str, str]]))
