"""A pull or a push as Docker would tell it, from what its rows say at one moment after another."""

from __future__ import annotations

from typing import Any

import pytest

from transship.api.views.docker_progress import DockerProgress, JobSnapshot, Line, Moving
from transship.store.catalog.scheduling.events import Event
from transship.workers.specs import PullSpec, PushSpec

ONE, TWO, THREE = (f"sha256:{letter * 64}" for letter in "abc")
ROOT = f"sha256:{'f' * 64}"
PULL = PullSpec(reference="alpine:3")
PUSH = PushSpec(reference="r.test/team/app:1")
PULL_PLAN = {"root": {}, "layers": [ONE, TWO], "absent": [TWO, THREE]}
PUSH_PLAN = {"root": {}, "layers": [TWO, ONE], "absent": [TWO], "mounted": {}}
PULLED = {"digest": ROOT, "up_to_date": False}


def snapshot(state: str = "running", **facts: Any) -> JobSnapshot:
    default: dict[str, Any] = {
        "checkpoint": {}, "result": {}, "error": None, "superseded": False,
        "transfers": {}, "new": (),
    }  # fmt: skip
    return JobSnapshot(state=state, **{**default, **facts})


def event(type_: str, **data: Any) -> Event:
    return Event(1, "j", 0.0, type_, data)


def told(course: DockerProgress, *looks: JobSnapshot) -> list[Line]:
    return [line for one in looks for line in course.tell(one)]


def words(lines: list[Line], digest: str) -> list[str]:
    return [line["status"] for line in lines if line.get("id") == digest[7:19]]


# --- pull ----------------------------------------------------------------------------------------


def test_nothing_is_told_before_the_image_is_known() -> None:
    assert told(DockerProgress(PULL), snapshot("queued"), snapshot()) == []


def test_a_pull_begins_with_where_it_comes_from_and_ends_with_what_it_is() -> None:
    lines = told(
        DockerProgress(PULL),
        snapshot(checkpoint={"root": {}}),
        snapshot("succeeded", result=PULLED),
    )
    assert lines == [
        {"status": "Pulling from library/alpine", "id": "3"},
        {"status": f"Digest: {ROOT}"},
        {"status": "Status: Downloaded newer image for alpine:3"},
    ]


def test_an_image_that_was_here_is_up_to_date() -> None:
    result = {**PULLED, "up_to_date": True}
    lines = told(DockerProgress(PULL), snapshot("succeeded", result=result))
    assert lines[-1] == {"status": "Status: Image is up to date for alpine:3"}


def test_each_layer_goes_its_way_step_by_step() -> None:
    lines = told(
        DockerProgress(PULL),
        snapshot(checkpoint=PULL_PLAN),
        snapshot(checkpoint=PULL_PLAN, transfers={TWO: Moving("pending", 9, 0)}),
        snapshot(checkpoint=PULL_PLAN, transfers={TWO: Moving("admitted", 9, 0)}),
        snapshot(checkpoint=PULL_PLAN, transfers={TWO: Moving("running", 9, 4)}),
        snapshot(checkpoint=PULL_PLAN, transfers={TWO: Moving("running", 9, 9)}),
        snapshot(checkpoint=PULL_PLAN, transfers={TWO: Moving("done", 9, 9)}),
        snapshot(
            "succeeded", checkpoint=PULL_PLAN, transfers={TWO: Moving("done", 9, 9)}, result=PULLED
        ),
    )
    assert words(lines, ONE) == ["Already exists"]
    assert words(lines, TWO) == [
        "Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete",
        "Pull complete",
    ]  # fmt: skip
    downloading = next(line for line in lines if line["status"] == "Downloading")
    assert downloading["progressDetail"] == {"current": 4, "total": 9}


def test_a_config_is_no_layer() -> None:
    moving = {TWO: Moving("done", 9, 9), THREE: Moving("done", 2, 2)}
    lines = told(
        DockerProgress(PULL),
        snapshot("succeeded", checkpoint=PULL_PLAN, transfers=moving, result=PULLED),
    )
    assert words(lines, THREE) == []


def test_who_comes_late_hears_what_every_layer_came_to() -> None:
    lines = told(DockerProgress(PULL), snapshot("succeeded", checkpoint=PULL_PLAN, result=PULLED))
    assert words(lines, TWO) == ["Pulling fs layer", "Download complete", "Pull complete"]


def test_what_has_not_changed_is_not_told_again() -> None:
    course = DockerProgress(PULL)
    same = snapshot(checkpoint=PULL_PLAN, transfers={TWO: Moving("running", 9, 4)})
    assert told(course, same)
    assert told(course, same) == []
    ended = snapshot("succeeded", checkpoint=PULL_PLAN, result=PULLED)
    assert told(course, ended)
    assert told(course, ended) == []


