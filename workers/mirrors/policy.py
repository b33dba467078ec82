"""Policies from files: three formats read into one value, and where its entries go.

A policy is read by the command. What it sends is `Policy.entries_for`, so that a server never reads
a client's file, and nothing of a file but names and rules leaves the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transship.store.errors import InvalidPolicyError
from transship.store.oci.reference import Reference, parse_repository
from transship.workers.mirrors import documents, own, regsync, skopeo
from transship.workers.mirrors.entries import MAX_ENTRIES, PolicyEntry
from transship.workers.mirrors.fields import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a file says is to be mirrored.

    Args:
        name: The file, as errors call it.
        format: `transship`, `skopeo` or `regsync`.
        entries: In the order of the file.
        destination: Below what entries go that name no destination.
        scoped: Whether these keep host and path of their source there.
        verify: `head` or `read`, afterwards.
        warnings: The settings that are not supported, a sentence each.
    """

    name: str
    format: str
    entries: tuple[PolicyEntry, ...]
    destination: str | None = None
    scoped: bool = False
    verify: str | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def of_runs(self) -> dict[str, Any]:
        """What the policy says of the job as a whole, as its spec has it."""
        return {} if self.verify is None else {"verify": self.verify}

    def entries_for(self, base: str | None = None, *, scoped: bool = False) -> list[dict[str, Any]]:
        """The entries as a job's spec has them, each with its destination.

        *base* and *scoped* come from the command, and go before what the file says.

        Raises:
            InvalidPolicyError: an entry has no destination; *base* is none, or of no use; or two
                repositories would go to the same place by their names alone.
        """
        chosen = base if base is not None else self.destination
        open_ = [entry for entry in self.entries if entry.destination is None]
        if not open_ and (base is not None or scoped):
            raise InvalidPolicyError(
                "each entry names its destination, so that no other can be given",
                subject=self.name,
                hint="leave DST and --scoped away",
            )
        if open_ and chosen is None:
            raise self._at(
                open_[0], "no destination", "give one as DST, or as `defaults.destination`"
            )
        taken: dict[str, Reference] = {}
        found = []
        for entry in self.entries:
            made = entry.as_json()
            if entry.destination is None:
                assert chosen is not None
                target = self._below(chosen, entry, scoped=scoped or self.scoped)
                source = entry.source.without_identifier()
                if taken.setdefault(target, source) != source:
                    raise self._at(
                        entry,
                        f"{taken[target]} and {source} would both go to {target}",
                        "use --scoped, or name a destination for each",
                    )
                made["destination"] = target
            found.append(made)
        return found

    def to_yaml(self, base: str | None = None, *, scoped: bool = False) -> str:
        """The same in Transship's own format."""
        return own.write(
            self.entries,
            destination=base if base is not None else self.destination,
            scoped=scoped or self.scoped,
            verify=self.verify,
        )

    def _below(self, base: str, entry: PolicyEntry, *, scoped: bool) -> str:
        source = entry.source
        if scoped:
            host = source.domain.lower().translate({ord(":"): "-", ord("["): "", ord("]"): ""})
            name = f"{host}/{source.path}"  # a path cannot have the colon of a port in it
        else:
            name = source.path.rpartition("/")[2]
        at = Field(self.name, ("DST",), f"{base.rstrip('/')}/{name}")
        found: Reference = at.checked(parse_repository)
        return str(found)

    def _at(self, entry: PolicyEntry, detail: str, hint: str) -> InvalidPolicyError:
        return InvalidPolicyError(detail, subject=f"{self.name}: {entry.place}", hint=hint)


def read(raw: bytes, name: str) -> Policy:
    """Read a policy of any format, called *name* in errors.

    Raises:
        InvalidPolicyError: it cannot be used; file and key are named.
    """
    document = Field(name, (), documents.read(raw, name))
    keys = document.keys()
    warnings: list[str] = []
    destination, scoped, verify = None, False, None
    entries: Sequence[PolicyEntry]
    if own.ENTRIES in keys:
        format_ = "transship"
        entries, destination, scoped, verify = own.read(document)
    elif regsync.SYNC in keys:
        format_, entries = "regsync", regsync.read(document, warnings)
    elif skopeo.looks_like(document.value):
        format_, entries = "skopeo", skopeo.read(document, warnings)
    else:
        raise document.wrong(
            "not a policy",
            hint="it has `entries`, or is a file for skopeo sync or regsync; see the README",
        )
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise document.wrong(f"a policy has 1 to {MAX_ENTRIES} entries, this one {len(entries)}")
    return Policy(
        name=name,
        format=format_,
        entries=tuple(entries),
        destination=destination,
        scoped=scoped,
        verify=verify,
        warnings=tuple(warnings),
    )
