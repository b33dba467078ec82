"""An image of forty layers and a GiB goes to Docker and comes back: the same, and not by memory."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.dockerd import Dockerd, daemon_or_skip
from tests.support.images import AMD64, big_image, put_image
from tests.support.server import TRANSSHIP, environment, run
from tests.support.up import Up
from transship.store.archives.plan import ArchiveFormat, SavedImage
from transship.store.archives.write import write_archive
from transship.store.content.local import LocalStore
from transship.store.layers.codecs.formats import Compression
from transship.store.oci.digest import Digest
from transship.store.oci.reference import Reference

NAME = "test/large:1"
BYTES = 1024**3
LAYERS = 40
MAX_ABOVE_IDLE = 100 * 1024**2
LOOK_SECONDS = 0.01  # between two looks at the memory of a command


@pytest.fixture(scope="module")
def docker() -> Iterator[Dockerd]:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    with daemon_or_skip() as daemon:
        yield daemon


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_image_of_a_gib_stays_the_same_through_docker(docker: Dockerd, tmp_path: Path) -> None:
    image_id = build_archive(tmp_path / "first.tar", tmp_path)
    environ = environment(tmp_path / "home")
    with Up(tmp_path, "--workers", "1", environ=environ) as up:
        ours = {**environ, "TRANSSHIP_URL": up.url}
        idle = command_peak("images", environ=ours)
        memory = Memory(up)

        def transship(*arguments: str) -> None:
            peak = command_peak(*arguments, environ=ours)
            assert peak - idle < MAX_ABOVE_IDLE, arguments
            assert memory.above_idle() < MAX_ABOVE_IDLE, arguments

        def at_docker(*arguments: str) -> str:
            command = ["docker", "--host", f"unix://{docker.socket_path}", *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        transship("load", "-q", str(tmp_path / "first.tar"))
        (tmp_path / "first.tar").unlink()
        transship("save", NAME, "-o", str(tmp_path / "saved.tar"))
        at_docker("load", "-i", str(tmp_path / "saved.tar"))
        (tmp_path / "saved.tar").unlink()
        assert at_docker("inspect", "--format", "{{.ID}}", NAME).strip() == str(image_id)

        transship("rm", NAME)
        at_docker("save", "-o", str(tmp_path / "back.tar"), NAME)
        transship("load", "-q", str(tmp_path / "back.tar"))
        back = json.loads(run("inspect", NAME, "--json", environ=ours).stdout)
        assert back["id"] == str(image_id)
        assert len(back["rootfs"]["diff_ids"]) == LAYERS


def build_archive(path: Path, directory: Path) -> Digest:
    """Write an archive of the image, and return the image's ID."""
    image = big_image(directory / "layers", BYTES, LAYERS, seed="large")
    content = LocalStore(directory / "content")
    put_image(content, image)
    shutil.rmtree(directory / "layers")
    saved = SavedImage(image.digest, image.manifest.media_type, (Reference.parse(NAME),))
    with path.open("wb") as file:
        write_archive(
            [saved],
            content,
            file.write,
            format=ArchiveFormat.DOCKER,
            compression=Compression.NONE,
            platform=AMD64,
        )
    shutil.rmtree(directory / "content")
    return image.manifest.config.digest


class Memory:
    """How much memory the processes of a server take at most, beyond what they took idle."""

    def __init__(self, up: Up) -> None:
        """Take what they have now for idle, and their peaks from now on."""
        self._idle = {pid: status_bytes(pid, "VmRSS") for pid in up.children()}
        for pid in self._idle:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): resets the peak

    def above_idle(self) -> int:
        """The most that any of them has had more than idle."""
        return max(status_bytes(pid, "VmHWM") - idle for pid, idle in self._idle.items())


def command_peak(*arguments: str, environ: Mapping[str, str]) -> int:
    """Run `transship` to its end, and return the most memory that it took."""
    peak = 0
    with subprocess.Popen(
        [*TRANSSHIP, *arguments], env=dict(environ), stdout=subprocess.DEVNULL
    ) as process:
        # Not wait4's figure: that has the memory of the process that started it in it.
        while process.poll() is None:
            peak = max(peak, status_bytes(process.pid, "VmHWM"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
    assert process.returncode == 0, arguments
    return peak


def status_bytes(pid: int, field: str) -> int:
    """A figure of proc(5)'s status in bytes; 0 of a process that has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0
