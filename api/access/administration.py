"""Tokens and named credentials, over HTTP and for the owner of the home alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from transship.api.http.audit_log import Who
from transship.api.http.auth import SCOPE, USE
from transship.api.models.credentials import CredentialBody
from transship.api.views.jobs import rfc3339
from transship.store.catalog.access import audit, credentials, tokens
from transship.store.catalog.access.credentials import NamedCredential, Sealer
from transship.store.catalog.access.tokens import Token
from transship.store.catalog.db.engine import Catalog
from transship.store.errors import InvalidReferenceError, InvalidSpecError, TransshipError
from transship.store.oci.reference import parse_domain, parse_repository
from transship.workers.credentials.grants import (
    READ_ONLY,
    MayUse,
    is_granted,
    opened_credential,
    sealed_credential,
)
from transship.workers.registry.auth.credentials import Credential, most_specific
from transship.workers.runtime.ids import new_id

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
LONGEST_SECONDS = 100 * 366 * 86400


class NewToken(BaseModel):
    """A token that is asked for."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(default=None, description="made up where it is missing")
    scopes: list[str] = Field(
        min_length=1,
        max_length=100,
        description="read, read:all, submit, admin, priority, use:CREDENTIAL",
    )
    expires_in_seconds: int | None = Field(default=None, ge=1, le=LONGEST_SECONDS)


class TokenView(BaseModel):
    """A token, without the token."""

    id: str = Field(description="what its jobs are requested by, as `token:ID`")
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    used_at: str | None = Field(description="when it was last used, give or take a minute")


class MadeToken(TokenView):
    """A token, with the token. It is shown here, and never again."""

    token: str = Field(repr=False)


class TokenList(BaseModel):
    """Every token."""

    items: list[TokenView]
    next: None = None


class NewCredential(CredentialBody):
    """A credential for the server to keep, sealed."""

    registry: str = Field(description="a host, or a namespace in it: quay.io, quay.io/team")
    name: Name | None = Field(default=None, description="the registry where it is missing")


class CredentialView(BaseModel):
    """A named credential, without its secret."""

    name: str
    registry: str
    created_at: str


class CredentialList(BaseModel):
    """Every named credential."""

    items: list[CredentialView]
    next: None = None


class Access:
    """Makes, lists and removes what grants access; each change is in the audit log with it."""

    def __init__(self, catalog: Catalog, sealer: Sealer) -> None:
        """Keep it in *catalog*, sealed by *sealer*. Neither is closed here."""
        self._catalog = catalog
        self._sealer = sealer

    def create_token(self, wanted: NewToken, who: Who) -> MadeToken:
        """Make a token. A server that runs knows it within a second.

        Raises:
            InvalidSpecError: a scope that does not exist, or a credential that does not.
            ConflictError: there is a token of that name.
        """
        id_, text, now = new_id(), tokens.make(), self._catalog.now()
        token = Token(
            id=id_,
            name=wanted.name or f"token-{id_[-8:]}",
            scopes=tuple(dict.fromkeys(wanted.scopes)),
            created_at=now,
            expires_at=now + wanted.expires_in_seconds if wanted.expires_in_seconds else None,
        )
        with self._catalog.write() as connection:
            ids = {one.name: one.id for one in credentials.all_named(connection)}
            kept = []
            for place, scope in enumerate(token.scopes):
                with _named_in_errors(f"scopes.{place}"):
                    kept.append(_kept_scope(scope, ids))
            tokens.add(connection, replace(token, scopes=tuple(kept)), text)
            told = f"{token.name}: {', '.join(token.scopes)}"
            audit.record(connection, [who.did("createToken", told, 201, now)])
        return MadeToken(**_shown(token, {}).model_dump(), token=text)

    def tokens(self) -> TokenList:
        """The tokens by name."""
        with self._catalog.read() as connection:
            names = {one.id: one.name for one in credentials.all_named(connection)}
            found = tokens.by_hash(connection).values()
        return TokenList(items=[_shown(one, names) for one in found])

    def remove_token(self, name: str, who: Who) -> None:
        """Refuse a token from now on; a server that runs does within a second.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._catalog.write() as connection:
            tokens.remove(connection, name)
            audit.record(connection, [who.did("deleteToken", name, 204, self._catalog.now())])

    def add_credential(self, wanted: NewCredential, who: Who) -> CredentialView:
        """Keep a credential, in place of one of that name for the same registry.

        Raises:
            InvalidSpecError: no registry, or nothing to sign in with.
            ConflictError: the name stands for another registry.
        """
        if wanted.name is not None and wanted.name.endswith(READ_ONLY):
            raise _invalid("name", f"a name cannot end in {READ_ONLY}, which grants reading only")
        secret = Credential(**wanted.model_dump(include=set(CredentialBody.model_fields)))
        with _named_in_errors("registry"):
            registry = _registry(wanted.registry)
        if not secret.fingerprint:
            raise _invalid("password", "nothing to sign in with")
        sealed = sealed_credential(registry, secret, self._sealer)
        named = NamedCredential(wanted.name or registry, sealed, self._catalog.now())
        with self._catalog.write() as connection:
            credentials.keep_named(connection, named)
            told = f"{named.name}: {registry}"
            audit.record(connection, [who.did("addCredential", told, 201, named.created_at)])
        return _without_secret(named)

    def credentials(self) -> CredentialList:
        """The named credentials, by name."""
        with self._catalog.read() as connection:
            named = credentials.all_named(connection)
        return CredentialList(items=[_without_secret(one) for one in named])

    def credential_for(self, repository: str, may_use: MayUse) -> Credential | None:
        """The server's own for a repository, of those that whoever asks may use."""
        with self._catalog.read() as connection:
            named = credentials.all_named(connection)
        own = {
            one.credential.registry: one
            for one in reversed(named)
            if is_granted(one, may_use, writes=False)
        }
        found = most_specific(own, repository)
        return opened_credential(found.credential, self._sealer) if found else None

    def remove_credential(self, name: str, who: Who) -> None:
        """Forget a named credential. Jobs that were submitted before keep theirs.

        Raises:
            NotFoundError: there is none of that name.
        """
        with self._catalog.write() as connection:
            credentials.forget_named(connection, name)
            audit.record(connection, [who.did("deleteCredential", name, 204, self._catalog.now())])


