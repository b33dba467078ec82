"""The scenarios' operations, done by a Docker daemon through its Engine API."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.oracle.inputs import PROGRAM, tar
from tests.oracle.subject import Filters, Json, Kind, RefusedError, Subject
from tests.support.dockerd import Dockerd, EngineError

_KINDS: dict[int, Kind] = {400: "invalid", 403: "forbidden", 404: "not-found", 409: "conflict"}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LOADED = re.compile(r"Loaded image(?: ID)?: (\S+)")
_MOVED = re.compile(r"already exists, renaming the old one")
_STAGED = re.compile(r"/\S*?/dockerd-[^/]+/(?:\S*?/docker-import-\d+)?")
_SET = re.compile(r"\[(\w+(?: \w+)+)\]")
_LAYER = re.compile(r"[0-9a-f]{12}")
_VERBATIM = {"config", "container_config", "labels", "attributes"}
_CHANGES = ("modified", "added", "deleted")


class DockerSubject(Subject):
    """Docker, with containers for workspaces: a running one is busy, a created one is idle."""

    def __init__(self, daemon: Dockerd) -> None:
        self._daemon = daemon

    def wipe(self) -> None:
        self._daemon.remove_containers()
        while images := self._call("GET", "/images/json", all=1):
            # Children first: a parent cannot be removed by its ID.
            parents = {image["ParentId"] for image in images}
            for image in images:
                if image["Id"] not in parents:
                    self._call("DELETE", f"/images/{image['Id']}", force=1)

    # --- look

    def images(
        self, pattern: str | None = None, *, all_: bool = False, filters: Filters | None = None
    ) -> list[Json]:
        wanted = dict(filters or {})
        if pattern is not None:
            wanted["reference"] = [*wanted.get("reference", ()), pattern]
        listed = self._call("GET", "/images/json", all=int(all_), filters=_map(wanted))
        kept = ("id", "parent_id", "created", "size", "labels", "repo_tags", "repo_digests")
        return [{key: view[key] for key in kept} for view in map(_snake, listed)]

    def inspect(self, ref: str) -> Json:
        view = _snake(self._call("GET", f"/images/{ref}/json"))
        for ours in ("graph_driver", "virtual_size", "container"):
            del view[ours]
        view["config"] = {key: value for key, value in (view["config"] or {}).items() if value}
        view["container_config"] = {k: v for k, v in (view["container_config"] or {}).items() if v}
        return view

    def history(self, ref: str) -> list[Json]:
        return [_snake(step) for step in self._call("GET", f"/images/{ref}/history")]

    def children(self, ref: str) -> list[str]:
        parent = self._call("GET", f"/images/{ref}/json")["Id"]
        listed = self._call("GET", "/images/json", all=1)
        return sorted(image["Id"] for image in listed if image["ParentId"] == parent)

    def usage(self) -> Json:
        used = _snake(self._call("GET", "/system/df"))
        kept = ("id", "size", "shared_size", "containers")
        images = [{key: image[key] for key in kept} for image in map(_snake, used["images"])]
        return {"layers_size": used["layers_size"], "images": images}

    # --- name and remove

    def tag(self, ref: str, new: str) -> None:
        repository, tag = _split(new)
        self._call("POST", f"/images/{ref}/tag", repo=repository, tag=tag)

    def rm(self, ref: str, *, force: bool = False, noprune: bool = False) -> list[Json]:
        gone = self._call("DELETE", f"/images/{ref}", force=int(force), noprune=int(noprune))
        return [_snake(item) for item in gone]

    def prune(self, filters: Filters | None = None) -> Json:
        report = self._call("POST", "/images/prune", filters=_map(filters))
        return {
            "deleted": [_snake(item) for item in report["ImagesDeleted"] or ()],
            "space_reclaimed": report["SpaceReclaimed"],
        }

    # --- archives

    def load(self, archive: bytes, *, quiet: bool = True) -> Json:
        said = self._stream("POST", "/images/load", content=archive, quiet=int(quiet))
        lines = "".join(item.get("stream", "") for item in said).splitlines()
        moved = [line.split()[2] for line in lines if _MOVED.search(line)]
        words = sorted({item["status"] for item in said if item.get("id")})
        return {
            "loaded": [match[1] for line in lines if (match := _LOADED.match(line))],
            **({"moved": moved} if moved else {}),
            **({"words": words} if words else {}),
        }

    def save(self, *refs: str) -> bytes:
        with _refusals():
            return self._daemon.request("GET", "/images/get", params={"names": list(refs)})

    def import_(
        self,
        tar: bytes,
        ref: str | None = None,
        *,
        changes: Sequence[str] = (),
        message: str | None = None,
        platform: str | None = None,
    ) -> str:
        repository, tag = _split(ref or "")
        said = self._stream(
            "POST",
            "/images/create",
            content=tar,
            fromSrc="-",
            repo=repository,
            tag=tag,
            message=message or "",
            changes=list(changes),
            platform=platform or "",
        )
        return str(said[-1]["status"])

    # --- make

    def squash(self, ref: str, target: str, *, parent: str | None = None) -> str:
        # The builder squashes what it has built. Each of its steps is found in the image itself,
        # as a cache source, since the history there tells the command that made it.
        below = len(self.history(parent)) if parent is not None else 0
        steps = [step["created_by"] for step in reversed(self.history(ref))][below:]
        lines = [f"FROM {parent or 'scratch'}", *(f"RUN {json.dumps([step])}" for step in steps)]
        self._stream(
            "POST",
            "/build",
            content=tar({"Dockerfile": "\n".join(lines).encode()}),
            t=target,
            squash=1,
            networkmode="none",
            cachefrom=json.dumps([ref]),
        )
        return str(self.inspect(target)["id"])

    def workspace_create(self, name: str, ref: str, *, busy: bool = False) -> str:
        body: dict[str, Any] = {"Image": ref, "HostConfig": {"NetworkMode": "none"}}
        if busy:
            body["Cmd"] = [f"/{PROGRAM}"]
        made = self._call("POST", "/containers/create", body=body, name=name)
        if busy:
            self._call("POST", f"/containers/{name}/start")
        return str(made["Id"])

    def workspace_put(self, name: str, path: str, tar: bytes) -> None:
        self._call("PUT", f"/containers/{name}/archive", content=tar, path=path)

    def workspace_get(self, name: str, path: str) -> bytes:
        with _refusals():
            return self._daemon.request("GET", f"/containers/{name}/archive", params={"path": path})

    def workspace_delete(self, name: str, path: str) -> None:
        # The program in the images removes the files that it is given. A command is fixed when a
        # container is made, so this one has to run, and gets the command by exec.
        created = self._call(
            "POST", f"/containers/{name}/exec", body={"Cmd": [f"/{PROGRAM}", path]}
        )
        self._call("POST", f"/exec/{created['Id']}/start", body={"Detach": False})

    def workspace_diff(self, name: str) -> list[Json]:
        changed = self._call("GET", f"/containers/{name}/changes") or ()
        found = [{"kind": _CHANGES[item["Kind"]], "path": item["Path"]} for item in changed]
        return sorted(found, key=lambda item: item["path"])

    def workspace_size(self, name: str) -> Json:
        view = self._call("GET", f"/containers/{name}/json", size=1)
        return {"size_rw": view.get("SizeRw", 0), "size_root_fs": view["SizeRootFs"]}

    def workspace_commit(
        self,
        name: str,
        ref: str | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        changes: Sequence[str] = (),
        config: Json | None = None,
        pause: bool = True,
    ) -> str:
        repository, tag = _split(ref or "")
        made = self._call(
            "POST",
            "/commit",
            body=config or {},
            container=name,
            repo=repository,
            tag=tag,
            author=author or "",
            comment=message or "",
            changes=list(changes),
            pause=int(pause),
        )
        return str(made["Id"])

    def workspace_rm(self, name: str) -> None:
        self._call("DELETE", f"/containers/{name}", force=1, v=1)

    # --- registries

    def pull(self, ref: str, *, all_tags: bool = False, platform: str | None = None) -> Json:
        repository, tag = (ref, "") if all_tags else _split(ref)
        said = self._stream(
            "POST",
            "/images/create",
            fromImage=repository,
            tag=tag if all_tags else tag or "latest",
            platform=platform or "",
        )
        lines = [item["status"] for item in said if "id" not in item]
        return {
            "from": [item["status"] for item in said if item["status"].startswith("Pulling from")],
            "words": _words(said),
            "digests": [line.split()[1] for line in lines if line.startswith("Digest: ")],
            "status": [line.removeprefix("Status: ") for line in lines if "Status: " in line],
        }

    def push(self, ref: str, *, all_tags: bool = False) -> Json:
        repository, tag = (ref, "") if all_tags else _split(ref)
        said = self._stream(
            "POST",
            f"/images/{repository}/push",
            tag=tag if all_tags else tag or "latest",
            headers={"X-Registry-Auth": "e30="},
        )
        done = [_snake(item["aux"]) for item in said if "aux" in item]
        return {
            "to": [item["status"] for item in said if "refers to" in item.get("status", "")],
            "words": _words(said),
            "digests": [{"tag": item["tag"], "digest": item["digest"]} for item in done],
        }

    def search(
        self, term: str, *, filters: Filters | None = None, limit: int | None = None
    ) -> list[Json]:
        query = {} if limit is None else {"limit": limit}
        found = self._call("GET", "/images/search", term=term, filters=_map(filters), **query)
        return [_snake(item) for item in found]

    def remote_inspect(self, ref: str) -> Json:
        return _snake(self._call("GET", f"/distribution/{ref}/json"))

    # --- records

    def clock(self) -> str:
        return f"{time.time():.9f}"

    def events(self, since: str, filters: Filters | None = None) -> list[Json]:
        wanted = {"type": ["image"], **(filters or {})}
        with _refusals():
            happened = self._daemon.stream(
                "GET",
                "/events",
                params={"since": since, "until": self.clock(), "filters": _map(wanted)},
            )
        return [
            {
                "action": item["Action"],
                "id": item["Actor"]["ID"],
                "attributes": item["Actor"]["Attributes"],
            }
            for item in happened
        ]

    # --- calls

    def _call(self, method: str, path: str, /, **query: Any) -> Any:
        with _refusals():
            return self._daemon.json(method, path, **_how(query))

    def _stream(self, method: str, path: str, /, **query: Any) -> list[dict[str, Any]]:
        with _refusals():
            return self._daemon.stream(method, path, **_how(query))


def _how(query: dict[str, Any]) -> dict[str, Any]:
    """Tell the query's keys from what else a request has."""
    elsewhere = {"content", "body", "headers"} & set(query)
    return {**{key: query.pop(key) for key in elsewhere}, "params": query}


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        says = _SET.sub(_sorted, _STAGED.sub("<staged>", error.message))
        raise RefusedError(_KINDS.get(error.status, "failed"), says) from error