@pytest.mark.parametrize(
    ("seconds", "word"), [(0.2, "1 second"), (1.0, "1 second"), (4.1, "5 seconds")]
)
def test_a_layer_that_is_tried_again_says_when(seconds: float, word: str) -> None:
    new = [event("retrying", digest=TWO, seconds=seconds)]
    lines = told(DockerProgress(PULL), snapshot(checkpoint=PULL_PLAN, new=new))
    assert f"Retrying in {word}" in words(lines, TWO)


def test_a_question_that_is_asked_again_says_when() -> None:
    lines = told(DockerProgress(PULL), snapshot(new=[event("retrying", seconds=2)]))
    assert lines == [{"status": "Retrying in 2 seconds"}]


def test_a_warning_is_told() -> None:
    lines = told(
        DockerProgress(PULL), snapshot(new=[event("warning", message="not for this machine")])
    )
    assert lines == [{"status": "WARNING: not for this machine"}]


def test_a_failure_is_the_last_line() -> None:
    error = {"subject": "alpine:3", "detail": "no such image"}
    (line,) = told(DockerProgress(PULL), snapshot("failed", error=error))
    assert line == {
        "errorDetail": {"message": "alpine:3: no such image"},
        "error": "alpine:3: no such image",
    }


def test_a_cancelled_job_says_so() -> None:
    (line,) = told(DockerProgress(PULL), snapshot("cancelled"))
    assert line["error"] == "alpine:3: the job was cancelled"


def test_a_pull_that_something_newer_overtook_does_not_claim_the_name() -> None:
    lines = told(DockerProgress(PULL), snapshot("succeeded", result=PULLED, superseded=True))
    assert lines == [{"status": "Status: something newer wrote alpine:3 first"}]


# --- push ----------------------------------------------------------------------------------------


def test_a_push_begins_with_where_it_goes_and_ends_with_what_is_there() -> None:
    result = {"digest": ROOT, "size": 7}
    lines = told(
        DockerProgress(PUSH),
        snapshot(checkpoint={"root": {}}),
        snapshot("succeeded", result=result),
    )
    assert lines == [
        {"status": "The push refers to repository [r.test/team/app]"},
        {"status": f"1: digest: {ROOT} size: 7"},
        {"progressDetail": {}, "aux": {"Tag": "1", "Digest": ROOT, "Size": 7}},
    ]


def test_each_layer_is_sent_step_by_step() -> None:
    lines = told(
        DockerProgress(PUSH),
        snapshot(checkpoint=PUSH_PLAN),
        snapshot(checkpoint=PUSH_PLAN, transfers={TWO: Moving("pending", 9, 0)}),
        snapshot(checkpoint=PUSH_PLAN, transfers={TWO: Moving("running", 9, 4)}),
        snapshot(checkpoint=PUSH_PLAN, transfers={TWO: Moving("done", 9, 9)}),
    )
    assert words(lines, TWO) == ["Preparing", "Waiting", "Pushing", "Pushed"]
    assert words(lines, ONE) == ["Preparing", "Layer already exists"]


def test_a_layer_that_was_mounted_says_from_where() -> None:
    plan = {**PUSH_PLAN, "mounted": {ONE: "team/base"}}
    lines = told(DockerProgress(PUSH), snapshot(checkpoint=plan))
    assert words(lines, ONE) == ["Preparing", "Mounted from team/base"]


def test_a_layer_that_another_job_brought_is_there_already() -> None:
    lines = told(DockerProgress(PUSH), snapshot(checkpoint={**PUSH_PLAN, "arrived": [TWO]}))
    assert words(lines, TWO) == ["Preparing", "Layer already exists"]


# --- all tags ------------------------------------------------------------------------------------


def test_one_tag_of_all_tells_its_digest_and_leaves_the_end_to_the_whole() -> None:
    one = DockerProgress(PULL, alone=False)
    lines = told(one, snapshot("succeeded", checkpoint={"root": {}}, result=PULLED))
    assert [line["status"] for line in lines] == [
        "Pulling from library/alpine",
        f"Digest: {ROOT}",
    ]
    whole = DockerProgress(PullSpec(reference="alpine", all_tags=True))
    lines = told(
        whole, snapshot("succeeded", checkpoint={"tags": ["3"]}, result={"up_to_date": False})
    )
    assert lines == [{"status": "Status: Downloaded newer image for alpine"}]


def test_a_push_of_all_tags_names_the_repository_once() -> None:
    whole = DockerProgress(PushSpec(reference="r.test/team/app", all_tags=True))
    lines = told(whole, snapshot(checkpoint={"tags": ["1"]}))
    lines += told(DockerProgress(PUSH, alone=False), snapshot(checkpoint={"root": {}}))
    assert lines == [{"status": "The push refers to repository [r.test/team/app]"}]


def test_a_tag_that_fails_does_not_end_the_stream() -> None:
    error = {"subject": "alpine:3", "detail": "no such image"}
    lines = told(DockerProgress(PULL, alone=False), snapshot("failed", error=error))
    assert lines == [{"status": "Error: alpine:3: no such image"}]
