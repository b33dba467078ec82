"""`python -m tests.bench.squash`: a squash of forty layers, beside docker-squash, A B A B.

docker-squash (a program from PyPI, given by its path) works on a Docker daemon, which has the image
loaded; Transship on its store, with a server running. Each writes its result to where its users
find it. Wall time is that of the command as typed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.dockerd import Dockerd, available
from tests.support.images import build_image, push_to_registry
from tests.support.redis import RedisProcess
from tests.support.registries import RegistryProcess
from tests.support.server import TRANSSHIP, environment
from tests.support.up import Up

LAYERS = 40


def main() -> int:
    """Run the pairs, and print what they took."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.squash", description=__doc__)
    parser.add_argument("docker_squash", type=Path, help="the program")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--megabytes", type=int, default=400, help="of all layers, unpacked")
    parser.add_argument("--apart", action="store_true", help="no layer replaces files of another")
    options = parser.parse_args()
    if reason := available():
        print(reason, file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="squash-") as place,
        RegistryProcess(Path(place) / "registry", host_name="localhost") as registry,
        RedisProcess(Path(place) / "redis") as redis,
        Dockerd() as docker,
    ):
        image = build_image(
            "squash",
            layers=LAYERS,
            layer_bytes=options.megabytes * 1_000_000 // LAYERS,
            apart=options.apart,
        )
        push_to_registry(registry.url, "bench/squash", "1", image)
        name = f"{registry.host}/bench/squash:1"
        environ = environment(Path(place) / "home", TRANSSHIP_BROKER_URL=redis.url)
        with Up(Path(place), "--workers", "1", environ=environ) as up:
            ours = {**environ, "TRANSSHIP_URL": up.url}
            _run([*TRANSSHIP, "pull", "-q", name], ours)
            archive = Path(place) / "image.tar"
            _run([*TRANSSHIP, "save", name, "-o", str(archive)], ours)
            theirs = {**os.environ, "DOCKER_HOST": f"unix://{docker.socket_path}"}
            _run(["docker", "load", "-i", str(archive)], theirs)
            pairs = []
            for number in range(options.rounds):
                a = _run([*TRANSSHIP, "squash", "-q", name, "-t", f"ours:{number}"], ours)
                b = _run([str(options.docker_squash), "-t", f"theirs:{number}", name], theirs)
                pairs.append((a, b))
                print(f"  Transship {a:.2f} s, docker-squash {b:.2f} s", flush=True)
    ours_median = statistics.median(a for a, _ in pairs)
    theirs_median = statistics.median(b for _, b in pairs)
    ratio = statistics.median(b / a for a, b in pairs)
    print(
        f"{LAYERS} layers, {image.size / 1e6:.0f} MB compressed: Transship {ours_median:.2f} s, "
        f"docker-squash {theirs_median:.2f} s, {ratio:.1f} times as long"
    )
    return 0


def _run(command: list[str], environ: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
