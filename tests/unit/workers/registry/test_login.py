"""Whether a login is accepted: what is asked at /v2/, and what of the answer counts."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.workers.registry.simulated import Simulated, TokenRegistry, basic
from transship.store.errors import RegistryError, UnauthorizedError
from transship.workers.registry.auth.credentials import Credential

ANN = Credential("ann", "pw")


def asking_for_basic(request: httpx.Request) -> httpx.Response:
    if request.headers.get("authorization") == basic("ann", "pw"):
        return httpx.Response(200, json={})
    return httpx.Response(401, headers={"WWW-Authenticate": "Basic realm=r"})


def test_a_name_and_a_password_are_checked() -> None:
    registry = Simulated({"https://r.test/v2/": asking_for_basic})
    assert registry.client.check_login("r.test", ANN)
    assert registry.sent() == ["GET https://r.test/v2/ -", "GET https://r.test/v2/ Basic"]


def test_a_wrong_password_is_refused() -> None:
    registry = Simulated({"https://r.test/v2/": asking_for_basic})
    with pytest.raises(UnauthorizedError):
        registry.client.check_login("r.test", Credential("ann", "wrong"))


def test_a_token_is_asked_for_with_the_login() -> None:
    registry = TokenRegistry()
    assert registry.client.check_login("r.test", ANN)
    assert "GET https://auth.test/token Basic" in registry.sent()


def test_a_realm_that_refuses_the_login_ends_it() -> None:
    registry = TokenRegistry()
    registry.token_status = 401
    with pytest.raises(UnauthorizedError):
        registry.client.check_login("r.test", ANN)


def test_a_registry_that_asks_nobody_is_told_apart() -> None:
    registry = Simulated({"https://r.test/v2/": lambda _: httpx.Response(200, json={})})
    assert not registry.client.check_login("r.test", ANN)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404),
        httpx.Response(200, headers={"Content-Type": "text/html"}, text="<html>"),
    ],
    ids=["another server", "a portal"],
)
def test_what_is_no_registry_accepts_nobody(answer: httpx.Response) -> None:
    registry = Simulated({"https://r.test/v2/": lambda _: answer})
    with pytest.raises(RegistryError):
        registry.client.check_login("r.test", ANN)
