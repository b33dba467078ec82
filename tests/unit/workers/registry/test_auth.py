"""How requests come to be authenticated, against a registry in a function."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.workers.registry.simulated import RegistryResponse, Simulated, TokenRegistry, basic
from transship.store.errors import (
    CancelledError,
    DeniedError,
    ProtocolError,
    TransshipError,
    UnauthorizedError,
    UntrustedAddressError,
)
from transship.store.oci.digest import Digest
from transship.workers.registry.auth.credentials import Credential

DIGEST = Digest.of(b"hello")
ANN = Credential("ann", "pw")


def unauthorized(challenge: str) -> httpx.Response:
    return httpx.Response(401, headers={"WWW-Authenticate": challenge})


def basic_registry() -> Simulated:
    simulated = Simulated()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != basic("ann", "pw"):
            return unauthorized('Basic realm="x"')
        return httpx.Response(200, headers={"Content-Length": "5"})

    simulated.routes["https://r.test/v2/"] = answer
    return simulated


def test_nothing_is_sent_before_it_is_asked_for() -> None:
    simulated = basic_registry()
    simulated.repository(credential=ANN).head_blob(DIGEST)
    assert [line.split()[2] for line in simulated.sent()] == ["-", "Basic"]


def test_basic_is_sent_at_once_when_the_host_is_known() -> None:
    simulated = basic_registry()
    repository = simulated.repository(credential=ANN)
    repository.head_blob(DIGEST)
    repository.head_blob(DIGEST)
    assert [line.split()[2] for line in simulated.sent()] == ["-", "Basic", "Basic"]


def test_a_wrong_password_is_sent_once() -> None:
    simulated = basic_registry()
    with pytest.raises(UnauthorizedError):
        simulated.repository(credential=Credential("ann", "wrong")).head_blob(DIGEST)
    assert [line.split()[2] for line in simulated.sent()] == ["-", "Basic"]


def test_no_credentials_for_basic_is_unauthorized_and_says_so() -> None:
    with pytest.raises(UnauthorizedError) as refused:
        basic_registry().repository().head_blob(DIGEST)
    assert "none were sent" in refused.value.hint


def test_an_anonymous_token_is_fetched() -> None:
    registry = TokenRegistry()
    assert registry.repository().head_blob(DIGEST) == 5
    assert [line.split()[2] for line in registry.sent()] == ["-", "-", "Bearer"]


def test_the_password_goes_to_the_realm_and_not_to_the_registry() -> None:
    registry = TokenRegistry()
    registry.repository(credential=ANN).head_blob(DIGEST)
    assert registry.sent()[1:] == [
        "GET https://auth.test/token Basic",
        f"HEAD https://r.test/v2/app/blobs/{DIGEST} Bearer",
    ]


def test_the_token_is_used_again() -> None:
    registry = TokenRegistry()
    repository = registry.repository()
    for _ in range(5):
        repository.head_blob(DIGEST)
    assert registry.issued == 1


def test_a_known_registry_is_not_asked_without_a_token_for_another_repository() -> None:
    registry = TokenRegistry()
    registry.repository("r.test/app").head_blob(DIGEST)
    before = len(registry.requests)
    registry.repository("r.test/other").head_blob(DIGEST)
    assert [line.split()[0] for line in registry.sent()[before:]] == ["GET", "HEAD"]


def test_a_token_that_died_is_replaced() -> None:
    registry = TokenRegistry()
    repository = registry.repository()
    repository.head_blob(DIGEST)
    registry.valid.clear()
    assert repository.head_blob(DIGEST) == 5
    assert registry.issued == 2


def test_a_refused_fresh_token_is_unauthorized() -> None:
    registry = TokenRegistry()
    repository = registry.repository()
    registry.valid = _Nothing()
    with pytest.raises(UnauthorizedError):
        repository.head_blob(DIGEST)
    assert registry.issued == 1


class _Nothing(set[str]):
    def add(self, _: str) -> None:
        """A realm whose tokens the registry does not accept."""


def test_a_wider_scope_in_the_challenge_is_asked_for_once() -> None:
    registry = TokenRegistry()
    repository = registry.repository()
    registry.challenge_scope = "repository:app:pull repository:base:pull"
    registry.valid = _Nothing()
    with pytest.raises(UnauthorizedError):
        repository.head_blob(DIGEST)
    asked = [r.url.params.get_list("scope") for r in registry.requests if "token" in r.url.path]
    assert asked == [["repository:app:pull", "repository:base:pull"]]


def test_a_mount_asks_for_pull_on_the_source_with_the_own_scope_first() -> None:
    registry = TokenRegistry()
    with pytest.raises(Exception, match="answered 200"):  # the simulated answer is no mount
        registry.repository().mount(DIGEST, from_repository="r.test/base")
    asked = [r.url.params.get_list("scope") for r in registry.requests if "token" in r.url.path]
    assert asked[0] == ["repository:app:pull,push", "repository:base:pull"]


@pytest.mark.parametrize(("status", "kind"), [(401, UnauthorizedError), (403, DeniedError)])
def test_a_realm_that_refuses_is_an_error_of_the_registry(
    status: int, kind: type[UnauthorizedError]
) -> None:
    registry = TokenRegistry()
    registry.token_status = status
    with pytest.raises(kind) as refused:
        registry.repository(credential=ANN).head_blob(DIGEST)
    assert refused.value.registry == "r.test"


class _Left(httpx.ByteStream):
    """A body that tells whether its answer was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def _fails(failure: Exception) -> RegistryResponse:
    def answer(_: httpx.Request) -> httpx.Response:
        raise failure

    return answer


