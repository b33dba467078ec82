"""Which images a mirror consists of. Pure: it is given the tags that were selected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class How:
    """How images are copied.

    Attributes:
        platforms: Only these; none means all.
        referrers: What comes along of what is about them: all, none, or artifact types.
        overwrite: Whether the tag is written that stands for something else already.
        on_rewrite: What becomes of a job whose image has referrers that do not fit it any more.
    """

    platforms: tuple[str, ...] = ()
    referrers: Literal["all", "none"] | tuple[str, ...] = "all"
    on_rewrite: Literal["warn", "fail"] = "warn"
    overwrite: Literal["always", "never"] = "always"

    def differing(self, other: How) -> dict[str, object]:
        """The fields that are not as *other* has them, as an entry of a spec says them."""
        found = {name: (getattr(self, name), getattr(other, name)) for name in self.__slots__}
        return {
            name: list(mine) if isinstance(mine, tuple) else mine
            for name, (mine, theirs) in found.items()
            if mine != theirs
        }


@dataclass(frozen=True, slots=True)
class Image:
    """One image to copy."""

    source: Reference
    target: Reference
    how: How = How()


def image(source: Reference, target: Reference, how: How) -> Image:
    """A single image; where the target has no tag or digest it keeps the source's, as in a copy.

    Of a source with both that is the tag: the digest may be another once platforms are left out.
    """
    if target.tag is None and target.digest is None:
        target = _named(target, source.tag or source.identifier)
    return Image(source, target, how)


def images(source: Reference, target: Reference, tags: Iterable[str], how: How) -> Iterator[Image]:
    """The images of a repository under *tags*, some of which may be digests."""
    for tag in tags:
        yield Image(_named(source, tag), _named(target, tag), how)


def merged(wanted: Iterable[Image]) -> tuple[list[Image], list[Image]]:
    """Each image once; and those that would take the place of another, which came first."""
    kept: dict[str, Image] = {}
    clashing: list[Image] = []
    for one in wanted:
        first = kept.setdefault(str(one.target), one)
        if first != one:
            clashing.append(one)
    return list(kept.values()), clashing


def left_over(images: Sequence[Image], usual: How) -> list[dict[str, object]]:
    """Entries of a spec for these images only: repositories with tags, where names agree.

    How they are copied is said where it is not as *usual*.
    """
    entries: dict[tuple[str, str, How], dict[str, object]] = {}
    tags: dict[tuple[str, str, How], list[str]] = {}
    for one in images:
        same = one.source.identifier == one.target.identifier
        plain = one.source.tag is None or one.source.digest is None
        source = str(one.source.without_identifier() if same and plain else one.source)
        target = str(one.target.without_identifier() if same and plain else one.target)
        key = (source, target, one.how)
        entry = {"source": source, "destination": target, **one.how.differing(usual)}
        entries.setdefault(key, entry)
        if same and plain:
            tags.setdefault(key, []).append(one.source.identifier)
    return [
        {**entry, **({"tags": tags[key]} if key in tags else {})} for key, entry in entries.items()
    ]


def _named(repository: Reference, tag: str) -> Reference:
    return repository.with_digest(Digest.parse(tag)) if ":" in tag else repository.with_tag(tag)
