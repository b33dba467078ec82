"""Instructions that change a config: what Docker 20.10 answered, and what it cannot be asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from transship.store.errors import InvalidSpecError
from transship.store.images.build.changes import apply_changes
from transship.store.images.build.shell_words import WordError, expand, split_words

_RECORDED = Path(__file__).parents[3] / "data" / "oracle" / "importing_change.json"


def _recorded() -> list[Any]:
    """Each case that was put to Docker: the changes, and the config that came of them, if any."""
    cases = []
    for case in json.loads(_RECORDED.read_text())["cases"]:
        asked, seen = case["steps"]
        changes = re.split(r" --changes ", asked["do"])[1:]
        cases.append(pytest.param(changes, seen["saw"].get("config"), id=case["case"]))
    return cases


@pytest.mark.parametrize(("changes", "config"), _recorded())
def test_it_answers_as_docker_did(changes: list[str], config: dict[str, Any] | None) -> None:
    if config is None:
        with pytest.raises(InvalidSpecError) as refused:
            apply_changes({}, changes)
        assert [error["field"] for error in refused.value.errors] == ["changes"]
    else:
        assert apply_changes({}, changes) == config


def test_without_changes_the_config_stays_and_is_another_object() -> None:
    config = {"Env": ["A=1"], "Labels": {"a": "1"}}
    changed = apply_changes(config, [])
    assert changed == config
    changed["Env"].append("B=2")
    assert config["Env"] == ["A=1"]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        (["ENV B=$A$A C=${B:-none}"], "Env", ["PATH=/bin", "A=1", "B=11", "C=none"]),
        (["ENV A=2"], "Env", ["PATH=/bin", "A=2"]),
        (["ENV B='$A' C=\"$A\" D=\\$A"], "Env", ["PATH=/bin", "A=1", "B=$A", "C=1", "D=$A"]),
        (["ENV PATH=/opt/bin:$PATH"], "Env", ["PATH=/opt/bin:/bin", "A=1"]),
        (["LABEL b=\"two words\" c='3'"], "Labels", {"kept": "yes", "b": "two words", "c": "3"}),
        (["LABEL a=1 \\", "  b=2"], "Labels", {"kept": "yes", "a": "1", "b": "2"}),
        (["EXPOSE $A 8-9/udp"], "ExposedPorts", {"1/tcp": {}, "8/udp": {}, "9/udp": {}}),
        (["WORKDIR sub/../other"], "WorkingDir", "/srv/other"),
        (["WORKDIR /x/../y"], "WorkingDir", "/x/../y"),
        (["VOLUME /data$A"], "Volumes", {"/data1": {}}),
        (["USER $A:$A"], "User", "1:1"),
        (['ONBUILD RUN make "$A"'], "OnBuild", ['RUN make "$A"']),
        (['CMD ["a"] and what follows'], "Cmd", ["a"]),
        (["CMD [no json"], "Cmd", ["/bin/bash", "-lc", "[no json"]),
        (["CMD []"], "Cmd", []),
    ],
)  # fmt: skip
def test_a_change_builds_on_what_is_there(changes: list[str], field: str, value: Any) -> None:
    config = {
        "Env": ["PATH=/bin", "A=1"],
        "Labels": {"kept": "yes"},
        "WorkingDir": "/srv",
        "Cmd": ["old"],
        "Shell": ["/bin/bash", "-lc"],
    }
    assert apply_changes(config, changes)[field] == value


def test_an_entry_point_drops_the_command_that_was_inherited_but_not_one_that_was_given() -> None:
    config = {"Cmd": ["old"]}
    assert apply_changes(config, ["ENTRYPOINT a"]) == {"Entrypoint": ["/bin/sh", "-c", "a"]}
    assert apply_changes(config, ["CMD b", 'ENTRYPOINT ["a"]']) == {
        "Cmd": ["/bin/sh", "-c", "b"],
        "Entrypoint": ["a"],
    }
    assert apply_changes({"Entrypoint": ["a"]}, ["ENTRYPOINT []"]) == {}


@pytest.mark.parametrize(
    "change",
    [
        "CMD [1]", "CMD --flag x", "ENV =1", "ENV A='", "ENV A=${A", "ENV A=${A:?is needed}",
        "ENV A=1 B", "LABEL a=${}", "EXPOSE", "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE 80/icmp",
        "HEALTHCHECK", "HEALTHCHECK CMD", "HEALTHCHECK NONE x", "HEALTHCHECK RUN x",
        "HEALTHCHECK --interval=soon CMD x", "HEALTHCHECK --interval=1us CMD x",
        "HEALTHCHECK --retries=0 CMD x", "HEALTHCHECK --size=1 CMD x", "ONBUILD",
        "ONBUILD ONBUILD RUN x", "USER", "VOLUME", 'VOLUME [""]', "WORKDIR", "WORKDIR $NOTHING",
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused(change: str) -> None:
    with pytest.raises(InvalidSpecError):
        apply_changes({}, [change])


def test_nothing_is_changed_where_one_of_several_is_not_allowed() -> None:
    config: dict[str, Any] = {}
    with pytest.raises(InvalidSpecError, match="RUN"):
        apply_changes(config, ["ENV A=1", "RUN x"])
    assert config == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []), ("  a  b ", ["a", "b"]), ("a='1 2' b", ["a='1 2'", "b"]),
        ('a="1 \\" 2" b', ['a="1 \\" 2"', "b"]), ("a\\ b c", ["a\\ b", "c"]),
        ("a='not closed b", ["a='not closed b"]), ("a ''", ["a", "''"]), ("a\\", ["a"]),
    ],
)  # fmt: skip
def test_words_keep_their_quotes(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("$A", "1"), ("${A}b", "1b"), ("$Ab", ""), ("a$", "a$"), ("$ a", "$ a"), ("'$A'", "$A"),
        ('"$A"', "1"), ('"\\$A"', "$A"), ('"\\A"', "\\A"), ("\\'", "'"), ("${A:+set}", "set"),
        ("${B:+set}", ""), ("${B:-${A}}", "1"), ("${B:-'}'}", "}"), ("a\\", "a"), ("${A:?no}", "1"),
    ],
)  # fmt: skip
def test_a_word_stands_for(word: str, text: str) -> None:
    assert expand(word, {"A": "1"}) == text


@pytest.mark.parametrize("word", ["'", '"a', "${A", "${", "${A:", "${A:x}", "${A-x}", "${:-a}"])
def test_a_word_that_has_no_end_is_refused(word: str) -> None:
    with pytest.raises(WordError):
        expand(word, {"A": "1"})