@pytest.mark.parametrize(
    "realm",
    [
        lambda _: httpx.Response(401),
        lambda _: httpx.Response(403),
        lambda _: httpx.Response(503),
        lambda _: httpx.Response(200, text="no token"),
        _fails(httpx.ConnectError("refused")),
        _fails(CancelledError("stop")),
    ],
    ids=["401", "403", "503", "no token", "unreachable", "interrupted"],
)
def test_a_401_is_closed_where_no_token_can_be_had(realm: RegistryResponse) -> None:
    registry = TokenRegistry()
    body = _Left(b"{}")
    headers = {"WWW-Authenticate": f'Bearer realm="{registry.realm}",service="s"'}
    registry.routes["https://r.test/v2/"] = lambda _: httpx.Response(
        401, headers=headers, stream=body
    )
    registry.routes[registry.realm] = realm
    with pytest.raises(TransshipError):
        registry.repository(credential=ANN).get_manifest("1")
    assert body.closed


def test_a_realm_in_plain_http_gets_nothing() -> None:
    registry = TokenRegistry(realm="http://auth.test/token")
    with pytest.raises(UntrustedAddressError):
        registry.repository(credential=ANN).head_blob(DIGEST)
    assert len(registry.requests) == 1


@pytest.mark.parametrize("realm", ["ftp://a/t", "https://u:p@a/t", "/token", "https://a b/"])
def test_a_realm_that_is_no_url_gets_nothing(realm: str) -> None:
    registry = TokenRegistry(realm=realm)
    with pytest.raises(ProtocolError):
        registry.repository(credential=ANN).head_blob(DIGEST)
    assert len(registry.requests) == 1


def test_a_realm_that_redirects_elsewhere_does_not_take_the_password_along() -> None:
    registry = TokenRegistry()
    registry.routes["https://auth.test/token"] = lambda _: httpx.Response(
        307, headers={"Location": "https://evil.test/token"}
    )
    registry.routes["https://evil.test/"] = lambda _: httpx.Response(200, json={"token": "x"})
    with pytest.raises(UnauthorizedError):
        registry.repository(credential=ANN).head_blob(DIGEST)
    assert "GET https://evil.test/token -" in registry.sent()


def test_a_realm_that_redirects_a_post_gets_no_identity_token_elsewhere() -> None:
    registry = TokenRegistry()
    registry.routes["https://auth.test/token"] = lambda _: httpx.Response(
        307, headers={"Location": "https://evil.test/token"}
    )
    with pytest.raises(ProtocolError):
        registry.repository(credential=Credential(identity_token="id")).head_blob(DIGEST)
    assert not [r for r in registry.requests if r.url.host == "evil.test"]


def test_a_ready_registry_token_is_sent_at_once() -> None:
    registry = TokenRegistry()
    registry.valid.add("ready")
    registry.repository(credential=Credential(registry_token="ready")).head_blob(DIGEST)
    assert registry.issued == 0


def test_tokens_of_one_credential_do_not_serve_another() -> None:
    registry = TokenRegistry()
    registry.repository(credential=ANN).head_blob(DIGEST)
    registry.repository(credential=None).head_blob(DIGEST)
    assert registry.issued == 2


def test_a_401_without_challenge_is_unauthorized() -> None:
    simulated = Simulated()
    simulated.routes["https://r.test/"] = lambda _: httpx.Response(401)
    with pytest.raises(UnauthorizedError):
        simulated.repository(credential=ANN).head_blob(DIGEST)
