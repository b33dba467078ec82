"""Policies of three formats, read into one value."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from transship.store.errors import InvalidPolicyError
from transship.store.oci.reference import Reference
from transship.workers.mirrors import own
from transship.workers.mirrors.entries import MAX_ENTRIES, PolicyEntry
from transship.workers.mirrors.policy import Policy, read
from transship.workers.mirrors.selection import Selection
from transship.workers.specs import MirrorEntry, parse_spec

DIGEST = "sha256:" + "ab" * 32
SECRET = "correct-horse-battery"

OWN = """
defaults:
  destination: there.test/mirror
  platforms: [linux/x86_64]
entries:
  - source: alpine
    select: {semver: ">=3.18", allow: ["3.*", edge], deny: "/rc/", newest: 3}
  - source: here.test/team/app
    destination: else.test/app
    tags: [3.20, latest]
    platforms: linux/arm64
  - source: here.test/team/tool:1.0
    destination: else.test/tool:one
"""
SKOPEO = f"""
here.test:5000:
  images:
    busybox: []
    team/all:
    redis: [1.0, "2.0", "{DIGEST}"]
  images-by-tag-regex:
    nginx: ^1\\.13\\.[12]-alpine-perl$
  images-by-semver:
    alpine: ">= 3.12.0"
  credentials: {{username: john, password: {SECRET}}}
  tls-verify: false
  cert-dir: /home/john/certs
docker.io:
  tls-verify: true
  images: {{hello-context: latest}}
"""
REGSYNC = f"""
version: 1
x-tags: &tags {{allow: ["3\\\\.\\\\d+", latest], deny: [".*-rc.*"], semverRange: [">=3.18 <4"]}}
creds:
  - registry: docker.io
    user: john
    pass: {SECRET}
defaults: {{parallel: 2, interval: 60m, backup: "bkup-{{{{.Ref.Tag}}}}", referrers: false}}
sync:
  - source: alpine
    target: there.test/library/alpine
    type: repository
    tags: *tags
    platforms: [linux/amd64, linux/arm64]
  - {{source: "busybox", target: "there.test/busybox:stable", type: image, platform: linux/amd64}}
  - source: here.test/app
    target: there.test/app
    type: repository
    tagSets: [{{allow: [a]}}, {{semverRange: ["1.x"]}}]
