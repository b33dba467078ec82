"""The scenarios' operations, done by a Transship server through `/api/v1`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from tests.oracle.subject import Filters, Json, Kind, RefusedError, Subject
from tests.support.server import bearer
from transship.store.errors import sentence
from transship.store.oci.digest import Digest

_WAIT_SECONDS = 30
_STATUSES: dict[int, Kind] = {
    400: "invalid",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    422: "invalid",
}
_CODES: dict[str, Kind] = {
    "conflict": "conflict",
    "not-found": "not-found",
    "manifest-not-found": "not-found",
    "not-in-registry": "not-found",
    "denied-by-registry": "forbidden",
}
_LAYER = re.compile(r"[0-9a-f]{12}")
_INSPECTED = (
    *("id", "repo_tags", "repo_digests", "parent", "comment", "created", "author", "config"),
    *("architecture", "os", "size"),
)


class TransshipSubject(Subject):
    """Transship. It closes its connections, not the server."""

    counts_blobs = True

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home
        self._http = httpx.Client(
            base_url=f"{url}/api/v1", headers=bearer(home), timeout=60, trust_env=False
        )
        self._workspaces: set[str] = set()
        self._left_over = True  # blobs that no image needs, of another case

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def wipe(self) -> None:
        for name in sorted(self._workspaces):
            self.workspace_rm(name)
        while images := self._items("/images", all="true"):
            parents = {image["parent_id"] for image in images}
            for image in images:
                if image["id"] not in parents:
                    self.rm(image["id"], force=True)
        self._left_over = True

    def blobs(self, id_: str) -> list[bytes]:
        (held,) = (
            image
            for image in self._object("GET", f"/images/{id_}/inspect")["images"]
            if image["image_id"] == id_
        )
        manifest = held["manifest"]
        return [self._blob(part) for part in (manifest["config"], *manifest["layers"])]

    def workspace_blobs(self, name: str) -> tuple[list[bytes], list[bytes]]:
        view = self._object("GET", f"/workspaces/{_quoted(name)}")
        own = [self._blob(layer) for layer in view["layers"]]
        return self.blobs(view["image_id"])[1:], own

    def _blob(self, described: Mapping[str, Any]) -> bytes:
        """Content, read where the server has it: to ask for it would be an event."""
        digest = Digest.parse(described["digest"])
        return (self.home / "blobs" / digest.algorithm / digest.hex).read_bytes()

    # --- look

    def images(
        self, pattern: str | None = None, *, all_: bool = False, filters: Filters | None = None
    ) -> list[Json]:
        query: dict[str, Any] = {"pattern": pattern} if pattern is not None else {}
        listed = self._items("/images", all=_flag(all_), filter=_pairs(filters), **query)
        kept = ("id", "parent_id", "size", "labels", "repo_tags", "repo_digests")
        return [
            {**{key: view[key] for key in kept}, "created": _seconds(view["created"])}
            for view in listed
        ]

    def inspect(self, ref: str) -> Json:
        view = self._object("GET", f"/images/{_quoted(ref)}/inspect")
        config = view["config"] or {}
        return {
            **{key: view[key] for key in _INSPECTED},
            **{key: view[key] for key in ("variant", "os_version") if view[key]},
            "config": {key: value for key, value in config.items() if value},
            "root_fs": {"type": view["rootfs"]["type"], "layers": view["rootfs"]["diff_ids"]},
            "metadata": {"last_tag_time": view["last_tag_time"] or "0001-01-01T00:00:00Z"},
        }

    def history(self, ref: str) -> list[Json]:
        steps = self._items(f"/images/{_quoted(ref)}/history")
        return [{**step, "created": _seconds(step["created"])} for step in steps]

    def children(self, ref: str) -> list[str]:
        return sorted(self._items(f"/images/{_quoted(ref)}/children"))

    def usage(self) -> Json:
        used = self._object("GET", "/usage")
        kept = ("id", "size", "shared_size", "containers")
        return {
            "layers_size": used["images"]["layers_size"],
            "images": [{key: image[key] for key in kept} for image in used["items"]],
        }

    # --- name and remove

    def tag(self, ref: str, new: str) -> None:
        self._object("POST", f"/images/{_quoted(ref)}/tag", body={"reference": new})

    def rm(self, ref: str, *, force: bool = False, noprune: bool = False) -> list[Json]:
        query: dict[str, Any] = {"force": _flag(force), "noprune": _flag(noprune)}
        gone: list[Json] = self._object("DELETE", f"/images/{_quoted(ref)}", **query)
        return gone

    def prune(self, filters: Filters | None = None) -> Json:
        result = self._job({"kind": "prune", "filters": _pairs(filters)})
        return {key: result[key] for key in ("deleted", "space_reclaimed")}

    # --- archives

    def load(self, archive: bytes, *, quiet: bool = True) -> Json:
        result = self._job_of(self._object("POST", "/loads", content=archive))
        moved = result.get("moved")
        return {"loaded": result["loaded"], **({"moved": moved} if moved else {})}

    def save(self, *refs: str) -> bytes:
        job = self._object(
            "POST",
            "/jobs",
            body={"kind": "export", "references": list(refs), "format": "docker"},
        )
        self._job_of(job)
        with _refusals():
            return self._ask("GET", f"/exports/{job['id']}").content

    def import_(
        self,
        tar: bytes,
        ref: str | None = None,
        *,
        changes: Sequence[str] = (),
        message: str | None = None,
        platform: str | None = None,
    ) -> str:
        query = {"reference": ref, "change": changes, "message": message, "platform": platform}
        given = {key: value for key, value in query.items() if value}
        return str(self._job_of(self._object("POST", "/imports", content=tar, **given))["image_id"])

    # --- make

    def squash(self, ref: str, target: str, *, parent: str | None = None) -> str:
        spec = {"kind": "squash", "reference": ref, "target": target, "parent": parent}
        given = {key: value for key, value in spec.items() if value is not None}
        return str(self._job(given)["image_id"])

    def workspace_create(self, name: str, ref: str, *, busy: bool = False) -> str:
        self._object("POST", "/workspaces", body={"name": name, "reference": ref, "busy": busy})
        self._workspaces.add(name)
        return Digest.of(name.encode()).hex  # it has no ID but its name

    def workspace_put(self, name: str, path: str, tar: bytes) -> None:
        self._object("PUT", f"/workspaces/{_quoted(name)}/files", content=tar, path=path)

    def workspace_get(self, name: str, path: str) -> bytes:
        with _refusals():
            return self._ask(
                "GET", f"/workspaces/{_quoted(name)}/files", params={"path": path}
            ).content

    def workspace_delete(self, name: str, path: str) -> None:
        self._object("DELETE", f"/workspaces/{_quoted(name)}/files", path=path)

    def workspace_diff(self, name: str) -> list[Json]:
        found = self._items(f"/workspaces/{_quoted(name)}/diff")
        return sorted(
            ({"kind": item["kind"], "path": item["path"]} for item in found),
            key=lambda item: str(item["path"]),
        )

    def workspace_size(self, name: str) -> Json:
        view = self._object("GET", f"/workspaces/{_quoted(name)}")
        return {key: view[key] for key in ("size_rw", "size_root_fs")}

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
        body = {
            "reference": ref,
            "author": author,
            "message": message,
            "changes": list(changes),
            "config": config,
        }
        given = {key: value for key, value in body.items() if value}
        job = self._object("POST", f"/workspaces/{_quoted(name)}/commit", body=given)
        return str(self._job_of(job)["image_id"])

    def workspace_rm(self, name: str) -> None:
        self._object("DELETE", f"/workspaces/{_quoted(name)}")
        self._workspaces.discard(name)

    # --- registries

    def pull(self, ref: str, *, all_tags: bool = False, platform: str | None = None) -> Json:
        if self._left_over:  # a blob that is there still need not be pulled
            self._job({"kind": "gc"})
            self._left_over = False
        spec: dict[str, Any] = {"kind": "pull", "reference": ref, "all_tags": all_tags or None}
        if platform is not None:
            spec["platforms"] = [platform]
        said = self._said({key: value for key, value in spec.items() if value is not None})
        return {
            "from": [item["status"] for item in said if item["status"].startswith("Pulling from")],
            "words": _words(said),
            "digests": [line.split()[1] for line in _lines(said) if line.startswith("Digest: ")],
            "status": [
                line.removeprefix("Status: ")
                for line in _lines(said)
                if line.startswith("Status: ")
            ],
        }

    def push(self, ref: str, *, all_tags: bool = False) -> Json:
        spec = {"kind": "push", "reference": ref, **({"all_tags": True} if all_tags else {})}
        said = self._said(spec)
        return {
            "to": [line for line in _lines(said) if "refers to" in line],
            "words": _words(said),
            "digests": [
                {"tag": line.split(":")[0], "digest": line.split()[2]}
                for line in _lines(said)
                if ": digest: " in line
            ],
        }

    def search(
        self, term: str, *, filters: Filters | None = None, limit: int | None = None
    ) -> list[Json]:
        query = {} if limit is None else {"limit": limit}
        return self._items("/search", term=term, filter=_pairs(filters), **query)

    def remote_inspect(self, ref: str) -> Json:
        view = self._object("GET", f"/remote/{_quoted(ref)}/inspect")
        return {key: view[key] for key in ("descriptor", "platforms")}

    # --- records

    def clock(self) -> str:
        return datetime.now(UTC).isoformat().replace("+00:00", "Z")

    def events(self, since: str, filters: Filters | None = None) -> list[Json]:
        query = {"since": since, "until": self.clock(), "filter": _pairs(filters)}
        happened = self._items("/events", **query)
        return [
            {"action": item["action"], "id": item["actor"], "attributes": item["attributes"]}
            for item in happened
        ]

    # --- calls

    def _job(self, spec: dict[str, Any]) -> dict[str, Any]:
        return self._job_of(self._object("POST", "/jobs", body=spec))

    def _job_of(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait for a job, and return its result."""
        while job["finished_at"] is None:
            job = self._object("GET", f"/jobs/{job['id']}", wait=_WAIT_SECONDS)
        if job["state"] != "succeeded":
            error = job["error"] or {"code": job["state"], "detail": job["state"], "subject": ""}
            raise RefusedError(_kind(error), _says(error))
        result: dict[str, Any] = job["result"] or {}
        return result

    def _said(self, spec: dict[str, Any]) -> list[dict[str, Any]]:
        """Do a job, and return what it said in Docker's words."""
        job = self._object("POST", "/jobs", body=spec)
        self._job_of(job)
        with _refusals():
            told = self._ask("GET", f"/jobs/{job['id']}/events", params={"format": "docker"})
        events = (json.loads(line) for line in told.text.splitlines() if line)
        return [event for event in events if "status" in event]

    def _items(self, path: str, **query: Any) -> list[Any]:
        """Return a list, all its pages."""
        page = self._object("GET", path, **query)
        items: list[Any] = page["items"]
        while page["next"] is not None:
            page = self._object("GET", path, **query, cursor=page["next"])
            items += page["items"]
        return items

    def _object(
        self,
        method: str,
        path: str,
        /,
        *,
        body: Any = None,
        content: bytes | None = None,
        **query: Any,
    ) -> Any:
        with _refusals():
            answer = self._ask(method, path, params=query, json=body, content=content)
        return answer.json() if answer.content else None

    def _ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        return self._http.request(method, path, **how).raise_for_status()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        kind = _STATUSES.get(error.response.status_code, "failed")
        raise RefusedError(kind, _says(error.response.json())) from error


def _says(error: Mapping[str, Any]) -> str:
    """What is wrong in one sentence, as the command line says it."""
    return sentence(error["subject"], error["detail"])


def _kind(error: Mapping[str, Any]) -> Kind:
    if error["code"] in _CODES:
        return _CODES[error["code"]]
    return "invalid" if error.get("side") == "request" else "failed"


def _quoted(ref: str) -> str:
    return quote(ref, safe="/:@")


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _pairs(filters: Filters | None) -> list[str]:
    return [f"{key}={value}" for key, values in (filters or {}).items() for value in values]


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def _lines(said: Sequence[Mapping[str, Any]]) -> list[str]:
    return [item["status"] for item in said if "id" not in item]


def _words(said: Sequence[Mapping[str, Any]]) -> list[str]:
    passing = {"Waiting", "Downloading", "Verifying Checksum", "Extracting", "Pushing"}
    words = {item["status"] for item in said if _LAYER.fullmatch(item.get("id", ""))}
    return sorted(words - passing)
