"""Where a scenario plays: it prepares a subject, asks it, and what the subject answers is kept."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.oracle.archive import entries_of, images_of, layers_of
from tests.oracle.inputs import Made, docker_archive, image
from tests.oracle.labels import Labels
from tests.oracle.measures import Measures
from tests.oracle.subject import Filters, Json, RefusedError, Subject
from tests.support.images import build_index, push_index, push_to_registry
from tests.support.registries import RegistryProcess
from transship.store.oci.digest import Digest
from transship.store.oci.platform import Platform


@dataclass(slots=True)
class Case:
    """One story: what was done, and what was seen each time."""

    title: str
    steps: list[dict[str, Json]] = field(default_factory=list)


class Harness:
    """A subject, seen by the scenarios.

    What `have_…` does is preparation, and has to succeed. Every other operation is a step: it is
    kept with the answer, in which labels stand for IDs, or with the refusal.

    Args:
        subject: Whom to ask; empty.
        registry: A registry for the scenarios that need one; they push under *prefix*.
        prefix: Keeps scenarios apart that share a registry.
    """

    def __init__(self, subject: Subject, registry: RegistryProcess, prefix: str) -> None:
        self.subject = subject
        self.cases: list[Case] = []
        self._registry = registry
        self._prefix = prefix
        self._labels = Labels()
        self._measures = Measures(subject)
        self._clock = ""

    @contextmanager
    def case(self, title: str) -> Iterator[None]:
        """Begin a case, with nothing there and nothing known; leave nothing."""
        self._labels = Labels()
        self.cases.append(Case(self._labels.write(title)))
        self._labels.replace(self.repository(""), "<registry>/")
        self._labels.replace(self.repository("").partition("/")[2], "<path>/")
        self._labels.replace(self._registry.host, "<registry>")
        self.listen()
        yield
        self.subject.wipe()

    # --- prepare

    def have_image(self, name: str, *, load: bool = True, **how: Any) -> Made:
        """Make an image, load it, and name what it consists of."""
        made = image(name, **how)
        self.know(name, made)
        if load:
            self.have_loaded(made)
        return made

    def have_loaded(self, *images: Made) -> None:
        """Load images with their parents, so that they are linked."""
        wanted: dict[str, Made] = {}
        for made in images:
            line = [made]
            while line[0].parent is not None:
                line.insert(0, line[0].parent)
            wanted |= {one.id: one for one in line}
        self.subject.load(docker_archive(*wanted.values()))

    def know(self, name: str, made: Made) -> None:
        """Name an image and its layers."""
        self._labels.give(made.id, f"image {name}")
        self._know_layers(name, [str(Digest.of(blob)) for blob in made.layers])
        self._measures.know(made)

    def know_made(self, name: str, ref: str) -> str:
        """Name an image that the subject has made, and its layers; return its ID."""
        view = self.subject.inspect(ref)
        self._labels.give(view["id"], f"image {name}")
        self._know_layers(name, view["root_fs"].get("layers", ()))
        self._measures.know_held(view["id"])
        return str(view["id"])

    def _know_layers(self, name: str, diff_ids: Sequence[str]) -> None:
        chain = ""
        for number, diff_id in enumerate(diff_ids, 1):
            chain = str(Digest.of(f"{chain} {diff_id}".encode())) if chain else diff_id
            self._labels.give(chain, f"chain {name}/{number}")
            self._labels.give(diff_id, f"diff {name}/{number}")

    def have_workspace(self, name: str, ref: str, **how: Any) -> None:
        """Make a workspace, and name it."""
        self._labels.give(self.subject.workspace_create(name, ref, **how), f"workspace {name}")

    def repository(self, name: str) -> str:
        """A repository in the registry, of this case alone."""
        return f"{self._registry.host}/{self._prefix}-{len(self.cases)}/{name}"

    def have_pushed(self, name: str, tag: str, made: Made) -> str:
        """Put an image into the registry, past the subject; return its name there."""
        repository = self.repository(name)
        pushed = made.to_push()
        push_to_registry(self._registry.url, repository.partition("/")[2], tag, pushed)
        self._labels.give(str(pushed.digest), f"manifest {name}:{tag}")
        return f"{repository}:{tag}"

    def have_pushed_index(self, name: str, tag: str, images: Mapping[Platform, Made]) -> str:
        """Put an index of images into the registry, past the subject; return its name there."""
        repository = self.repository(name)
        pushed = [replace(made.to_push(), platform=on) for on, made in images.items()]
        index = build_index(pushed, media="docker")
        push_index(self._registry.url, repository.partition("/")[2], tag, index)
        self._labels.give(str(index.digest), f"index {name}:{tag}")
        for on, one in zip(images, pushed, strict=True):
            self._labels.give(str(one.digest), f"manifest {name}:{tag} {on}")
        return f"{repository}:{tag}"

    def know_text(self, text: str, label: str) -> None:
        """Write *label* instead of *text*, which is not the same the next time."""
        self._labels.replace(text, label)

    # --- ask

    def images(
        self, pattern: str | None = None, *, all_: bool = False, filters: Filters | None = None
    ) -> None:
        words = ["images", *([pattern] if pattern else ()), *(["-a"] if all_ else ())]
        self._step(
            [*words, *filter_words(filters)],
            lambda: self._measures.images(self.subject.images(pattern, all_=all_, filters=filters)),
        )

    def names(self) -> None:
        """Which images there are, under which names, in the order of the IDs' labels."""

        def ask() -> Json:
            seen = [
                [view["id"], *(view["repo_tags"] or ()), *(view["repo_digests"] or ())]
                for view in self.subject.images(all_=True)
            ]
            return sorted(self._labels.write(line) for line in seen)

        self._step(["images", "-a"], ask)

    def listed(self, filters: Filters, *, all_: bool = False) -> None:
        """Which images a filter leaves, under which names, in the order of the list."""
        words = ["images", *(["-a"] if all_ else ()), *filter_words(filters)]
        self._step(
            [*words, "| names"],
            lambda: [
                [view["id"], *(view["repo_tags"] or ())]
                for view in self.subject.images(all_=all_, filters=filters)
            ],
        )

    def inspect(self, ref: str, *only: str) -> None:
        def ask() -> Json:
            view = self._measures.image(self.subject.inspect(ref))
            return {key: view[key] for key in only if key in view} if only else view

        self._step(["inspect", ref, *(f".{key}" for key in only)], ask)

    def image_id(self, ref: str) -> None:
        """Look at the very ID, which is not replaced by a label in pieces."""

        def ask() -> Json:
            id_ = self.subject.inspect(ref)["id"].removeprefix("sha256:")
            return [id_[at : at + 8] for at in range(0, 64, 8)]

        self._step(["the ID of", ref], ask)

    def history(self, ref: str) -> None:
        self._step(["history", ref], lambda: self._measures.steps(self.subject.history(ref)))

    def children(self, ref: str) -> None:
        self._step(["children", ref], lambda: self.subject.children(ref))

    def usage(self) -> None:
        def ask() -> Json:
            used = self.subject.usage()
            used["layers_size"] = self._measures.all_layers(used["layers_size"], used["images"])
            used["images"] = self._measures.images(used["images"])
            seen = self._labels.write(used)
            return {**seen, "images": sorted(seen["images"], key=lambda view: str(view["id"]))}

        self._step(["df"], ask)

    def tag(self, ref: str, new: str) -> None:
        self._step(["tag", ref, new], lambda: self.subject.tag(ref, new))

    def rm(self, ref: str, *, force: bool = False, noprune: bool = False) -> None:
        flags = [*(["--force"] if force else ()), *(["--no-prune"] if noprune else ())]
        self._step(
            ["rm", ref, *flags],
            lambda: _items(self.subject.rm(ref, force=force, noprune=noprune)),
        )

    def prune(self, filters: Filters | None = None) -> None:
        """Prune; in which order it looks at images is chance, so what went is sorted."""

        def ask() -> Json:
            seen = self.subject.prune(filters)
            reclaimed = self._measures.reclaimed(seen["space_reclaimed"], seen["deleted"])
            report = self._labels.write({**seen, "space_reclaimed": reclaimed})
            return {**report, "deleted": sorted(_items(report["deleted"]))}

        self._step(["prune", *filter_words(filters)], ask)

    def load(self, what: str, archive: bytes, *, quiet: bool = True) -> None:
        words = ["load", f"<{what}>", *([] if quiet else ["--not-quiet"])]
        self._step(words, lambda: self.subject.load(archive, quiet=quiet))

    def save(self, *refs: str) -> bytes | None:
        """Save, and keep what the archive says of its images, whose order in it is chance.

        Returns:
            The archive, where there is one.
        """
        kept: list[bytes] = []

        def ask() -> Json:
            kept.append(self.subject.save(*refs))
            seen = self._labels.write(images_of(kept[0]))
            return {**seen, "images": sorted(seen["images"], key=lambda entry: str(entry["id"]))}

        self._step(["save", *refs], ask)
        return kept[0] if kept else None

    def layers(self, ref: str) -> None:
        """What each layer holds, bottom up, as an archive gives it."""
        self._step(["save", ref, "| layers"], lambda: layers_of(self.subject.save(ref)))

    def import_(self, name: str, tar: bytes, ref: str | None = None, **how: Any) -> None:
        """Import, and name the image that came of it."""

        def ask() -> Json:
            made = self.subject.import_(tar, ref, **how)
            self.know_made(name, made)
            return made

        words = ["import", f"<{name}>", *([ref] if ref else ()), *_words(how)]
        self._step(words, ask)

    def squash(self, ref: str, target: str, *, parent: str | None = None) -> None:
        """Squash, and name the image that came of it "squashed"."""

        def ask() -> Json:
            made = self.subject.squash(ref, target, parent=parent)
            self.know_made("squashed", made)
            return made

        words = ["squash", ref, "-t", target, *(["--parent", parent] if parent else ())]
        self._step(words, ask)

    def workspace_create(self, name: str, ref: str, **how: Any) -> None:
        words = ["workspace create", name, ref, *_words(how)]
        self._step(words, lambda: self.subject.workspace_create(name, ref, **how))

    def workspace_put(self, name: str, path: str, what: str, tar: bytes) -> None:
        words = ["workspace put", name, path, f"<{what}>"]
        self._step(words, lambda: self.subject.workspace_put(name, path, tar))

    def workspace_get(self, name: str, path: str) -> None:
        """What a path of the workspace holds, a line an entry."""
        self._step(
            ["workspace get", name, path],
            lambda: entries_of(self.subject.workspace_get(name, path)),
        )

    def workspace_diff(self, name: str) -> None:
        self._step(["workspace diff", name], lambda: self.subject.workspace_diff(name))

    def workspace_size(self, name: str) -> None:
        self._step(
            ["workspace size", name],
            lambda: self._measures.workspace(name, self.subject.workspace_size(name)),
        )

    def workspace_commit(self, name: str, ref: str | None = None, **how: Any) -> None:
        """Commit, and name the image that came of it "committed"."""

        def ask() -> Json:
            made = self.subject.workspace_commit(name, ref, **how)
            self.know_made("committed", made)
            return made

        self._step(["workspace commit", name, *([ref] if ref else ()), *_words(how)], ask)

    def changed_config(self, name: str, change: str) -> None:
        """Commit with one change, and look at the config that came of it."""

        def ask() -> Json:
            made = self.subject.workspace_commit(name, "changed:1", changes=[change])
            config = self.subject.inspect(made)["config"]
            return {key: config[key] for key in config if key not in ("Hostname", "Image")}

        self._step(["workspace commit", name, f"--change {json.dumps(change)}"], ask)

    def pull(self, ref: str, *, all_tags: bool = False, **how: Any) -> None:
        words = ["pull", ref, *(["--all-tags"] if all_tags else ()), *_words(how)]
        self._step(words, lambda: self.subject.pull(ref, all_tags=all_tags, **how))

    def push(self, ref: str, *, all_tags: bool = False) -> None:
        words = ["push", ref, *(["--all-tags"] if all_tags else ())]
        self._step(words, lambda: self.subject.push(ref, all_tags=all_tags))

    def search(
        self, term: str, *, filters: Filters | None = None, limit: int | None = None
    ) -> None:
        words = ["search", term, *filter_words(filters), *_words({"limit": limit})]
        self._step(words, lambda: self.subject.search(term, filters=filters, limit=limit))

    def remote_inspect(self, ref: str) -> None:
        self._step(["inspect", ref, "--remote"], lambda: self.subject.remote_inspect(ref))

    def listen(self) -> None:
        """Forget what happened so far; `events` tells of what happens from now on."""
        self._clock = self.subject.clock()

    def events(
        self, filters: Filters | None = None, *, again: bool = False, in_order: bool = True
    ) -> None:
        """What happened since this was asked last; with *again*, the next asks for the same.

        Not *in_order* where Docker's own order is chance.
        """

        def ask() -> Json:
            told = self._measures.events(self.subject.events(self._clock, filters))
            seen = self._labels.write(told)
            return seen if in_order else sorted(seen, key=lambda event: str(event["id"]))

        self._step(["events", *filter_words(filters)], ask)
        if not again:
            self.listen()

    def note(self, what: str, seen: Json) -> None:
        """Keep what was seen elsewhere."""
        self._step([what], lambda: seen)

    def _step(self, words: Sequence[str], ask: Callable[[], Json]) -> None:
        try:
            saw = ask()
        except RefusedError as refused:
            # Digests in its words are no news: each subject has other words.
            says = copy.deepcopy(self._labels).write(refused.says)
            saw = {"refused": refused.kind, "says": says}
        done = self._labels.write(" ".join(words))
        self.cases[-1].steps.append({"do": done, "saw": self._labels.write(saw)})


def filter_words(filters: Filters | None) -> list[str]:
    """How filters are written on the command line."""
    named = (filters or {}).items()
    return [f"--filter {key}={value}" for key, values in named for value in values]


def _items(items: Sequence[Mapping[str, str]]) -> list[str]:
    """What a removal untagged and deleted, a line each, in its order."""
    return [f"{what} {name}" for item in items for what, name in item.items()]


def _words(how: Mapping[str, Any]) -> list[str]:
    """How an operation was asked for, as options."""
    words = []
    for name, value in how.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, list | tuple):
            words += [f"--{name} {item}" for item in value]
        elif value is not None:
            words.append(f"--{name} {json.dumps(value)}")
    return words
