"""Everything that the OpenAPI document allows, and some that it does not: no 500, no surprise.

`/remote` and `/search` are left out: they ask hosts that the request names.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from tests.unit.api.serving import Api

load_all_checks()

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


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The schema of a server without workers, so that nothing leaves this machine."""
    api = Api(tmp_path_factory.mktemp("fuzzed"))
    host, port = api.address
    schema = schemathesis.openapi.from_url(f"http://{host}:{port}/api/v1/openapi.json")
    yield schema.exclude(path_regex=r"/(remote|search)")
    api.stop()


schema = schemathesis.pytest.from_fixture("document")


@pytest.mark.slow
@pytest.mark.timeout(600)
@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_described(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=_ABOUT_ANSWERS, timeout=30)
