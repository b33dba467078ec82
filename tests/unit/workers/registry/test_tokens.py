"""How tokens are asked for and kept. No network: the conversation is a generator."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from transship.store.errors import CancelledError, ProtocolError, Side, UnauthorizedError
from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.auth.scopes import repository_scope
from transship.workers.registry.auth.tokens import (
    MIN_LIFE_SECONDS,
    RENEW_EARLY_SECONDS,
    BearerToken,
    TokenAnswer,
    TokenCache,
    TokenOwner,
    TokenRequest,
    ask_for_token,
)

REALM = "https://auth.test/token"
PULL = (repository_scope("library/app", "pull"),)
PUSH = (repository_scope("library/app", "pull", "push"),)
OTHER = repository_scope("other", "pull")


def first_request(credential: Credential | None, realm: str = REALM) -> TokenRequest:
    return next(ask_for_token(realm, "svc", (*PUSH, OTHER), credential))


def token_from(body: object, status: int = 200) -> BearerToken:
    conversation = ask_for_token(REALM, "svc", PULL, None)
    next(conversation)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(StopIteration) as done:
        conversation.send(TokenAnswer(status, raw))
    token = done.value.value
    assert isinstance(token, BearerToken)
    return token


def test_anonymous_asks_by_get_without_credentials() -> None:
    request = first_request(None)
    assert (request.method, request.basic, request.form) == ("GET", None, None)


def test_every_scope_is_a_parameter_of_its_own() -> None:
    query = parse_qsl(urlsplit(first_request(None).url).query)
    assert query == [
        ("service", "svc"),
        ("scope", "repository:library/app:pull,push"),
        ("scope", "repository:other:pull"),
    ]


def test_a_query_in_the_realm_is_kept() -> None:
    assert first_request(None, REALM + "?a=b/c=").url.startswith(REALM + "?a=b/c=&service=svc")


def test_a_password_goes_as_basic_with_the_account() -> None:
    request = first_request(Credential("ann", "secret"))
    assert request.basic == ("ann", "secret")
    assert "account=ann" in request.url
    assert "secret" not in request.url


def test_an_identity_token_is_posted() -> None:
    request = first_request(Credential(identity_token="refresh"))
    assert request.method == "POST"
    assert request.url == REALM
    assert parse_qs(request.form or "") == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh"],
        "service": ["svc"],
        "client_id": ["transship"],
        "scope": ["repository:library/app:pull,push repository:other:pull"],
    }


@pytest.mark.parametrize("status", [400, 401, 404, 405])
def test_a_realm_without_post_is_asked_by_get(status: int) -> None:
    conversation = ask_for_token(REALM, "svc", PULL, Credential(identity_token="refresh"))
    next(conversation)
    request = conversation.send(TokenAnswer(status, b"", UnauthorizedError("no")))
    assert (request.method, request.basic) == ("GET", ("", "refresh"))


def test_secrets_do_not_show_in_a_request() -> None:
    shown = repr(first_request(Credential("ann", "secret")))
    assert "secret" not in shown


def test_access_token_is_as_good_as_token() -> None:
    assert token_from({"access_token": "t"}).value == "t"


def test_no_life_means_a_minute() -> None:
    assert token_from({"token": "t"}).life_seconds == MIN_LIFE_SECONDS


def test_a_given_life_is_used() -> None:
    assert token_from({"token": "t", "expires_in": 300}).life_seconds == 300


@pytest.mark.parametrize("seconds", [1, -5, 0, True, "300", None, 1e300])
def test_a_life_that_cannot_be_meant_is_a_minute(seconds: object) -> None:
    assert token_from({"token": "t", "expires_in": seconds}).life_seconds == MIN_LIFE_SECONDS


@pytest.mark.parametrize("body", [b"<html>", {}, [], {"token": 5}, {"token": "a\r\nb: c"}, b""])
def test_an_answer_without_a_token_is_a_protocol_error(body: object) -> None:
    with pytest.raises(ProtocolError):
        token_from(body)


# --- the cache ---------------------------------------------------------------------------------

OWNER = TokenOwner("r.test", REALM, "svc", "")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Realm:
    """Counts how often it was asked."""

    def __init__(self, life_seconds: float = 100) -> None:
        self.asked = 0
        self.life_seconds = life_seconds

    def __call__(self) -> BearerToken:
        self.asked += 1
        return BearerToken(f"token-{self.asked}", self.life_seconds)


def test_a_token_is_asked_for_once() -> None:
    cache, realm = TokenCache(Clock()), Realm()
    first, second = cache.get(OWNER, PULL, realm), cache.get(OWNER, PULL, realm)
    assert (first.value, first.is_new) == ("token-1", True)
    assert (second.value, second.is_new) == ("token-1", False)


def test_a_token_is_renewed_before_it_ends() -> None:
    clock, realm = Clock(), Realm(life_seconds=100)
    cache = TokenCache(clock)
    cache.get(OWNER, PULL, realm)
    clock.now += 100 - RENEW_EARLY_SECONDS
    assert cache.get(OWNER, PULL, realm).value == "token-2"


def test_a_wider_token_serves_a_narrower_wish() -> None:
    cache, realm = TokenCache(Clock()), Realm()
    cache.get(OWNER, (*PUSH, OTHER), realm)
    assert cache.get(OWNER, PULL, realm).value == "token-1"


def test_a_narrower_token_does_not_serve_a_wider_wish() -> None:
    cache, realm = TokenCache(Clock()), Realm()
    cache.get(OWNER, PULL, realm)
    assert cache.get(OWNER, PUSH, realm).value == "token-2"


@pytest.mark.parametrize(
    "other",
    [
        TokenOwner("other.test", REALM, "svc", ""),
        TokenOwner("r.test", "https://other/", "svc", ""),
        TokenOwner("r.test", REALM, "other", ""),
        TokenOwner("r.test", REALM, "svc", "abc"),
    ],
)
def test_tokens_do_not_cross_owners(other: TokenOwner) -> None:
    cache, realm = TokenCache(Clock()), Realm()
    cache.get(OWNER, PULL, realm)
    assert cache.get(other, PULL, realm).value == "token-2"


def test_a_refused_token_is_not_given_again() -> None:
    cache, realm = TokenCache(Clock()), Realm()
    cache.drop(OWNER, cache.get(OWNER, PUSH, realm).value)
    assert cache.get(OWNER, PULL, realm).value == "token-2"


def test_equal_wishes_at_the_same_time_are_one_request() -> None:
    cache, entered, go_on, asked = TokenCache(), threading.Event(), threading.Event(), []

    def slow() -> BearerToken:
        asked.append(1)
        entered.set()
        assert go_on.wait(10)
        return BearerToken("one", 100)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(cache.get, OWNER, PULL, slow)
        assert entered.wait(10)
        others = [pool.submit(cache.get, OWNER, PULL, slow) for _ in range(7)]
        go_on.set()
        values = {future.result(10).value for future in [first, *others]}
    assert (values, len(asked)) == ({"one"}, 1)


def test_a_failure_is_shared_by_those_who_wait_and_copied_for_each() -> None:
    cache, entered, go_on = TokenCache(), threading.Event(), threading.Event()

    def fails() -> BearerToken:
        entered.set()
        assert go_on.wait(10)
        raise UnauthorizedError("no", registry="r.test", http_status=401)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, OWNER, PULL, fails)
        assert entered.wait(10)
        second = pool.submit(cache.get, OWNER, PULL, fails)
        go_on.set()
        errors = [future.exception(10) for future in (first, second)]
    assert all(isinstance(error, UnauthorizedError) for error in errors)
    one = errors[0]
    assert isinstance(one, UnauthorizedError)
    one.at(Side.DESTINATION)
    other = errors[1]
    assert isinstance(other, UnauthorizedError)
    assert (other.side, other.http_status) == (Side.SOURCE, 401)


def test_a_request_to_stop_is_for_the_one_who_asks_and_the_next_asks_instead() -> None:
    cache, entered, go_on, realm = TokenCache(), threading.Event(), threading.Event(), Realm()

    def stopped() -> BearerToken:
        entered.set()
        assert go_on.wait(10)
        raise CancelledError("a stop was requested")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, OWNER, PULL, stopped)
        assert entered.wait(10)
        second = pool.submit(cache.get, OWNER, PULL, realm)
        go_on.set()
        assert isinstance(first.exception(10), CancelledError)
        assert second.result(10).value == "token-1"


def test_after_a_failure_the_next_asks_again() -> None:
    cache = TokenCache(Clock())

    def fails() -> BearerToken:
        raise UnauthorizedError("no")

    with pytest.raises(UnauthorizedError):
        cache.get(OWNER, PULL, fails)
    assert cache.get(OWNER, PULL, Realm()).value == "token-1"
