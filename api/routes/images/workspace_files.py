"""The files of workspaces: put, taken out, listed and compared, as tars."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from transship.api.http.auth import Asking, Caller
from transship.api.http.checked_route import CheckedRoute
from transship.api.http.pipes import Write, pieces
from transship.api.http.request_body import with_body
from transship.api.openapi import problems
from transship.api.services import Injected, Services
from transship.store.catalog.content import workspaces
from transship.store.images.build.new_layer import MadeLayer
from transship.store.layers.codecs.formats import Readable
from transship.store.layers.compose.difference import ChangeKind
from transship.store.layers.compose.find import MergedTree
from transship.store.layers.compose.squash import changes_of, squash
from transship.store.layers.sources import LayerSource
from transship.store.layers.tar.pax import NANOSECONDS
from transship.store.layers.tar.reader import Entry, Kind
from transship.store.workspaces import files
from transship.store.workspaces.workspaces import Ground, ground
from transship.workers.runtime.ids import new_id

router = APIRouter(route_class=CheckedRoute, tags=["workspaces"])

TAR: Final = "application/x-tar"
_SAID: Final = {
    ChangeKind.ADDED: "added",
    ChangeKind.CHANGED: "modified",
    ChangeKind.DELETED: "deleted",
}
_TAR_BODY: Final[dict[str, Any]] = {TAR: {"schema": {"type": "string", "format": "binary"}}}
_EARLIEST: Final = -62_135_596_800  # the years 1 and 9999, all that RFC 3339 knows
_LATEST: Final = 253_402_300_799

PathQuery = Annotated[
    str, Query(min_length=1, max_length=4096, description="from the root of the file system")
]


class PutView(BaseModel):
    """The layer that was put into a workspace."""

    digest: str
    size: int = Field(description="compressed, as held")


class FileView(BaseModel):
    """A file, directory, link or device."""

    path: str
    kind: str = Field(
        description="file, directory, symlink, hardlink, fifo, character or block (a device)"
    )
    mode: int = Field(description="its permissions")
    uid: int
    gid: int
    size: int
    mtime: str
    link: str = Field(description="where a symbolic link points to")


class FileList(BaseModel):
    """What is at a path and below it, sorted, directories before what is in them."""

    items: list[FileView]
    next: None = None


class ChangeView(BaseModel):
    """A path that differs from the image below."""

    path: str
    kind: str = Field(description="added, modified or deleted")


class ChangeList(BaseModel):
    """How a workspace differs from the image below, by path."""

    items: list[ChangeView]
    next: None = None


@router.put(
    "/workspaces/{name}/files",
    status_code=201,
    operation_id="putFiles",
    openapi_extra={"requestBody": {"required": True, "content": _TAR_BODY}},
    responses=problems(400, 404),
)
async def put_files(
    services: Injected, asking: Asking, request: Request, name: str, path: PathQuery
) -> PutView:
    """Put the tar that is the body, compressed or not, into a directory of the workspace.

    It is there when this answers, all of it or nothing. A path in the place of another replaces
    that, a directory in the place of a directory takes its attributes. Names that begin with
    `.wh.`, which in a layer stand for removals, are refused.
    """
    made = await with_body(request, lambda body: _put(services, asking, name, path, body))
    return PutView(digest=str(made.digest), size=made.size)


def _put(services: Services, asking: Caller, name: str, path: str, body: Readable) -> MadeLayer:
    return _changed(
        services,
        asking,
        name,
        lambda stack, holder: files.put(
            body, path, stack.whole(services.content), services.content, holder
        ),
    )


@router.delete(
    "/workspaces/{name}/files",
    status_code=204,
    operation_id="deleteFiles",
    responses=problems(400, 404, 422),
)
def delete_files(services: Injected, asking: Asking, name: str, path: PathQuery) -> None:
    """Remove a path, and all that is below it."""
    _changed(
        services,
        asking,
        name,
        lambda stack, holder: files.remove(
            path, stack.whole(services.content), services.content, holder
        ),
    )


def _changed(
    services: Services, asking: Caller, name: str, change: Callable[[Ground, str], MadeLayer]
) -> MadeLayer:
    with services.catalog.read() as connection:
        seen = workspaces.get(connection, asking.tenant, name)
        services.context.quotas.check_store(connection, asking.tenant)
    made = change(ground(seen.base, seen.layers, services.content), new_id())
    files.add(services.catalog, services.content, seen, made, time.time)
    return made


@router.get(
    "/workspaces/{name}/files",
    operation_id="getFiles",
    response_model=FileList,
    responses={
        200: {"content": _TAR_BODY, "description": "the tar, or with `list` what is in it"},
        **problems(400, 404, 422),
    },
)
async def get_files(
    services: Injected,
    asking: Asking,
    name: str,
    path: PathQuery,
    list_: Annotated[bool, Query(alias="list", description="name what is there")] = False,
) -> StreamingResponse | FileList:
    """What is at a path, with all that is below it, as a tar whose names begin with its last part.

    A symbolic link at the end of the path is taken itself; with a slash or `/.` after it, the
    directory that it leads to. With `/.` the names begin with `.`.
    """
    tree = await run_in_threadpool(_tree, services, asking, name, path)
    if list_:
        return await run_in_threadpool(_listed, tree, path)
    return _tar(lambda write: tree.export(path, write))


def _tree(services: Services, asking: Caller, name: str, path: str) -> MergedTree:
    """The file system of a workspace, in which there is something at *path*."""
    files.request_path(path)
    tree = MergedTree(_ground(services, asking, name).whole(services.content))
    tree.stat(path)
    return tree


def _listed(tree: MergedTree, path: str) -> FileList:
    return FileList(items=[_file(entry) for entry in tree.list(path)])


@router.get(
    "/workspaces/{name}/diff",
    operation_id="diffWorkspace",
    response_model=ChangeList,
    responses={
        200: {"content": _TAR_BODY, "description": "the changes, or as `Accept` has it a layer"},
        **problems(404),
    },
)
async def diff_workspace(
    services: Injected, asking: Asking, name: str, accept: Annotated[str, Header()] = ""
) -> StreamingResponse | ChangeList:
    """How the workspace differs from the image below.

    With `Accept: application/x-tar` as the one layer that a commit would add, removals as
    whiteouts. Directories on the way to a change count as modified.
    """
    stack, content = await run_in_threadpool(_ground, services, asking, name), services.content
    above, below = stack.above(content), stack.below(content)
    if TAR in accept:
        return _tar(lambda write: squash(above, write, onto=below))
    return await run_in_threadpool(_compared, above, below)


def _compared(above: list[LayerSource], below: list[LayerSource]) -> ChangeList:
    found = changes_of(above, onto=below)
    return ChangeList(
        items=[
            ChangeView(path=_shown(f"/{one.path}"), kind=_SAID[one.change])
            for one in found
            if one.path != "."
        ]
    )


def _ground(services: Services, asking: Caller, name: str) -> Ground:
    with services.catalog.read() as connection:
        found = workspaces.get(connection, asking.tenant, name)
    return ground(found.base, found.layers, services.content)


def _tar(write_all: Callable[[Write], object]) -> StreamingResponse:
    return StreamingResponse(pieces(write_all), media_type=TAR)


def _file(entry: Entry) -> FileView:
    return FileView(
        path=_shown(f"/{entry.name}") if entry.name != "." else "/",
        kind=Kind(entry.kind).name.lower(),
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime=_time(entry.mtime),
        link=_shown(entry.link) if entry.kind is Kind.SYMLINK else "",
    )


def _time(nanoseconds: int) -> str:
    seconds = min(max(nanoseconds // NANOSECONDS, _EARLIEST), _LATEST)
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _shown(name: str) -> str:
    """A name as JSON can have it: bytes that are no UTF-8 are marked."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
