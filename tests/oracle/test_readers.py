"""What came in here and goes out again is read by Docker: odd layers, by every way in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.oracle.docker import DockerSubject
from tests.oracle.inputs import Made, docker_archive, image
from tests.oracle.subject import RefusedError
from tests.oracle.transship import TransshipSubject
from tests.support.dockerd import daemon_or_skip
from tests.support.odd_layers import REFUSED, UNPACKED, odd_layer
from tests.support.registries import RegistryProcess
from tests.support.tars import Member, file, folder, hardlink, symlink
from tests.support.up import Up, bare_environment
from transship.store.layers.compose.whiteouts import PREFIX
from transship.store.oci.digest import Digest

pytestmark = pytest.mark.long

BASE = image("base", layers=[{"etc/kept": b"kept", "bin/idle": b"x"}], tags=["base:1"])
# What a workspace can be given besides: links to what lies in the image below.
OVER_BASE: dict[str, list[Member]] = {
    "a hard link to a file below": [hardlink("etc/link", "etc/kept")],
    "two names of a file below": [hardlink("etc/one", "etc/kept"), hardlink("two", "etc/one")],
    "a file in place of a directory below": [file("etc", b"1")],
    "a directory in place of a file below": [folder("etc/kept"), file("etc/kept/a", b"1")],
    "a link in place of a directory below": [symlink("etc", "bin"), file("etc/a", b"1")],
}
Way = Callable[[TransshipSubject, bytes], None]


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerSubject]:
    with daemon_or_skip() as daemon:
        yield DockerSubject(daemon)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransshipSubject]:
    directory = tmp_path_factory.mktemp("readers")
    with (
        Up(directory, environ=bare_environment(directory)) as up,
        TransshipSubject(up.url, up.home) as subject,
    ):
        yield subject


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def imported(server: TransshipSubject, tar: bytes) -> None:
    server.import_(tar, "odd:1")


def loaded(server: TransshipSubject, tar: bytes) -> None:
    plain = image("odd", layers=[{}], tags=["odd:1"])
    before, after = (str(Digest.of(layer)).encode() for layer in (plain.layers[0], tar))
    config = plain.config.replace(before, after)
    server.load(docker_archive(Made(config, (tar,), ("odd:1",))))


def put(server: TransshipSubject, tar: bytes) -> None:
    server.load(docker_archive(BASE))
    server.workspace_create("work", "base:1")
    server.workspace_put("work", "/", tar)
    server.workspace_commit("work", "odd:1")


WAYS: dict[str, Way] = {"import": imported, "load": loaded, "workspace put": put}


def _has_whiteout(members: list[Member]) -> bool:
    return any(part.startswith(PREFIX) for one in members for part in one.info.name.split("/"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", UNPACKED)
def test_what_was_taken_is_read_by_docker(
    name: str,
    way: str,
    server: TransshipSubject,
    docker: DockerSubject,
    registry: RegistryProcess,
) -> None:
    members = UNPACKED[name]
    if way == "workspace put" and _has_whiteout(members):
        pytest.skip("a workspace takes no names that would be removals")
    _check(members, way, server, docker, registry)


@pytest.mark.parametrize("name", OVER_BASE)
def test_what_is_put_over_an_image_is_read_by_docker(
    name: str, server: TransshipSubject, docker: DockerSubject, registry: RegistryProcess
) -> None:
    _check(OVER_BASE[name], "workspace put", server, docker, registry)


@pytest.mark.parametrize("way", ["import", "load"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_docker_would_refuse_is_refused(name: str, way: str, server: TransshipSubject) -> None:
    with pytest.raises(RefusedError) as refused:
        WAYS[way](server, odd_layer(REFUSED[name]))
    assert refused.value.kind == "invalid"
    assert server.images(all_=True) == []


def _check(
    members: list[Member],
    way: str,
    server: TransshipSubject,
    docker: DockerSubject,
    registry: RegistryProcess,
) -> None:
    try:
        WAYS[way](server, odd_layer(members))
        id_ = server.inspect("odd:1")["id"]
        docker.load(server.save("odd:1"))
        assert docker.inspect("odd:1")["id"] == id_
        docker.wipe()
        name = f"{registry.host}/odd:1"
        server.tag("odd:1", name)
        server.push(name)
        docker.pull(name)
        assert docker.inspect(name)["id"] == id_
    finally:
        server.wipe()
        docker.wipe()
