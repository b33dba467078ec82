"""What refers to a manifest: signatures, SBOMs, attestations (distribution specification 1.1).

A registry has an API for them, or its clients keep a list under a tag made of the digest, the
*fallback tag*. Which of the two is found out once a registry: one that refuses the API, in whatever
way, is read as one that has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transship.store.errors import (
    ConflictError,
    DeniedError,
    InvalidManifestError,
    ManifestNotFoundError,
    ProtocolError,
    RegistryError,
    Side,
    TransshipError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from transship.store.oci import mediatypes
from transship.store.oci.descriptor import Descriptor
from transship.store.oci.digest import Digest
from transship.store.oci.manifest import (
    MAX_MANIFEST_BYTES,
    Index,
    Manifest,
    parse_manifest,
)
from transship.workers.registry.manifests import get_manifest, head_manifest, put_manifest
from transship.workers.registry.network import RegistryResponse
from transship.workers.registry.pages import List, pages
from transship.workers.registry.session import Session
from transship.workers.registry.transport.errors import answer_error, refuse_html, translated
from transship.workers.registry.transport.responses import read_json

MAX_LISTED: Final = 10_000  # referrers of one manifest that are read
NOT_IMPLEMENTED: Final = 501

_HEX = "0123456789abcdef"
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]")


def fallback_tag(digest: Digest) -> str:
    """The tag under which clients list what refers to *digest*."""
    return _NOT_IN_TAGS.sub("-", f"{digest.algorithm[:32]}-{digest.hex[:64]}")


def is_fallback_tag(tag: str) -> bool:
    """Whether a tag is such a one, of an algorithm that images are named with."""
    algorithm, _, hex_ = tag.partition("-")
    return algorithm in {"sha256", "sha512"} and len(hex_) == 64 and not hex_.strip(_HEX)


@dataclass(frozen=True, slots=True)
class Referrers:
    """What refers to a manifest. *by_api*: the registry keeps the list itself."""

    descriptors: tuple[Descriptor, ...]
    by_api: bool


def may_list(session: Session) -> bool:
    """Whether the API is worth a request."""
    return session.network.referrers.may_have(*_places(session))


def list_referrers(
    session: Session, digest: Digest, subject: str, *, tagged: bool = True
) -> Referrers:
    """What refers to *digest*, which need not be there; *tagged*: there may be a fallback tag.

    Raises:
        RegistryError: the registry asks for patience, or cannot be reached.
    """
    support = session.network.referrers
    registry, repository = _places(session)
    if may_list(session):
        try:
            return Referrers(tuple(_by_api(session, digest, subject)), by_api=True)
        except (UnauthorizedError, DeniedError):
            support.refused(repository)
        except (RegistryError, InvalidManifestError) as refusal:
            if _may_pass(refusal):
                raise
            support.refused(registry)
    index = _fallback_index(session, digest) if tagged else None
    return Referrers(() if index is None else index.manifests, by_api=False)


def add_to_fallback(session: Session, digest: Digest, added: Sequence[Descriptor]) -> None:
    """Add to what is listed under the fallback tag of *digest*; what is there stays.

    Nobody else may change the list in between: registries have no way to say "only if unchanged"
    that can be relied on.

    Raises:
        ConflictError: the tag is in use for something else.
    """
    tag = fallback_tag(digest)
    index = _fallback_index(session, digest, must_be_one=True)
    there = set() if index is None else {one.digest for one in index.manifests}
    new = [one for one in added if one.digest not in there]
    if not new:
        return
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [],
    }
    if index is not None:
        document = json.loads(index.raw)
    document["manifests"] += [one.to_json() for one in new]
    raw = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    put_manifest(session, tag, parse_manifest(raw, mediatypes.OCI_INDEX), _named(session, tag))


def described(manifest: Manifest | Index) -> Descriptor:
    """A referrer as lists of referrers have it: with its type, and its annotations."""
    type_ = manifest.artifact_type
    if type_ is None and isinstance(manifest, Manifest):
        type_ = manifest.config.media_type
    return Descriptor(
        media_type=manifest.media_type,
        digest=manifest.digest,
        size=len(manifest.raw),
        artifact_type=type_,
        annotations=manifest.annotations,
    )


def _may_pass(refusal: TransshipError) -> bool:
    """Whether it says nothing of the API: the registry cannot be reached, or has a problem."""
    if not isinstance(refusal, RegistryError) or refusal.http_status == NOT_IMPLEMENTED:
        return False
    return refusal.asks_for_patience or refusal.retryable


def _by_api(session: Session, digest: Digest, subject: str) -> Iterable[Descriptor]:
    asked = session.asked(subject, "GET referrers")

    def read(answer: RegistryResponse) -> list[Descriptor]:
        if answer.status != 200:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        with translated(asked):
            document = read_json(answer.response, MAX_MANIFEST_BYTES, what="a list of referrers")
        items = document.get("manifests")
        if items is None and mediatypes.is_index(str(document.get("mediaType"))):
            items = []
        if not isinstance(items, list):
            raise ProtocolError(f"{asked.action}: answered with no index")
        return [Descriptor.from_json(one) for one in items]

    found: dict[Digest, Descriptor] = {}
    listed = List(session, f"/referrers/{digest}", asked, read, mediatypes.OCI_INDEX)
    for page in pages(listed):
        found.update((one.digest, one) for one in page)
        if len(found) > MAX_LISTED:
            break  # that is too many for whoever asked
    return found.values()


def _fallback_index(session: Session, digest: Digest, *, must_be_one: bool = False) -> Index | None:
    tag = fallback_tag(digest)
    # Most manifests have no such list, and a GET counts as a pull.
    if head_manifest(session, tag, _named(session, tag), sure=False) is None:
        return None
    try:
        found = get_manifest(session, tag, _named(session, tag))
    except ManifestNotFoundError:
        return None
    except (InvalidManifestError, UnsupportedMediaTypeError):
        found = None
    if isinstance(found, Index):
        return found
    if must_be_one:
        raise ConflictError(
            "the tag that lists what refers to an image is in use for something else",
            subject=_named(session, tag),
            hint="remove the tag there, or copy without referrers",
            side=Side.DESTINATION,  # nothing else is written to
        )
    return None


def _places(session: Session) -> tuple[str, str]:
    """What may lack the API: the registry, or only this repository for this credential."""
    return session.registry.name, f"{session.registry.name}/{session.path}"


def _named(session: Session, tag: str) -> str:
    return f"{session.registry.name}/{session.path}:{tag}"
