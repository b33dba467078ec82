"""`make kill-matrix`: at least 200 kills, and what became of the jobs; writes RESULTS.md.

Each cluster is private: registries, Redis, PostgreSQL and all processes of Transship, on loopback
ports and in a temporary directory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.kills.batch import Batch
from tests.kills.chunks import ChunkKills, kill_chunked_uploads
from tests.kills.cluster import FAILOVERS, LEASE_SECONDS, cluster
from tests.kills.matrix import STAGES, Kill, Matrix
from tests.kills.mirror import Cancelled, LargeMirror, large_registry

RESULTS = Path(__file__).parent / "RESULTS.md"
MIRRORED = 10_000  # images of the mirror that is cancelled


@dataclass
class Round:
    """One cluster, and whom to kill in it: stages of holders, and others by name."""

    name: str
    holders: dict[str, int]
    others: dict[str, int] = field(default_factory=dict)
    shape: str = "roles"
    postgres: bool = False
    persistent_redis: bool = False
    lease_seconds: float = LEASE_SECONDS
    mirror: int = 0  # images of a mirror that is cancelled in the midst of it
    cancelled: Cancelled | None = None
    kills: list[Kill] = field(default_factory=list)
    jobs: int = 0
    again: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0


def rounds(scale: float) -> list[Round]:
    """The plan; *scale* 1 is the recorded run."""

    def some(**counts: int) -> dict[str, int]:
        return {name: max(1, round(count * scale)) for name, count in counts.items()}

    return [
        Round(
            "SQLite, a Redis that keeps nothing",
            some(resolve=14, download=30, upload=30, publish=14),
            some(api=7, redis=5, failover=5, switchover=5),
            mirror=MIRRORED,
        ),
        Round("`transship up`", some(resolve=3, download=5, upload=5, publish=3), shape="up"),
        Round(
            "PostgreSQL, a Redis that keeps all",
            some(resolve=10, download=22, upload=22, publish=10),
            some(api=3, redis=5, postgres=8, failover=4, switchover=4),
            postgres=True,
            persistent_redis=True,
            mirror=MIRRORED,
        ),
    ]


def play(plan: Round, directory: Path, seed: int) -> None:
    """Kill as planned while jobs go on; raises where a promise is broken."""
    random = Random(seed)
    ahead = [("holder", stage) for stage, count in plan.holders.items() for _ in range(count)]
    ahead += [("other", role) for role, count in plan.others.items() for _ in range(count)]
    random.shuffle(ahead)
    began = time.monotonic()
    with ExitStack() as stack:
        made = stack.enter_context(
            cluster(
                directory,
                shape=plan.shape,
                postgres=plan.postgres,
                persistent_redis=plan.persistent_redis,
                redis_pair=any(role in FAILOVERS for role in plan.others),
                lease_seconds=plan.lease_seconds,
            )
        )
        mirror = None
        if plan.mirror:
            host = stack.enter_context(large_registry(plan.mirror))
            mirror = LargeMirror(made, host, plan.mirror)
        label = "redis kept" if plan.persistent_redis else "redis"
        matrix = Matrix(made, random, label_of_redis=label)
        batch = Batch(made, random)
        batch.start()
        try:
            for number, (what, name) in enumerate(ahead, 1):
                kill = matrix.kill_holder(name) if what == "holder" else matrix.kill_other(name)
                print(f"  {number}/{len(ahead)}  {kill}", flush=True)
                if mirror is not None and number == len(ahead) // 3:
                    mirror.submit()
                if mirror is not None and number == 2 * len(ahead) // 3:
                    plan.cancelled = mirror.cancel(matrix)
                    print(f"  {plan.cancelled}", flush=True)
        except BaseException:
            batch.abandon()
            raise
        batch.finish()
        matrix.check_rest()
        plan.kills = matrix.kills
        plan.jobs = len(batch.results)
        excess = matrix.sent_again(batch.sizes)
        for direction, by_blob in excess.items():
            crashes = Counter(
                kill.digest for kill in matrix.kills if kill.hit and kill.stage == direction
            )
            plan.again[direction] = [
                max(0, by_blob.get(digest, 0)) // count for digest, count in crashes.items()
            ]
    plan.seconds = time.monotonic() - began


def report(played: list[Round], chunks: ChunkKills) -> str:
    """What was seen, in Markdown."""
    kills = [kill for one in played for kill in one.kills] + chunks.kills
    holders = [kill for kill in kills if kill.role in ("control", "download", "upload", "up")]
    hits = [kill for kill in holders if kill.hit]
    lines = [
        (
            f"{len(kills)} kills, {sum(one.jobs for one in played) + chunks.jobs} jobs: every job "
            "ended `succeeded`, every digest was right, no row was stuck, no slot taken, no file "
            "left in `ingests/`."
        ),
        "",
        (
            f"Of {len(holders)} kills of a worker or `up`, {len(hits)} hit the holder of a running "
            f"claim as its row shows ({len(hits) / len(holders):.0%})."
        ),
        "",
        "| killed | " + " | ".join(STAGES) + " | in all |",
        "|---|" + "---|" * (len(STAGES) + 1),
    ]
    table = Counter((kill.role, kill.stage) for kill in kills)
    for role in dict.fromkeys(kill.role for kill in kills):
        counts = [table[role, stage] for stage in STAGES]
        lines.append(f"| {role} | {' | '.join(map(str, counts))} | {sum(counts)} |")
    of_stages = Counter(kill.stage for kill in kills)
    sums = " | ".join(str(of_stages[stage]) for stage in STAGES)
    lines.append(f"| in all | {sums} | {len(kills)} |")
    kinds = Counter(kill.kind for kill in hits)
    lines += ["", f"Claims hit, by kind of job: {dict(kinds)}.", ""]
    lines += ["| bytes sent again per kill | kills | median | most |", "|---|---|---|---|"]
    for direction, bound in (("download", ""), ("upload", " to docker-registry (whole blobs)")):
        again = [count for one in played for count in one.again.get(direction, [])]
        if again:
            lines.append(
                f"| {direction}{bound} | {len(again)} | {round(statistics.median(again)):,} "
                f"| {max(again):,} |"
            )
    lines.append(
        f"| upload in chunks of 16 MiB, to the simulator | {len(chunks.again)} "
        f"| {round(statistics.median(chunks.again)):,} | {max(chunks.again):,} |"
    )
    lines += [
        "",
        "What `up` or PostgreSQL took along when it was killed is counted with the blobs that were",
        "hit.",
    ]
    lines += _of_failovers(kills) + _of_mirrors(played)
    seconds = [kill.seconds for kill in hits if kill.seconds]
    lines += [
        "",
        (
            "From a kill until somebody else had the work: "
            f"median {statistics.median(seconds):.1f} s, most {max(seconds):.1f} s, "
            f"with a lease of {played[0].lease_seconds:g} s. "
            f"The run took {sum(one.seconds for one in played) + chunks.seconds:.0f} s."
        ),
    ]
    return "\n".join(line for line in lines) + "\n"


def _of_failovers(kills: list[Kill]) -> list[str]:
    lines: list[str] = []
    for role, told in (
        ("redis failover", "the primary Redis had been killed and its replica promoted"),
        ("redis switchover", "the primary Redis had become the replica, its clients connected"),
    ):
        if seconds := [kill.seconds for kill in kills if kill.role == role]:
            lines += [
                "",
                (
                    f"From when {told} until every worker asked the new primary for messages, "
                    f"{len(seconds)} times: median {statistics.median(seconds):.1f} s, "
                    f"most {max(seconds):.1f} s."
                ),
            ]
    return lines


def _of_mirrors(played: list[Round]) -> list[str]:
    lines: list[str] = []
    for one in played:
        if (cancel := one.cancelled) is not None:
            lines += [
                "",
                (
                    f"{one.name}: a mirror of {cancel.images:,} images was cancelled after "
                    f"{cancel.started:,} had been taken up, with {cancel.beside} transfers of "
                    f"others running; its last image had ended after {cancel.seconds:.1f} s, and "
                    "nobody else's lease was lost."
                ),
            ]
    return lines


def main() -> int:
    """Run the matrix; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a tenth of the kills")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--lease", type=float, default=LEASE_SECONDS, help="seconds; longer on a busy machine"
    )
    parser.add_argument("--only", default="", help="rounds whose name has this in it")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    played = [one for one in rounds(arguments.scale) if arguments.only in one.name]
    with tempfile.TemporaryDirectory(prefix="kills-") as directory:
        for number, plan in enumerate(played):
            print(plan.name, flush=True)
            plan.lease_seconds = arguments.lease
            play(plan, Path(directory) / str(number), arguments.seed + number)
        print("uploads in chunks", flush=True)
        chunks = kill_chunked_uploads(
            Path(directory) / "chunks", max(1, round(6 * arguments.scale)), arguments.seed
        )
    text = report(played, chunks)
    print(text)
    if arguments.write:
        RESULTS.write_text(f"# The kill matrix: what was seen\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
