"""Real registries: Debian's docker-registry (distribution 2.8) on loopback."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import secrets
import shutil
import string
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.processes import ChildProcess, free_port, port_answers

PROGRAM = "docker-registry"
_LINE = re.compile(
    r'^\S+ \S+ \S+ \[[^\]]*\] "([A-Z]+) (\S+) [^"]*" (\d{3}) (\d+|-) "[^"]*" "([^"]*)"'
)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One line of a registry's access log. The log knows no ranges; see `SlowProxy` for these."""

    method: str
    target: str
    status: int
    bytes_sent: int
    user_agent: str

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def require_registry() -> str:
    """Return the installed registry, or skip the test."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"{PROGRAM} is not installed")
    return program


def htpasswd_line(user: str, password: str) -> str:
    """Return a line for an htpasswd file, with bcrypt, which is all that the registry takes."""
    program = shutil.which("htpasswd")
    if program is not None:
        made = subprocess.run(
            [program, "-niB", user], input=password.encode(), capture_output=True, check=True
        )
        return made.stdout.decode().strip()
    # The C library's crypt; Python's module for it is gone from 3.13 on.
    name = ctypes.util.find_library("crypt")
    if name is None:
        pytest.skip("neither htpasswd nor libcrypt is there to make a bcrypt hash")
    crypt = ctypes.CDLL(name).crypt
    crypt.argtypes, crypt.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_char_p
    alphabet = string.ascii_letters + string.digits + "./"
    salt = "$2b$05$" + "".join(secrets.choice(alphabet) for _ in range(21)) + "u"
    hashed = crypt(password.encode(), salt.encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        pytest.skip("libcrypt does not know bcrypt")
    return f"{user}:{hashed.decode()}"


class RegistryProcess:
    """A registry on a free loopback port, with its content and logs in *directory*.

    Args:
        directory: Made if need be; the content stays over a restart.
        htpasswd: Name and password that are needed for everything.
        tls: Certificate and key files, for https.
        port: Where to listen, for a second start at the same place.
        host_name: How it is called in `host`: "127.0.0.1" or "localhost".
    """

    def __init__(
        self,
        directory: Path,
        *,
        htpasswd: tuple[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        port: int | None = None,
        host_name: str = "127.0.0.1",
    ) -> None:
        self._program = require_registry()
        self._directory = directory
        self.port = free_port() if port is None else port
        self.host = f"{host_name}:{self.port}"
        self.scheme = "http" if tls is None else "https"
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "config.yml"
        self._config.write_text(self._configuration(htpasswd, tls))
        self._process = self._start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"{self.scheme}://{self.host}"

    @property
    def process(self) -> ChildProcess:
        """The registry's process."""
        return self._process

    @property
    def access_log(self) -> Path:
        """The access log, one line a request; a request is logged when it has ended."""
        return self._directory / "registry.out"

    def requests(self) -> list[LoggedRequest]:
        """Return all requests that have ended, in that order."""
        lines = self.access_log.read_text(errors="replace").splitlines()
        return [
            LoggedRequest(
                method=match[1],
                target=match[2],
                status=int(match[3]),
                bytes_sent=0 if match[4] == "-" else int(match[4]),
                user_agent=match[5],
            )
            for line in lines
            if (match := _LINE.match(line)) is not None
        ]

    def forget_requests(self) -> None:
        """Empty the access log."""
        # The registry appends, so that its next line goes to the new beginning.
        with self.access_log.open("r+b") as log:
            log.truncate(0)

    def restart(self) -> None:
        """Kill the registry and start it again with the same content."""
        self._process.kill()
        self._process = self._start()

    def lose_blob(self, repository: str, digest: str) -> None:
        """Let *repository* have a blob no longer, as after a disk that was restored too early.

        The registry is started again: it remembers which blobs it has.
        """
        repositories = self._directory / "content/docker/registry/v2/repositories"
        shutil.rmtree(repositories / repository / "_layers" / digest.replace(":", "/"))
        self.restart()

    def stop(self) -> None:
        """End the registry."""
        self._process.stop()

    def _start(self) -> ChildProcess:
        process = ChildProcess(
            [self._program, "serve", self._config],
            directory=self._directory,
            name="registry",
            separate_output=True,
        )
        process.wait_ready(lambda: port_answers(self.port))
        return process

    def _configuration(
        self, htpasswd: tuple[str, str] | None, tls: tuple[Path, Path] | None
    ) -> str:
        lines = [
            "version: 0.1",
            "log:",
            "  level: warn",
            "storage:",
            "  delete:",
            "    enabled: true",
            "  cache:",
            "    blobdescriptor: inmemory",
            "  filesystem:",
            f"    rootdirectory: {self._directory / 'content'}",
            "http:",
            f"  addr: 127.0.0.1:{self.port}",
            f"  secret: {secrets.token_hex(16)}",
        ]
        if tls is not None:
            lines += ["  tls:", f"    certificate: {tls[0]}", f"    key: {tls[1]}"]
        if htpasswd is not None:
            path = self._directory / "htpasswd"
            path.write_text(htpasswd_line(*htpasswd) + "\n")
            lines += ["auth:", "  htpasswd:", "    realm: test", f"    path: {path}"]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