"""


def _read(text: str) -> Policy:
    return read(text.encode(), "f.yaml")


def _wrong(text: str, *, base: str | None = "there.test", scoped: bool = False) -> str:
    with pytest.raises(InvalidPolicyError) as caught:
        _read(text).entries_for(base, scoped=scoped)
    assert caught.value.subject.startswith("f.yaml")
    return str(caught.value)


# --- our own -------------------------------------------------------------------------------------


def test_our_own_format_says_everything_there_is() -> None:
    assert _read(OWN).entries_for() == [
        {
            "source": "docker.io/library/alpine",
            "destination": "there.test/mirror/alpine",
            "select": {
                "semver": [">=3.18"],
                "allow": ["3.*", "edge"],
                "deny": ["/rc/"],
                "newest": 3,
            },
            "platforms": ["linux/amd64"],
        },
        {
            "source": "here.test/team/app",
            "destination": "else.test/app",
            "tags": ["3.20", "latest"],
            "platforms": ["linux/arm64"],
        },
        {
            "source": "here.test/team/tool:1.0",
            "destination": "else.test/tool:one",
            "platforms": ["linux/amd64"],
        },
    ]


def test_what_the_command_says_goes_before_the_defaults_of_the_file() -> None:
    entries = _read(OWN).entries_for("other.test:5000/", scoped=True)
    assert [entry["destination"] for entry in entries] == [
        "other.test:5000/docker.io/library/alpine", "else.test/app", "else.test/tool:one",
    ]  # fmt: skip


def test_a_port_becomes_part_of_a_path() -> None:
    text = "entries: [{source: 'localhost:5000/team/app'}]\ndefaults: {scoped: true}"
    (entry,) = _read(text).entries_for("there.test")
    assert entry["destination"] == "there.test/localhost-5000/team/app"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entries: []", "f.yaml: a policy has 1 to 10000 entries, this one 0"),
        ("entries: 5", "f.yaml: entries: expected a list"),
        ("entries: [5]", "f.yaml: entries.0: expected keys with values"),
        ("entries: [{}]", "f.yaml: entries.0: names no source"),
        ("entries: [{source: }]", "f.yaml: entries.0: names no source"),
        ("entries: [{source: [a]}]", "f.yaml: entries.0.source: expected text"),
        ("entries: [{source: a//b}]", "f.yaml: entries.0.source: a//b: not an image reference"),
        ("entries: [{source: a, tgas: [b]}]", "f.yaml: entries.0.tgas: this key is not known here"),
        ("entries: [{source: a, tags: []}]", "f.yaml: entries.0.tags: names no tag"),
        ("entries: [{source: a, tags: [b c]}]", "f.yaml: entries.0.tags.0: b c: not a tag"),
        ("entries: [{source: a, tags: [true]}]", "f.yaml: entries.0.tags.0: expected text"),
        ("entries: [{source: a, tags: [x:y]}]", "f.yaml: entries.0.tags.0: "),
        ("entries: [{source: 'a:1', tags: [b]}]", "f.yaml: entries.0.tags: the source names"),
        ("entries: [{source: 'a:1', select: {newest: 1}}]", "f.yaml: entries.0.select: the source"),
        (
            "entries: [{source: a, tags: b, select: {newest: 1}}]",
            "f.yaml: entries.0.select: an entry has",
        ),
        (
            "entries: [{source: a, select: {newest: x}}]",
            "f.yaml: entries.0.select.newest: expected",
        ),
        (
            "entries: [{source: a, select: {newest: 0}}]",
            "f.yaml: entries.0.select.newest: expected 1",
        ),
        ("entries: [{source: a, select: {older: 1}}]", "f.yaml: entries.0.select.older: this key"),
        (
            "entries: [{source: a, select: {allow: [b, ^c]}}]",
            "f.yaml: entries.0.select.allow.1: no tag has a '^' in it; put regular expressions",
        ),
        ("entries: [{source: a, platforms: [x y]}]", "f.yaml: entries.0.platforms.0: x y: not a"),
        ("entries: [{source: a, destination: 'b:1'}]", "f.yaml: entries.0.destination: b:1: exp"),
        ("entries: [{source: a, require: x}]", "f.yaml: entries.0.require: expected a whole num"),
        ("entries: [{source: 'a:1', require: 1}]", "f.yaml: entries.0.require: the source names"),
        ("entries: [{source: a, overwrite: no}]", "f.yaml: entries.0.overwrite: neither always"),
        ("entries: [{source: a}]\ndefaults: {verify: x}", "f.yaml: defaults.verify: neither head"),
        ("entries: [{source: a, referrers: some}]", "f.yaml: entries.0.referrers: neither all"),
        ("entries: [{source: a, referrers: []}]", "f.yaml: entries.0.referrers: names no"),
        ("entries: [{source: a, referrers: [b]}]", "f.yaml: entries.0.referrers.0: b: not the ty"),
        ("entries: [{source: a}]\ndefaults: {onRewrite: x}", "f.yaml: defaults.onRewrite: neither"),
        ("entries: [{source: a}]\ndefault: {}", "f.yaml: default: this key is not known here"),
        ("entries: [{source: a}]\ndefaults: {scoped: 1}", "f.yaml: defaults.scoped: expected true"),
        ("5", "f.yaml: expected keys with values"),
        ("hello: context", "f.yaml: not a policy"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(text: str, message: str) -> None:
    assert _wrong(text).startswith(message)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("tags:\n    # - latest", "tags: names no tag"),
        ("tags: ~\n    select: {newest: 1}", "tags: names no tag"),
        ("select:\n    #  newest: 1", "select: names no rule"),
        ("select: {}", "select: names no rule"),
        ("select: {allow: [], newest: 1}", "select.allow: names no pattern"),
        (
            "select:\n      allow:\n      # - edge\n      deny: [b]",
            "select.allow: names no pattern",
        ),
        ("select: {semver: []}", "select.semver: names no range"),
        ("select: {semver: }", "select.semver: names no range"),
    ],
)
def test_what_narrows_an_entry_is_not_left_empty(entry: str, message: str) -> None:
    text = f"entries:\n  - source: a\n    {entry}\n"
    assert _wrong(text) == f"f.yaml: entries.0.{message}"


def test_what_narrows_nothing_where_it_is_empty_may_be() -> None:
    text = "entries: [{source: a, platforms: , destination: , select: {deny: [], newest: }}]"
    (entry,) = _read(text + "\ndefaults: ").entries_for("there.test")
    assert entry == {"source": "docker.io/library/a", "destination": "there.test/a"}


def test_an_entry_needs_a_destination_from_somewhere() -> None:
    assert _wrong("entries: [{source: a}]", base=None) == "f.yaml: entries.0: no destination"


@pytest.mark.parametrize("base", ["there.test/A", "there.test/a:1", "there.test//b", ""])
def test_a_destination_that_is_none_is_refused(base: str) -> None:
    assert _wrong("entries: [{source: a}]", base=base).startswith("f.yaml: DST: ")


def test_a_destination_that_no_entry_goes_to_is_refused() -> None:
    text = "entries: [{source: a, destination: b}]"
    assert "each entry names its destination" in _wrong(text)
    assert "each entry names its destination" in _wrong(text, base=None, scoped=True)


def test_two_repositories_of_one_name_are_not_mixed_unless_scoped() -> None:
    text = "entries: [{source: here.test/a/app}, {source: here.test/b/app}]"
    assert _wrong(text) == (
        "f.yaml: entries.1: here.test/a/app and here.test/b/app would both go to there.test/app"
    )
    assert len(_read(text).entries_for("there.test", scoped=True)) == 2


def test_one_repository_may_have_several_entries() -> None:
    text = "entries: [{source: a, tags: [latest]}, {source: a, select: {newest: 2}}]"
    assert len(_read(text).entries_for("there.test")) == 2


def test_there_are_not_more_entries_than_a_job_may_have() -> None:
    text = "entries:\n" + "- source: a\n" * (MAX_ENTRIES + 1)
    assert "this one 10001" in _wrong(text)


# --- skopeo sync ---------------------------------------------------------------------------------


def test_a_file_of_skopeo_sync_is_taken_as_it_is() -> None:
    policy = _read(SKOPEO)
    assert policy.format == "skopeo"
    assert policy.entries == (
        PolicyEntry(source=_r("here.test:5000/busybox")),
        PolicyEntry(source=_r("here.test:5000/team/all")),
        PolicyEntry(source=_r("here.test:5000/redis"), tags=("1.0", "2.0", DIGEST)),
        PolicyEntry(
            source=_r("here.test:5000/nginx"),
            select=Selection(allow=(r"/^1\.13\.[12]-alpine-perl$/",)),
        ),
        PolicyEntry(source=_r("here.test:5000/alpine"), select=Selection(semver=(">= 3.12.0",))),
        PolicyEntry(source=_r("docker.io/library/hello-context"), tags=("latest",)),
    )


def test_destinations_are_those_of_skopeo_sync() -> None:
    text = "here.test: {images: {team/app: []}}"
    assert [
        _read(text).entries_for("there.test/m", scoped=scoped)[0]["destination"]
        for scoped in (False, True)
    ] == ["there.test/m/app", "there.test/m/here.test/team/app"]


def test_what_is_the_servers_matter_is_passed_over_with_a_warning() -> None:
    places = [warning.partition(":")[0] for warning in _read("h: {images: {a: []}}").warnings]
    assert places == []
    warned = "\n".join(_read(SKOPEO).warnings)
    assert "here.test:5000.credentials: not used; log in with `docker login" in warned
    assert "here.test:5000.tls-verify: not used" in warned
    assert "here.test:5000.cert-dir: not used" in warned
    assert "docker.io" not in warned.replace("docker login", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h.test: {images: {a: []}, imags: {}}", "f.yaml: h.test.imags: this key is not known"),
        ("h.test: {images: [a]}", "f.yaml: h.test.images: expected keys with values"),
        ("h.test: {images: {A: []}}", "f.yaml: h.test.images.A: h.test/A: the repository must be"),
        ("h.test: {images: {'a:1': []}}", "f.yaml: h.test.images.a:1: h.test/a:1: expected a repo"),
        ("h.test: {images: {a: [b c]}}", "f.yaml: h.test.images.a.0: b c: not a tag"),
        ("h.test: {images-by-tag-regex: {a: '('}}", "f.yaml: h.test.images-by-tag-regex.a: the "),
        ("h.test: {images-by-tag-regex: {a: [b]}}", "f.yaml: h.test.images-by-tag-regex.a: expect"),
        ("h.test: {images-by-semver: {a: x y}}", "f.yaml: h.test.images-by-semver.a: 'x y' is not"),
        ("h.test: {tls-verify: maybe, images: {a: []}}", "f.yaml: h.test.tls-verify: expected tr"),
        ("h.test: {images: {}}", "f.yaml: a policy has 1 to"),
    ],
)
def test_a_wrong_file_of_skopeo_is_named_with_its_key(text: str, message: str) -> None:
    assert _wrong(text).startswith(message)


# --- regsync -------------------------------------------------------------------------------------


def test_a_file_of_regsync_is_taken_as_far_as_it_goes() -> None:
    policy = _read(REGSYNC)
    assert policy.format == "regsync"
    assert policy.entries == (
        PolicyEntry(
            source=_r("docker.io/library/alpine"),
            destination="there.test/library/alpine",
            select=Selection(
                allow=(r"/^(?:3\.\d+)$/", "/^(?:latest)$/"),
                deny=("/^(?:.*-rc.*)$/",),
                semver=(">=3.18 <4",),
            ),
            platforms=("linux/amd64", "linux/arm64"),
            referrers="none",
        ),
        PolicyEntry(
            source=_r("docker.io/library/busybox:latest"),
            destination="there.test/busybox:stable",
            platforms=("linux/amd64",),
            referrers="none",
        ),
        PolicyEntry(
            source=_r("here.test/app"),
            destination="there.test/app",
            select=Selection(allow=("/^(?:a)$/",)),
            referrers="none",
        ),
        PolicyEntry(
            source=_r("here.test/app"),
            destination="there.test/app",
            select=Selection(semver=("1.x",)),
            referrers="none",
        ),
    )


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("", "none"),
        ("referrers: true", "all"),
        ("digestTags: true", "all"),
        (
            "referrers: true, referrerFilters: [{artifactType: a/b}, {artifactType: c/d}]",
            ("a/b", "c/d"),
        ),
        ("referrers: true, referrerFilters: [{annotations: {a: b}}]", "all"),
        ("referrers: false, referrerFilters: [{artifactType: a/b}]", "none"),
    ],
)
@pytest.mark.parametrize("where", ["sync", "defaults"])
def test_what_regsync_takes_along_is_taken_along(said: str, becomes: Any, where: str) -> None:
    entry = "type: image, source: here.test/app:1, target: there.test/app"
    if where == "defaults":
        text = f"version: 1\ndefaults: {{{said}}}\nsync: [{{{entry}}}]"
    else:
        text = f"version: 1\nsync: [{{{entry}, {said or 'fastCheck: true'}}}]"
    (only,) = _read(text).entries
    assert only.referrers == becomes


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("", None),
        ("referrers: all", "all"),
        ("referrers: none", "none"),
        ("referrers: [application/spdx+json]", ("application/spdx+json",)),
    ],
)
@pytest.mark.parametrize("where", ["entry", "defaults"])
def test_a_policy_says_what_comes_along(said: str, becomes: Any, where: str) -> None:
    lines = {"entry": "source: here.test/app", "defaults": "destination: there.test"}
    lines[where] += f", {said}, onRewrite: fail" if said else ", onRewrite: fail"
    text = f"defaults: {{{lines['defaults']}}}\nentries: [{{{lines['entry']}}}]"
    policy = _read(text)
    (only,) = policy.entries
    assert (only.referrers, only.on_rewrite) == (becomes, "fail")
    assert _read(policy.to_yaml()).entries == policy.entries
    (sent,) = policy.entries_for()
    entry = MirrorEntry(**sent)
    assert (entry.referrers, entry.on_rewrite) == (becomes, "fail")


def test_what_regsync_would_do_besides_is_passed_over_with_a_warning() -> None:
    assert [warning.partition(":")[0] for warning in _read(REGSYNC).warnings] == [
        "creds", "defaults.parallel", "defaults.interval", "defaults.backup",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("type: registry", "f.yaml: sync.0.type: whole registries are not mirrored"),
        ("type: ocidir", "f.yaml: sync.0.type: neither image nor repository"),
        ("source: 'a:1'", "f.yaml: sync.0.source: a repository has no tag or digest"),
        ("source: '{{.Ref}}'", "f.yaml: sync.0.source: templates are not known here"),
        ("target: 'b:1'", "f.yaml: sync.0.target: b:1: expected a repository"),
        ("target:", "f.yaml: sync.0: has no target"),
        ("repos: {allow: [a]}", "f.yaml: sync.0.repos: is for type registry only"),
        ("tags: {allowed: [a]}", "f.yaml: sync.0.tags.allowed: this key is not known here"),
        ("tags: {semverRange: [x y]}", "f.yaml: sync.0.tags.semverRange.0: 'x y' is not a range"),
        ("tagSets: [{allow: ['(']}]", "f.yaml: sync.0.tagSets.0.allow.0: "),
        ("colour: red", "f.yaml: sync.0.colour: this key is not known here"),
        ("platform: local", "f.yaml: sync.0.platform: local: not a platform"),
        ("{platform: linux, platforms: [linux]}", "f.yaml: sync.0.platform: an entry has platf"),
    ],
)
def test_a_wrong_entry_of_regsync_is_named_with_its_key(entry: str, message: str) -> None:
    whole = {"source": "a", "target": "there.test/b", "type": "repository"}
    text = yaml.safe_dump({"version": "1", "sync": [{**whole, **yaml.safe_load(entry)}]})
    assert _wrong(text, base=None).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{version: 2, sync: [{}]}", "f.yaml: version: only version 1"),
        ("{sync: [], odd: 1}", "f.yaml: odd: this key is not known here"),
        ("{sync: {}}", "f.yaml: sync: expected a list"),
        (
            "{sync: [{source: a, target: b, type: image, tags: {}}]}",
            "f.yaml: sync.0.tags: is for type repository only",
        ),
    ],
)
def test_a_wrong_file_of_regsync_is_named_with_its_key(text: str, message: str) -> None:
    assert _wrong(text, base=None).startswith(message)


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [SKOPEO, REGSYNC])
def test_no_secret_of_a_file_goes_anywhere(text: str) -> None:
    policy = _read(text)
    base = "there.test" if policy.format == "skopeo" else None
    told = [repr(policy), *policy.warnings, policy.to_yaml(base), str(policy.entries_for(base))]
    assert SECRET not in "\n".join(told)


@pytest.mark.parametrize("text", [OWN, SKOPEO, REGSYNC])
def test_a_policy_becomes_a_job(text: str) -> None:
    policy = _read(text)
    base = "there.test" if policy.format == "skopeo" else None
    parse_spec({"kind": "mirror", "entries": policy.entries_for(base)})


@pytest.mark.parametrize("text", [OWN, SKOPEO, REGSYNC])
def test_in_our_own_format_a_policy_is_the_same(text: str) -> None:
    policy = _read(text)
    again = _read(policy.to_yaml())
    assert again.format == "transship"
    assert (again.entries, again.destination, again.scoped) == (
        policy.entries, policy.destination, policy.scoped,
    )  # fmt: skip


_NAMES = st.from_regex(r"\A[a-z0-9]{1,8}\Z")
_TAGS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,10}\Z")
_ENTRIES = st.builds(
    PolicyEntry,
    source=_NAMES.map(lambda name: _r(f"here.test/{name}")),
    destination=st.none() | _NAMES.map(lambda name: f"there.test/{name}"),
    tags=st.lists(_TAGS, unique=True, max_size=3).map(tuple),
    platforms=st.sampled_from([(), ("linux/amd64", "linux/arm64")]),
)


@given(st.lists(_ENTRIES, min_size=1, max_size=4), st.none() | _NAMES, st.booleans())
def test_what_is_written_is_read_again(
    entries: list[PolicyEntry], destination: str | None, scoped: bool
) -> None:
    written = own.write(entries, destination=destination, scoped=scoped)
    policy = _read(written)
    assert list(policy.entries) == entries
    assert (policy.destination, policy.scoped) == (destination, scoped)


_KEYS = st.sampled_from(
    ["entries", "sync", "images", "source", "target", "type", "tags", "select", "defaults", "h.t"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=6) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_document_is_a_policy_or_refused(document: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidPolicyError):
        read(yaml.safe_dump(document).encode(), "f").entries_for("there.test")


def _r(text: str) -> Reference:
    return Reference.parse(text)
