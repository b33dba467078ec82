"""What can be asked for: one frozen value a kind, checked at the edge, safe to store as JSON.

A spec says what was asked, never a secret: credentials travel beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, get_args

from pydantic import Field, TypeAdapter, ValidationError

from transship.store.errors import InvalidSpecError
from transship.store.oci.platform import Platform
from transship.store.text import check_printable
from transship.store.wording import told
from transship.workers.mirrors.entries import ALL, NONE
from transship.workers.specs.archives import ExportSpec, ImportSpec, LoadSpec, SquashSpec
from transship.workers.specs.fields import OnRewrite, ReferrersChoice
from transship.workers.specs.images import CommitSpec, WorkspaceSpec
from transship.workers.specs.maintenance import FsckSpec, GcSpec, PruneSpec
from transship.workers.specs.mirrors import MirrorEntry, MirrorSpec
from transship.workers.specs.moves import CopySpec, PullSpec, PushSpec

__all__ = [
    "ALL",
    "BROKER_KINDS",
    "KINDS",
    "NONE",
    "AnySpec",
    "CommitSpec",
    "CopySpec",
    "ExportSpec",
    "FsckSpec",
    "GcSpec",
    "ImportSpec",
    "LoadSpec",
    "MirrorEntry",
    "MirrorSpec",
    "OnRewrite",
    "PruneSpec",
    "PullSpec",
    "PushSpec",
    "ReferrersChoice",
    "Spec",
    "SquashSpec",
    "WorkspaceSpec",
    "as_json",
    "asked",
    "fingerprint",
    "fix_platforms",
    "needs_admin",
    "parse_spec",
    "whole_fingerprint",
]

_Moves = PullSpec | PushSpec | CopySpec | MirrorSpec
_Archives = LoadSpec | ImportSpec | ExportSpec | SquashSpec
AnySpec = _Moves | _Archives | WorkspaceSpec | CommitSpec | PruneSpec | GcSpec | FsckSpec
Spec = Annotated[AnySpec, Field(discriminator="kind")]
KINDS: Final[Mapping[str, type[AnySpec]]] = {
    spec.model_fields["kind"].default: spec for spec in get_args(AnySpec)
}
_NAMED_BY_CHECKS = {
    *("reference", "platforms", "source", "destination", "tags", "filters", "last", "target"),
    *("entries", "select", "verify_only", "repair"),
}
# What nobody has to be known for, and what is all in a message of the broker.
BROKER_KINDS: Final = frozenset(
    kind for kind, spec in KINDS.items() if not spec.admin_only and not spec.needs_body
)
_adapter: TypeAdapter[AnySpec] = TypeAdapter(Spec)


def needs_admin(kind: str) -> bool:
    """Whether jobs of *kind* are for admins; not where there is no such kind."""
    return kind in KINDS and KINDS[kind].admin_only


def parse_spec(value: Mapping[str, Any]) -> AnySpec:
    """Check what was asked for.

    Raises:
        InvalidSpecError: it cannot be; each wrong field is named.
    """
    check_printable(dict(value))
    try:
        return _adapter.validate_python(dict(value))
    except ValidationError as invalid:
        errors = [
            {"field": _field(e["loc"], e["type"]), "message": told(e)}
            for e in invalid.errors(include_input=False, include_url=False)
        ]
        first = errors[0]
        raise InvalidSpecError(first["message"], errors=errors) from None


def fix_platforms(spec: AnySpec, host: Platform) -> AnySpec:
    """Settle what "no platforms given" means: for a pull, that of *host*."""
    if isinstance(spec, PullSpec) and not spec.platforms and not spec.all_platforms:
        return spec.model_copy(update={"platforms": (str(host.normalized()),)})
    return spec


def as_json(spec: AnySpec) -> dict[str, Any]:
    """The spec as stored and shown."""
    return spec.model_dump(mode="json")


def asked(spec: AnySpec) -> dict[str, Any]:
    """What was asked for, as it is sent: a server of another version has its own defaults."""
    return {"kind": spec.kind, **spec.model_dump(mode="json", exclude_defaults=True)}


def fingerprint(spec: AnySpec) -> str:
    """What tells one request from another under the same idempotency key.

    Only what was asked for counts: not what the host adds, whose architecture may be another, nor
    fields that were left out, of which the next version may have more.
    """
    return _hashed(asked(spec))


def whole_fingerprint(spec: AnySpec) -> str:
    """The fingerprint as versions before 0.2 kept it: of a spec with its platforms fixed."""
    return _hashed(as_json(spec))


def _hashed(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _field(location: tuple[int | str, ...], type_: str) -> str:
    """Where it is wrong. Checks of a whole have no place in it; they name a field as their type."""
    parts = [*map(str, location[1:] if location[:1] and location[0] in KINDS else location)]
    if type_ in _NAMED_BY_CHECKS and parts[-1:] != [type_]:
        parts.append(type_)
    return ".".join(parts) or "kind"
