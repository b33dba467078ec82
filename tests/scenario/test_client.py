"""Programs that import `transship.client`, against a real server and real registries."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests
from tests.support.clients import KINDS, Kind, Watched, asked
from tests.support.images import build_image, push_to_registry
from tests.support.processes import free_port, wait_until
from tests.support.proxy import Action, ProxiedRequest, SlowProxy
from tests.support.redis import require_redis
from tests.support.registries import RegistryProcess
from tests.support.server import environment
from tests.support.tars import file, tar_of
from tests.support.up import Environment, Up, up_environment
from transship.client import (
    AsyncClient,
    ClientError,
    ConflictError,
    CopySpec,
    ExportSpec,
    ForbiddenError,
    InvalidRequestError,
    JobFailedError,
    MirrorSpec,
    NotFoundError,
    NotTransshipError,
    ProgressEvent,
    PullSpec,
    UnauthorizedError,
    UnreachableError,
)
from transship.store.home import read_token

README = Path(tests.__path__[0]).parent / "README.md"
both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with up_environment(tmp_path_factory.mktemp("environment")) as opened:
        yield opened


def server(up: Up) -> dict[str, Any]:
    """What a client of a server is made with."""
    return {"url": up.url, "token": read_token(up.home)}


def ask(kind: Kind, here: Environment, name: str, /, *args: Any, **options: Any) -> Any:
    return asked(kind, server(here.up), name, *args, **options)


@both
def test_a_job_from_its_submission_to_its_end(here: Environment, kind: Kind) -> None:
    image = here.put(f"whole-{kind}")
    reference = f"{here.source.host}/team/whole-{kind}:1"
    job = ask(kind, here, "submit", PullSpec(reference=reference), priority=5)
    assert (job.kind, job.priority, job.parent) == ("pull", 5, None)
    assert job.spec["reference"] == reference
    events = ask(kind, here, "follow", job.id)
    told = [event.type for event in events if event.type != "progress"]
    assert (told[0], told[-1]) == ("queued", "succeeded")
    assert isinstance(events[-1], ProgressEvent)
    ended = ask(kind, here, "wait", job.id, check=True)
    assert events[-1].job.model_dump() == ended.model_dump(exclude={"spec"})
    assert ended.result["digest"] == str(image.digest)
    assert ended.progress.bytes_done == ended.progress.bytes_total > 0
    stored = [event.id for event in ask(kind, here, "log", job.id)]
    assert stored == [event.id for event in events if event.type != "progress"]
    rest = ask(kind, here, "follow", job.id, after=stored[0])
    assert [event.id for event in rest if event.type != "progress"] == stored[1:]
    assert {one.direction for one in ask(kind, here, "transfers", job.id)} == {"download"}


@both
def test_images_are_listed_looked_at_named_and_removed(here: Environment, kind: Kind) -> None:
    here.put(f"seen-{kind}")
    reference = f"{here.source.host}/team/seen-{kind}:1"
    ask(kind, here, "wait", here.submit(kind="pull", reference=reference), check=True)
    (listed,) = ask(kind, here, "images", f"*seen-{kind}*")
    details = ask(kind, here, "inspect", reference)
    assert (details.id, details.digest) == (listed.id, listed.digest)
    assert ask(kind, here, "inspect_remote", reference).descriptor.digest == listed.digest
    assert ask(kind, here, "tag", reference, f"named-{kind}") == f"named-{kind}:latest"
    assert ask(kind, here, "remove", f"named-{kind}") == [{"untagged": f"named-{kind}:latest"}]
    with pytest.raises(NotFoundError):
        ask(kind, here, "inspect", f"named-{kind}")


@both
def test_an_archive_leaves_by_a_file_and_comes_back_by_one(
    here: Environment, kind: Kind, tmp_path: Path
) -> None:
    here.put(f"carried-{kind}")
    reference = f"{here.source.host}/team/carried-{kind}:1"
    ask(kind, here, "wait", here.submit(kind="pull", reference=reference), check=True)
    with (tmp_path / "archive.tar").open("w+b") as file:
        job = ask(kind, here, "save", reference, file, timeout=30)
        assert job.kind == "export"
        again = io.BytesIO()
        assert ask(kind, here, "export", job.id, again) == file.tell()
        file.seek(0)
        assert again.getvalue() == file.read()
        ask(kind, here, "remove", reference)
        file.seek(0)
        loaded = ask(kind, here, "wait", ask(kind, here, "load", file).id, check=True)
    assert loaded.result["loaded"] == [reference]


@both
def test_a_file_system_becomes_an_image(here: Environment, kind: Kind) -> None:
    body = io.BytesIO(tar_of(file("greeting", b"hello")))
    job = ask(kind, here, "import_image", body, f"made-{kind}", changes=["ENV A=b"])
    done = ask(kind, here, "wait", job.id, check=True)
    details = ask(kind, here, "inspect", f"made-{kind}")
    assert (details.id, details.config["Env"]) == (done.result["image_id"], ["A=b"])


@both
@pytest.mark.parametrize("size", [1_000, 50_000_000])
def test_a_body_that_is_not_an_archive_is_refused(here: Environment, kind: Kind, size: int) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        ask(kind, here, "load", io.BytesIO(b"x" * size))
    assert raised.value.status == 400


class Endless(io.RawIOBase):
    """A file without an end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_a_body_stops_when_its_call_is_cancelled(here: Environment) -> None:
    def imports() -> set[str]:
        return {job.id for job in ask("blocking", here, "jobs", kind="import")}

    async def cancelled() -> None:
        known = imports()
        async with AsyncClient(**server(here.up)) as client:
            sending = asyncio.create_task(client.import_image(io.BufferedReader(Endless())))
            await asyncio.to_thread(wait_until, lambda: imports() - known, 20, "the job")
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            (job,) = imports() - known
            ended = await client.wait(job, 20)
            assert (ended.error and ended.error.code) == "body-incomplete"

    asyncio.run(cancelled())


