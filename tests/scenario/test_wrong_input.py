"""Wrong input: one clear sentence that names the side at fault, and nothing left half-done."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.catalog.prepared import prepared_sqlite
from tests.support.images import Image, build_image, push_to_registry
from tests.support.processes import free_port
from tests.support.proxy import Action, ProxiedRequest, Script, SlowProxy
from tests.support.registries import RegistryProcess
from tests.support.server import environment, run
from transship.store.oci.manifest import Manifest, parse_manifest


@dataclass(frozen=True)
class WorkerContext:
    """Two registries with one image in the first, and a home."""

    source: RegistryProcess
    target: RegistryProcess
    environ: dict[str, str]
    home: Path

    def copy(self, source: str, target: str | None = None, *more: str) -> tuple[int, str]:
        """Run a copy that fails; returns the exit code and what it said."""
        done = run(
            "copy", source, target or f"{self.target.host}/never/app:1", "--quiet", *more,
            environ=self.environ,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done.returncode, done.stderr

    def untouched(self) -> bool:
        """Whether no tag was made at the target, and nothing is on its way in the store."""
        ingests = self.home / "ingests"
        tags = [r for r in self.target.requests() if r.method == "PUT" and "/manifests/" in r.path]
        return not tags and not (ingests.exists() and any(ingests.iterdir()))


@pytest.fixture
def context(tmp_path: Path, source: RegistryProcess, target: RegistryProcess) -> WorkerContext:
    push_to_registry(source.url, "team/app", "1", build_image("wrong", layers=2))
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    prepared_sqlite(home)
    return WorkerContext(
        source, target, environment(home, TRANSSHIP_MAX_DOWNLOAD_ATTEMPTS="2"), home
    )


@pytest.fixture
def lying(
    source: RegistryProcess,
) -> Iterator[Callable[[Callable[[ProxiedRequest], Action | None]], str]]:
    """A way to the source that answers as it is told."""
    with SlowProxy(source.host, host_name="localhost") as proxy:

        def script(answer: Script) -> str:
            proxy.on_request = answer
            return proxy.host

        yield script


@pytest.mark.parametrize(
    "reference",
    ["host.example/UPPER", "a b", "host/app:bad tag", "app@sha256:123", "-x/y", "a" * 300, "x:y:z"],
)
def test_a_bad_reference_is_refused_before_anything_starts(reference: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run("copy", "--", reference, "localhost:1/app", environ=environment(home))
    assert done.returncode == 2
    assert done.stderr.startswith("transship: in the request: ")
    assert "Traceback" not in done.stderr
    assert not home.exists()


def test_an_unknown_host_is_named(context: WorkerContext) -> None:
    code, said = context.copy("no-such-host.invalid/team/app:1")
    assert code == 1
    assert said.startswith("transship: at the source: ")
    assert "no-such-host.invalid" in said
    assert "after 2 attempts" in said
    assert context.untouched()


def test_a_refused_connection_at_the_destination_is_named(context: WorkerContext) -> None:
    nobody = f"localhost:{free_port()}"
    code, said = context.copy(f"{context.source.host}/team/app:1", f"{nobody}/app:1")
    assert code == 1
    assert said.startswith("transship: at the destination: ")
    assert nobody in said
    assert context.untouched()


def test_a_missing_tag_is_named(context: WorkerContext) -> None:
    code, said = context.copy(f"{context.source.host}/team/app:gone")
    assert code == 1
    assert said.startswith(f"transship: at the source: {context.source.host}/team/app:gone: ")
    assert context.untouched()


@pytest.mark.parametrize("known", [False, True])
def test_refused_credentials_are_named_and_not_shown(
    known: bool, context: WorkerContext, tmp_path: Path
) -> None:
    with RegistryProcess(
        tmp_path / "locked", htpasswd=("ann", "right"), host_name="localhost"
    ) as locked:
        if known:
            config = tmp_path / "docker" / "config.json"
            config.parent.mkdir()
            entry = {"username": "ann", "password": "hunter2"}
            config.write_text(json.dumps({"auths": {locked.host: entry}}))
        code, said = context.copy(f"{locked.host}/team/app:1")
    assert code == 1
    assert said.startswith("transship: at the source: ")
    assert locked.host in said
    assert "hunter2" not in said
    assert context.untouched()
    for path in context.home.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes()


def test_a_registry_that_answers_html_is_named(
    context: WorkerContext, lying: Callable[[Script], str]
) -> None:
    page = Action(status=200, headers={"Content-Type": "text/html"}, body=b"<html>Welcome</html>")
    host = lying(lambda _: page)
    code, said = context.copy(f"{host}/team/app:1")
    assert code == 1
    assert said.startswith("transship: at the source: ")
    assert "HTML" in said
    assert context.untouched()


def test_a_manifest_with_other_bytes_than_its_digest_is_refused(
    context: WorkerContext, lying: Callable[[Script], str]
) -> None:
    def answer(request: ProxiedRequest) -> Action | None:
        if request.method == "GET" and "/manifests/" in request.path:
            return Action(change=lambda piece: piece.replace(b'"size"', b'"sizE"'))
        return None

    code, said = context.copy(f"{lying(answer)}/team/app:1")
    assert code == 1
    assert said.startswith("transship: at the source: ")
    assert "digest" in said
    assert context.untouched()


def test_a_blob_with_other_bytes_than_its_digest_is_refused(
    context: WorkerContext, lying: Callable[[Script], str]
) -> None:
    def answer(request: ProxiedRequest) -> Action | None:
        return Action(change=lambda piece: bytes(len(piece))) if request.is_blob_get else None

    code, said = context.copy(f"{lying(answer)}/team/app:1")
    assert code == 1
    assert said.startswith("transship: at the source: sha256:")
    assert "digest" in said
    assert "after 2 attempts" in said
    assert context.untouched()


def test_a_manifest_that_lies_about_a_size_is_refused(context: WorkerContext) -> None:
    image = build_image("lies", layers=1)
    lie = image.manifest.raw.replace(
        f'"size": {image.manifest.layers[0].size}'.encode(),
        f'"size": {image.manifest.layers[0].size + 1}'.encode(),
    )
    assert lie != image.manifest.raw
    manifest = parse_manifest(lie, image.manifest.media_type)
    assert isinstance(manifest, Manifest)
    push_to_registry(context.source.url, "team/liar", "1", Image(manifest, image.blobs))
    code, said = context.copy(f"{context.source.host}/team/liar:1")
    assert code == 1
    assert said.startswith("transship: at the source: ")
    assert "bytes" in said
    assert context.untouched()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(
        "copy", "localhost:1/a", "localhost:1/b", environ=environment(tmp_path / "file" / "home")
    )
    assert done.returncode == 1
    assert done.stderr.startswith("transship: in the store: ")
    assert str(tmp_path / "file" / "home") in done.stderr
    assert "TRANSSHIP_HOME" in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = run("up", "--listen", address, environ=environment(tmp_path / "home"))
    assert done.returncode == 1
    assert address in done.stderr
    assert "Traceback" not in done.stderr


def test_detach_without_a_server_is_refused(tmp_path: Path) -> None:
    done = run(
        "copy", "localhost:1/a", "localhost:1/b", "--detach", environ=environment(tmp_path / "home")
    )
    assert done.returncode == 2
    assert "--detach" in done.stderr


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("jobs", environ=environment(tmp_path / "home", TRANSSHIP_URL=url))
    assert done.returncode == 2
    assert url in done.stderr


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    environ = environment(tmp_path / "home", TRANSSHIP_MAX_CONCURRENT_DOWNLOADS="0")
    done = run("jobs", environ=environ)
    assert done.returncode == 2
    assert "TRANSSHIP_MAX_CONCURRENT_DOWNLOADS" in done.stderr