def _kept_scope(scope: str, ids: Mapping[str, str]) -> str:
    """A scope as it is kept: it grants the credential that has the name now, by its id.

    Raises:
        InvalidSpecError: there is no such scope, or no such credential.
    """
    if not SCOPE.fullmatch(scope):  # not quoted: somebody may have pasted a token
        raise InvalidSpecError(
            "must be one of read, read:all, submit, admin, priority, use:CREDENTIAL,"
            " use:CREDENTIAL:read",
            errors=[],
        )
    if not scope.startswith(USE):
        return scope
    name = scope.removeprefix(USE)
    for wanted, more in ((name, ""), (name.removesuffix(READ_ONLY), READ_ONLY)):
        if name == wanted + more and wanted in ids:
            return f"{USE}{ids[wanted]}{more}"
    raise InvalidSpecError(
        f"there is no credential {name.removesuffix(READ_ONLY)!r}; add it first", errors=[]
    )


def _shown_scope(scope: str, names: Mapping[str, str]) -> str:
    """A scope with the name of the credential, which may be another than it was granted by."""
    if not scope.startswith(USE):
        return scope
    id_ = scope.removeprefix(USE).removesuffix(READ_ONLY)
    return scope.replace(id_, names[id_]) if id_ in names else scope


def _registry(text: str) -> str:
    """A registry, or a namespace in one, as references name it."""
    host, _, path = text.partition("/")
    registry = parse_domain(host)
    # As a repository below it: `docker.io/team` by itself would be read as `library/team`.
    below = parse_repository("/".join(part for part in (registry, path, "any") if part))
    if below.domain != registry:
        raise InvalidReferenceError("no registry: its host has a dot or a port", subject=text)
    return below.repository.removesuffix("/any") if path else registry


@contextmanager
def _named_in_errors(field: str) -> Iterator[None]:
    try:
        yield
    except TransshipError as wrong:
        raise _invalid(field, wrong.detail) from None


def _invalid(field: str, message: str) -> InvalidSpecError:
    return InvalidSpecError(message, errors=[{"field": field, "message": message}])


def _shown(token: Token, names: Mapping[str, str]) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.name,
        scopes=[_shown_scope(scope, names) for scope in token.scopes],
        created_at=str(rfc3339(token.created_at)),
        expires_at=rfc3339(token.expires_at),
        used_at=rfc3339(token.used_at),
    )


def _without_secret(named: NamedCredential) -> CredentialView:
    return CredentialView(
        name=named.name,
        registry=named.credential.registry,
        created_at=str(rfc3339(named.created_at)),
    )