@both
def test_one_key_makes_one_job(here: Environment, kind: Kind) -> None:
    spec = CopySpec(source="127.0.0.1:1/a:1", destination="127.0.0.1:1/b")
    first, second = (
        ask(kind, here, "submit", spec, idempotency_key=f"once-{kind}") for _ in range(2)
    )
    assert first.id == second.id
    other = PullSpec(reference="127.0.0.1:1/c:1")
    with pytest.raises(ConflictError):
        ask(kind, here, "submit", other, idempotency_key=f"once-{kind}")
    assert ask(kind, here, "cancel", first.id).id == first.id


@both
def test_a_mirror_has_its_images_as_children(here: Environment, kind: Kind) -> None:
    image = build_image(f"mirrored-{kind}", layers=1)
    for tag in ("1", "2", "3"):
        push_to_registry(here.source.url, f"team/mirrored-{kind}", tag, image)
    source = f"{here.source.host}/team/mirrored-{kind}"
    spec = MirrorSpec(source=source, destination=f"{here.target.host}/copies-{kind}")
    job = ask(kind, here, "wait", ask(kind, here, "submit", spec).id, check=True)
    assert job.progress.images_done == 3
    children = ask(kind, here, "jobs", parent=job.id, state="succeeded")
    assert {child.parent for child in children} == {job.id}
    assert len(children) == 3
    assert len(ask(kind, here, "jobs", parent=job.id, limit=2)) == 2
    entries = [{"source": source, "destination": f"{here.target.host}/copies-{kind}"}]
    here.up.client.put_mirror(f"kept-{kind}", {"entries": entries})
    assert f"kept-{kind}" in [one.name for one in ask(kind, here, "mirrors")]
    run = ask(kind, here, "run_mirror", f"kept-{kind}")
    assert ask(kind, here, "wait", run.id, check=True).result["up_to_date"] == 3
    assert [one.id for one in ask(kind, here, "mirror_runs", f"kept-{kind}")] == [run.id]
    assert ask(kind, here, "mirror", f"kept-{kind}").last_run.job == run.id
    verified = ask(kind, here, "verify_mirror", f"kept-{kind}", read=True)
    found = ask(kind, here, "wait", verified.id, check=True).result["verified"]
    assert (found["images"], found["whole"]) == (3, 3)


