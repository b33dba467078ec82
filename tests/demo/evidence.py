"""What shows that the demo did what it says, taken from the registries and not from Transship."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence

import httpx

from tests.demo.errors import DemoError
from tests.demo.harness import Credentials
from tests.support.processes import wait_until
from tests.support.registries import LoggedRequest, RegistryProcess
from transship.store.oci import mediatypes
from transship.store.oci.digest import Digest

_BLOB = re.compile(r"/v2/.+/blobs/(sha\d+:[0-9a-f]+)$")
_TOKEN = re.compile(r"/(token|auth)\b")
_LOG_SECONDS = 10.0


def skopeo_program() -> str | None:
    """The independent client, if it is installed."""
    return shutil.which("skopeo")


def raw_manifest(
    registry: RegistryProcess, repository: str, identifier: str, credentials: Credentials | None
) -> bytes:
    """What *registry* holds under a tag or digest, read by skopeo, or else by plain HTTP.

    Raises:
        DemoError: it cannot be read.
    """
    skopeo = skopeo_program()
    if skopeo is None:
        answer = httpx.get(
            f"{registry.url}/v2/{repository}/manifests/{identifier}",
            headers={"Accept": ", ".join(mediatypes.ACCEPT)},
            auth=credentials,
        )
        if answer.status_code != 200:
            raise DemoError(
                f"{registry.host} answers {answer.status_code} for {repository} {identifier}"
            )
        return answer.content
    name = f"docker://{registry.host}/{repository}{'@' if ':' in identifier else ':'}{identifier}"
    access = ["--no-creds"] if credentials is None else [f"--creds={':'.join(credentials)}"]
    read = subprocess.run(
        [skopeo, "inspect", "--raw", "--tls-verify=false", *access, name],
        capture_output=True,
        check=False,
    )
    if read.returncode != 0:
        raise DemoError(f"skopeo cannot read {name}: {read.stderr.decode().strip()}")
    return read.stdout


def read_back(
    registry: RegistryProcess,
    repository: str,
    digests: Iterable[Digest],
    credentials: Credentials | None,
) -> int:
    """Download blobs, hash them anew, and return how many bytes they have.

    Raises:
        DemoError: one is not there, or is not what its digest says.
    """
    count = 0
    with httpx.Client(base_url=registry.url, auth=credentials, timeout=60) as client:
        for digest in digests:
            hashed = hashlib.new(digest.algorithm)
            with client.stream("GET", f"/v2/{repository}/blobs/{digest}") as answer:
                if answer.status_code != 200:
                    raise DemoError(f"{registry.host} answers {answer.status_code} for {digest}")
                for chunk in answer.iter_raw():
                    hashed.update(chunk)
                    count += len(chunk)
            if hashed.hexdigest() != digest.hex:
                raise DemoError(f"what {registry.host} holds as {digest} has another digest")
    return count


def requests_so_far(registry: RegistryProcess) -> list[LoggedRequest]:
    """The access log of *registry*, without the request that this makes.

    The registry logs a request some time after it has answered it. One of our own, which the log
    shows last, tells that those before it are there.
    """
    mark = f"/v2/?mark={secrets.token_hex(8)}"
    httpx.head(f"{registry.url}{mark}")
    wait_until(
        lambda: any(request.target == mark for request in registry.requests()),
        _LOG_SECONDS,
        f"the log of {registry.host} to be written",
    )
    return [request for request in registry.requests() if not request.target.startswith("/v2/?m")]


def blobs_sent(requests: Sequence[LoggedRequest]) -> Counter[str]:
    """How often a registry has sent the body of each blob."""
    return Counter(
        match[1]
        for request in requests
        if request.method == "GET"
        and request.status in (200, 206)
        and (match := _BLOB.match(request.path)) is not None
    )


def moved_nothing(label: str, requests: Sequence[LoggedRequest]) -> str:
    """Say what *requests* are; only HEADs, and questions that move nothing, may be among them.

    These are for tokens, and for what refers to an image: signatures, say.

    Raises:
        DemoError: there is another, or none at all, which would prove nothing.
    """
    heads = [request for request in requests if request.method == "HEAD"]
    tokens = [request for request in requests if _is_token(request)]
    referrers = [one for one in requests if one.method == "GET" and "/referrers/" in one.path]
    allowed = [*heads, *tokens, *referrers]
    others = [one for one in requests if one not in allowed]
    if others:
        raise DemoError(
            f"the second pass sent {others[0].method} {others[0].target} to the {label} registry"
        )
    if not heads:
        raise DemoError(f"the log of the {label} registry shows no request of the second pass")
    counts = {"for tokens": len(tokens), "for referrers": len(referrers)}
    return ", ".join(
        [f"{len(heads)} HEAD", *(f"{number} {what}" for what, number in counts.items() if number)]
    )


def _is_token(request: LoggedRequest) -> bool:
    return request.method in ("GET", "POST") and _TOKEN.match(request.path) is not None
