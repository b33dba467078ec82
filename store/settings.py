"""The settings: one frozen value, read once where a process starts.

Sources, the first wins: `TRANSSHIP_*` in the environment, the TOML file named by
`TRANSSHIP_CONFIG` (same names, lower case, without the prefix), the defaults below.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)

from transship.store.durations import parse_duration
from transship.store.errors import InvalidSpecError, RequestError
from transship.store.home import default_home, run_dir
from transship.store.setting_names import PREFIX
from transship.store.sizes import parse_bytes
from transship.store.wording import told

_SECRETS = frozenset({"database_url", "broker_url", "token", "secret_key"})  # or they may have one
_BROKERS = ("redis://", "rediss://", "redis+socket://")  # that workers and API can both talk to


def _duration(value: Any) -> Any:
    """Seconds of '90', '1.5h' or '30d'."""
    return parse_duration(value) if isinstance(value, str) else value


def _size(value: Any) -> Any:
    """Bytes of '20G' or '64MiB'."""
    return parse_bytes(value) if isinstance(value, str) else value


Duration = Annotated[PositiveFloat, BeforeValidator(_duration)]
Size = Annotated[NonNegativeInt, BeforeValidator(_size)]


class Settings(BaseModel):
    """Everything that can be set from outside. Units are in the names or in the comment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home)
    database_url: SecretStr | None = None  # None: SQLite in home
    broker_url: SecretStr | None = None  # None: a private Redis if there is one, else none at all
    listen: str = "127.0.0.1:5005"
    url: str | None = None  # a server to talk to, for clients
    token: SecretStr | None = None  # who they are to it
    token_over_http: bool = False  # may it, and logins, go over plain HTTP beyond this machine?

    max_concurrent_downloads: PositiveInt = 3
    max_concurrent_uploads: PositiveInt = 5
    max_download_attempts: PositiveInt = 5
    max_upload_attempts: PositiveInt = 5

    insecure_registries: tuple[str, ...] = ()  # hosts or CIDRs
    private: Literal["allow", "deny"] = "allow"  # registries that users name, inside a network
    allow_private: tuple[str, ...] = ()
    page_hosts: tuple[str, ...] = ()  # names under which browsers reach the page
    token_hosts: tuple[str, ...] = ()  # that tokens without `admin` may name, though private
    certs_dir: Path | None = None
    secret_key: SecretStr | None = None  # None: made in home at first start
    broker_kinds: tuple[str, ...] | None = None  # taken from the broker; None: all that may be
    broker_credentials: tuple[str, ...] = ()  # named ones for its jobs
    broker_priority: bool = False  # may its jobs have a priority above 0?
    trust: Literal["separate", "shared"] = "separate"

    log: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None  # None: INFO
    log_format: Literal["text", "json"] = "text"

    lease_seconds: Duration = 20.0  # how long a silent owner keeps its work

    # What each token without `admin` may have; None: as much as there is.
    token_jobs: PositiveInt | None = 10_000  # unfinished
    token_spec_bytes: Size | None = 512 * 1024**2  # of the specs of its jobs on record
    token_store_bytes: Size | None = None  # of its images and workspaces

    # Durations are seconds, or a number with s, m, h or d; sizes are bytes, or as 20G or 64MiB.
    keep_jobs: Duration = 30 * 86400.0  # ended ones, with their events
    keep_partial: Duration = 7 * 86400.0  # half a blob, for the next who wants it
    gc_interval: Duration = 3600.0  # between two automatic collections
    store_max_bytes: Size | None = None  # above it unused blobs go
    store_min_free_bytes: Size = 2**30  # below it they go, and nothing more is admitted

    @field_validator(
        *("insecure_registries", "allow_private", "token_hosts"),
        *("broker_credentials", "broker_kinds"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Lists are comma-separated in the environment, arrays in TOML."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("expected HOST:PORT")
        return value

    @field_validator("url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("expected http://HOST:PORT or https://HOST")
        return value

    @field_validator("broker_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(_BROKERS):
            raise ValueError("expected redis://HOST:PORT/DB")
        return value

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the environment and the file.

        Raises:
            RequestError: the file cannot be read, or names what is no setting.
            InvalidSpecError: a value is wrong; each is named by its variable.
        """
        in_file = _from_file(os.environ.get(f"{PREFIX}CONFIG"), cls.model_fields)
        in_environment = {
            name: os.environ[variable]
            for name in cls.model_fields
            if (variable := f"{PREFIX}{name.upper()}") in os.environ
        }
        try:
            return cls(**{**in_file, **in_environment, **overrides})
        except ValidationError as invalid:
            errors = [
                {"field": f"{PREFIX}{str(e['loc'][0]).upper()}", "message": told(e)}
                for e in invalid.errors(include_input=False, include_url=False)
            ]
            detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
            if len(errors) == 1:  # which is the error's subject
                detail = errors[0]["message"]
            raise InvalidSpecError(f"invalid setting: {detail}", errors=errors) from None

    @property
    def catalog_url(self) -> str:
        """The database's URL for SQLAlchemy."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'catalog.sqlite3'}"

    @property
    def run_dir(self) -> Path:
        """Where locks and sockets of the running engine are."""
        return run_dir(self.home)

    @property
    def listen_host(self) -> str:
        """The address to listen on, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        """The port to listen on; 0 takes a free one."""
        return int(self.listen.rpartition(":")[2])


def _check_owner(name: str, found: os.stat_result, *, secret: bool) -> None:
    """Refuse a file that others could have written; where it has a secret, that others can read.

    As PostgreSQL does with keys: one of root's may be read by the group that the server is in.

    Raises:
        RequestError: they could, or can.
    """
    if found.st_uid not in (0, os.geteuid()):
        raise RequestError(
            f"the settings file belongs to another user ({found.st_uid})",
            subject=name,
            hint="give it to root, or to the user that runs Transship",
        )
    refused = stat.S_IWGRP | stat.S_IWOTH
    if secret:
        refused |= stat.S_IRWXO
        if found.st_uid != 0:
            refused |= stat.S_IRWXG
    if found.st_mode & refused:
        raise RequestError(
            f"others can {'read or ' if secret else ''}write the settings file: its mode is "
            f"{stat.S_IMODE(found.st_mode):04o}",
            subject=name,
            hint=f"chmod {'go=' if found.st_uid else 'g-w,o='} {name}"
            if secret
            else f"chmod go-w {name}",
        )


def _from_file(name: str | None, known: Collection[str]) -> dict[str, Any]:
    if not name:
        return {}
    try:
        with Path(name).open("rb") as file:
            values = tomllib.load(file)
            _check_owner(name, os.fstat(file.fileno()), secret=bool(_SECRETS & values.keys()))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise RequestError(
            f"the settings file cannot be read: {wrong}", subject=name, hint="see TRANSSHIP_CONFIG"
        ) from wrong
    if unknown := sorted(values.keys() - set(known)):
        raise RequestError(
            f"there is no setting {unknown[0]}",
            subject=name,
            hint="names are those of the variables, lower case and without the prefix",
        )
    return values
