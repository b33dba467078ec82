"""Everything that the OpenAPI document allows, and some that it does not: no 500, no surprise.

`/remote` and `/search` are left out: they ask hosts that the request names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.unit.api.serving import Api
from transship.store.catalog.scheduling import heartbeats
from transship.store.catalog.scheduling.heartbeats import Threads

load_all_checks()

EXAMPLES = 25  # of each operation

schemathesis.openapi.media_type("application/x-tar", st.binary(max_size=2000))


@schemathesis.serializer("application/x-tar")
def tar_body(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Bodies of bytes are sent as they are, whatever they are."""
    return value if isinstance(value, bytes) else str(value).encode()


# Whether what is wrong is refused, and what is right accepted, is for other tests: an image that
# is not there is a right question with a 404.
_ABOUT_ANSWERS = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[schemathesis.BaseSchema, dict[str, str]]]:
    """The schema of a server without real workers, so that nothing leaves this machine.

    With it come the headers to ask it with.
    """
    with Api(tmp_path) as api:
        with api.catalog.write() as connection:  # or /readyz would report every queue as degraded
            everything = Threads(control=1, downloads=1, uploads=1, local=1)
            heartbeats.register(connection, "w", pid=1, threads=everything, now=0)
        token = {"Authorization": f"Bearer {api.token('admin', name='fuzz')}"}
        host, port = api.address
        url = f"http://{host}:{port}/api/v1/openapi.json"
        whole = schemathesis.openapi.from_url(
            url, timeout=60, headers=token
        )  # making it takes a busy machine long
        yield whole.exclude(path_regex=r"/(remote|search)"), token


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_answer_is_described(
    served: tuple[schemathesis.BaseSchema, dict[str, str]],
) -> None:
    schema, token = served
    asked: set[str] = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.call_and_validate(checks=_ABOUT_ANSWERS, timeout=30, headers=token)

        ask()
        asked.add(operation.label)
    assert len(asked) > 30