@both
def test_a_failed_job_says_why_and_can_be_tried_again(here: Environment, kind: Kind) -> None:
    reference = f"{here.source.host}/team/late-{kind}:1"
    job = ask(kind, here, "submit", PullSpec(reference=reference))
    with pytest.raises(JobFailedError) as raised:
        ask(kind, here, "wait", job.id, check=True)
    error = raised.value
    assert (error.side, error.status, error.job.id) == ("source", None, job.id)
    assert error.hint == "check the name and the tag, and whether it needs credentials"
    here.put(f"late-{kind}")
    again = ask(kind, here, "retry", job.id)
    assert again.retry_of == job.id
    assert ask(kind, here, "wait", again.id, check=True).succeeded


@both
def test_each_refusal_has_its_kind(here: Environment, kind: Kind) -> None:
    with pytest.raises(InvalidRequestError) as invalid:
        ask(kind, here, "submit", {"kind": "pull", "reference": "UPPER"})
    assert invalid.value.status == 422
    assert [error["field"] for error in invalid.value.errors] == ["reference"]
    with pytest.raises(NotFoundError) as missing:
        ask(kind, here, "wait", "00000000-0000-0000-0000-000000000000")
    assert (missing.value.code, missing.value.side) == ("not-found", "request")
    queued = ask(kind, here, "submit", ExportSpec(references=("nothing-of-the-kind",)))
    ask(kind, here, "wait", queued.id)
    with pytest.raises(ClientError, match=queued.id):
        ask(kind, here, "export", queued.id, io.BytesIO())
    with pytest.raises(UnauthorizedError):
        asked(kind, {"url": here.up.url, "token": "tst_of_nobody"}, "mirrors")
    reader = here.up.client.create_token(None, ["read"], None)["token"]
    with pytest.raises(ForbiddenError) as forbidden:
        asked(kind, {"url": here.up.url, "token": reader}, "submit", {"kind": "gc"})
    assert forbidden.value.subject == "submit"


@both
def test_what_is_no_server_is_named(here: Environment, kind: Kind) -> None:
    with pytest.raises(NotTransshipError, match=here.source.url):
        asked(kind, {"url": here.source.url}, "images")
    with pytest.raises(UnreachableError, match="no Transship server answers"):
        asked(kind, {"url": f"http://127.0.0.1:{free_port()}"}, "images")


@pytest.mark.slow
@both
@pytest.mark.parametrize("name", ["wait", "follow"])
def test_a_server_that_is_killed_and_comes_back_is_found_again(
    tmp_path: Path, source: RegistryProcess, kind: Kind, name: str
) -> None:
    require_redis()
    push_to_registry(source.url, "team/app", "1", build_image("kept", layers=2))
    gate = threading.Event()

    def hold(request: ProxiedRequest) -> Action | None:
        return Action(hold_until=gate) if request.is_blob_get else None

    with (
        Up(tmp_path, environ=environment(tmp_path / "home")) as up,
        SlowProxy(source.host, on_request=hold, host_name="localhost") as proxy,
    ):
        job = asked(kind, server(up), "submit", PullSpec(reference=f"{proxy.host}/team/app:1"))
        way = Watched(kind)
        found: list[Any] = []
        asking = threading.Thread(
            target=lambda: found.append(asked(kind, {**server(up), "transport": way}, name, job.id))
        )
        asking.start()
        assert way.waiting.wait(20)
        killed = up.child(" -m transship api")
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in up.children(), 20, "the API to end")
        up.process.wait_ready(up.ready, 40)
        gate.set()
        asking.join(40)
        assert not asking.is_alive()
    if name == "wait":
        assert found[0].succeeded
    else:
        ids = [event.id for event in found[0] if event.type != "progress"]
        assert ids == sorted(set(ids))
        assert (found[0][0].type, found[0][-1].job.state) == ("queued", "succeeded")


def test_the_program_of_the_readme_runs(here: Environment) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(program.splitlines()) <= 15
    here.put("tools")
    shown, named = "localhost:5001/team/tools:stable", f"{here.source.host}/team/tools:1"
    assert shown in program
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace(shown, named)],
        env=here.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "succeeded" in ran.stdout
