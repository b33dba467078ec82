"""Which server a command talks to, read without importing anything large."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transship.api.processes.locks import SOCKET
from transship.store.errors import RequestError
from transship.store.home import default_home, run_dir
from transship.store.setting_names import PREFIX

if TYPE_CHECKING:
    from transship.store.settings import Settings


class NeedsServerError(RequestError):
    """The command makes sense only with a server that is there, and stays."""

    code = "needs-server"


@dataclass(frozen=True, slots=True)
class Target:
    """A server by its URL, or else the one that runs on a home, which may have to be brought.

    Attributes:
        url: Where the server is; None: it is on *home*.
        token: What it is shown.
        token_over_http: Whether that may go over plain HTTP beyond this machine.
    """

    home: Path
    url: str | None = None
    token: str | None = None
    token_over_http: bool = False

    @property
    def run_dir(self) -> Path:
        """Where locks and sockets of the running engine are."""
        return run_dir(self.home)

    @property
    def may_be_served(self) -> bool:
        """Whether a server is named, or was on the home when it was last used."""
        return self.url is not None or (self.run_dir / SOCKET).exists()

    @classmethod
    def load(cls) -> Target:
        """Read the environment; and all settings where they are in a file, or need a closer look.

        Raises:
            RequestError, InvalidSpecError: see `Settings.load`.
        """
        environ = os.environ
        url = environ.get(f"{PREFIX}URL")
        odd = url is not None and not url.startswith(("http://", "https://"))
        if odd or f"{PREFIX}CONFIG" in environ or f"{PREFIX}TOKEN_OVER_HTTP" in environ:
            return cls._of_settings()
        home = environ.get(f"{PREFIX}HOME")
        return cls(
            home=Path(home) if home is not None else default_home(),
            url=url,
            token=environ.get(f"{PREFIX}TOKEN"),
        )

    @classmethod
    def _of_settings(cls) -> Target:
        from transship.store.settings import Settings  # noqa: PLC0415 -- it takes as long as a command

        return cls.of(Settings.load())

    @classmethod
    def of(cls, settings: Settings) -> Target:
        """The server that *settings* lead to."""
        return cls(
            home=settings.home,
            url=settings.url,
            token=settings.token.get_secret_value() if settings.token is not None else None,
            token_over_http=settings.token_over_http,
        )
