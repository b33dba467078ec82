"""Configs of containers: which are refused, which are equal, what they take over."""

from __future__ import annotations

from typing import Any

import pytest

from transship.store.errors import InvalidSpecError
from transship.store.images.build.container_config import check, complete, same_step

STEP: dict[str, Any] = {
    "Cmd": ["/bin/sh", "-c", "make"],
    "Env": ["A=1", "B=2"],
    "Entrypoint": ["/run"],
    "Labels": {"a": "1", "b": "2"},
    "ExposedPorts": {"80/tcp": {}, "90/tcp": {}},
    "Volumes": {"/a": {}, "/b": {}},
    "User": "1",
    "Tty": False,
}


@pytest.mark.parametrize(
    "change",
    [
        {"Labels": {"b": "2", "a": "1"}},
        {"ExposedPorts": {"90/tcp": {}, "80/tcp": {}}},
        {"Volumes": {"/b": {}, "/a": {}}},
        {"AttachStdout": False, "OpenStdin": False, "Tty": None},
        {"WorkingDir": "/elsewhere", "Hostname": "other", "Image": "other"},
    ],
    ids=str,
)
def test_what_does_not_count_may_differ(change: dict[str, Any]) -> None:
    assert same_step(STEP, {**STEP, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"Cmd": ["/bin/sh", "-c", "make all"]},
        {"Cmd": None},
        {"Env": ["B=2", "A=1"]},
        {"Env": ["A=1"]},
        {"Entrypoint": ["/run", "fast"]},
        {"Labels": {"a": "1", "b": "3"}},
        {"Labels": {"a": "1"}},
        {"ExposedPorts": {"80/tcp": {}}},
        {"Volumes": {"/a": {}, "/c": {}}},
        {"User": "2"},
        {"Tty": True},
        {"AttachStdout": True},
        {"AttachStderr": True},
    ],
    ids=str,
)
def test_what_counts_may_not(change: dict[str, Any]) -> None:
    other = {**STEP, **change}
    assert not same_step(STEP, other)
    assert not same_step(other, STEP)


def test_a_step_that_reads_from_its_user_equals_none() -> None:
    reading = {**STEP, "OpenStdin": True}
    assert not same_step(reading, reading)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"Cmd": "make"}, "config.Cmd"),
        ({"Env": [1]}, "config.Env"),
        ({"Labels": ["a=1"]}, "config.Labels"),
        ({"Labels": {"a": 1}}, "config.Labels"),
        ({"Volumes": ["/a"]}, "config.Volumes"),
        ({"User": 1}, "config.User"),
    ],
    ids=str,
)
def test_values_of_wrong_types_are_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        check(config)
    assert refused.value.errors[0]["field"] == field


def test_nulls_and_unknown_fields_pass() -> None:
    check({"Cmd": None, "Labels": None, "StopTimeout": 3})


def test_what_is_left_out_is_inherited() -> None:
    whole = complete({"User": "2", "Cmd": None}, STEP)
    assert whole == {**STEP, "User": "2"}


def test_sets_and_variables_are_those_of_both() -> None:
    given = {"Labels": {"b": "3"}, "Volumes": {"/c": {}}, "Env": ["B=9", "C=3"]}
    whole = complete(given, STEP)
    assert whole["Labels"] == {"a": "1", "b": "3"}
    assert list(whole["Volumes"]) == ["/a", "/b", "/c"]
    assert whole["Env"] == ["B=9", "C=3", "A=1"]


def test_an_entry_point_does_without_an_inherited_command() -> None:
    assert "Cmd" not in complete({"Entrypoint": ["/new"]}, STEP)
    assert complete({"Entrypoint": ["/new"], "Cmd": ["x"]}, STEP)["Cmd"] == ["x"]