def _sorted(values: re.Match[str]) -> str:
    """A set of values as Go prints it, but in order."""
    return f"[{' '.join(sorted(values[1].split()))}]"


def _map(filters: Filters | None) -> str:
    return json.dumps({key: list(values) for key, values in (filters or {}).items()})


def _split(name: str) -> tuple[str, str]:
    """Tell repository and tag, as the command line does for the daemon; a digest counts as tag."""
    repository, at, digest = name.partition("@")
    if at:
        return repository, digest
    head, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return (f"{head}/{last}" if head else last), tag


def _words(said: list[dict[str, Any]]) -> list[str]:
    """What was said of layers, each once; how far it was when somebody looked is chance."""
    passing = {"Waiting", "Downloading", "Verifying Checksum", "Extracting", "Pushing"}
    words = {item["status"] for item in said if _LAYER.fullmatch(item.get("id", ""))}
    return sorted(words - passing)


def _snake(view: Any) -> Any:
    """Docker's keys in snake case, but for those that the image's author chose."""
    if isinstance(view, dict):
        named = {_key(key): value for key, value in view.items()}
        return {k: v if k in _VERBATIM else _snake(v) for k, v in named.items()}
    return [_snake(item) for item in view] if isinstance(view, list) else view


def _key(name: str) -> str:
    return "root_fs" if name == "RootFS" else _CAMEL.sub("_", name).lower()
