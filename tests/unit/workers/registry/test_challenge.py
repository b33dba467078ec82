"""What registries put into WWW-Authenticate, and what they could."""

from __future__ import annotations

from transship.workers.registry.auth.challenge import (
    MAX_HEADER_CHARS,
    Challenge,
    parse_challenges,
    preferred,
)


def parse(*lines: str) -> list[Challenge]:
    return parse_challenges(lines)


def test_docker_hub_bearer_is_read() -> None:
    line = (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/alpine:pull"'
    )
    [challenge] = parse(line)
    assert challenge.scheme == "bearer"
    assert challenge.realm == "https://auth.docker.io/token"
    assert challenge.service == "registry.docker.io"
    assert challenge.scope == "repository:library/alpine:pull"


def test_commas_inside_quotes_do_not_end_a_parameter() -> None:
    [challenge] = parse('Bearer realm="https://a/t",scope="repository:x:pull,push"')
    assert challenge.scope == "repository:x:pull,push"


def test_scheme_and_names_are_case_insensitive() -> None:
    [challenge] = parse('BEARER Realm="https://a/t", SERVICE="s"')
    assert (challenge.scheme, challenge.realm, challenge.service) == ("bearer", "https://a/t", "s")


def test_quoted_pairs_are_unescaped() -> None:
    [challenge] = parse(r'Basic realm="a \"b\" \\c"')
    assert challenge.realm == r'a "b" \c'


def test_several_challenges_may_share_a_line() -> None:
    found = parse('Basic realm="x", charset="UTF-8", Bearer realm="https://a/t",service="s"')
    assert [challenge.scheme for challenge in found] == ["basic", "bearer"]
    assert found[0].parameters == {"realm": "x", "charset": "UTF-8"}


def test_several_lines_are_all_read() -> None:
    found = parse('Basic realm="x"', 'Bearer realm="https://a/t"')
    assert [challenge.scheme for challenge in found] == ["basic", "bearer"]


def test_values_may_be_bare() -> None:
    [challenge] = parse("Bearer realm=https://a/t , service=s")
    assert (challenge.realm, challenge.service) == ("https://a/t", "s")


def test_token68_of_other_schemes_is_skipped() -> None:
    found = parse('Negotiate YWJj==, Basic realm="x"')
    assert [challenge.scheme for challenge in found] == ["negotiate", "basic"]


def test_a_scheme_without_parameters_is_a_challenge() -> None:
    assert [challenge.scheme for challenge in parse('NTLM, Basic realm="x"')] == ["ntlm", "basic"]


def test_the_first_of_repeated_parameters_counts() -> None:
    [challenge] = parse('Bearer realm="https://first/",realm="https://second/"')
    assert challenge.realm == "https://first/"


def test_an_unclosed_quote_does_not_invent_a_value() -> None:
    found = parse('Bearer realm="https://a/t')
    assert all(challenge.realm != "https://a/t" for challenge in found)


def test_nonsense_yields_nothing() -> None:
    assert parse("", ",,,", '"', "=x") == []


def test_a_huge_header_is_cut_rather_than_read() -> None:
    [challenge] = parse("Bearer a=" + "x" * (2 * MAX_HEADER_CHARS))
    assert len(challenge.parameters["a"]) < MAX_HEADER_CHARS


def test_bearer_is_preferred_to_basic() -> None:
    chosen = preferred(parse('Basic realm="x"', 'Bearer realm="https://a/t"'))
    assert chosen is not None
    assert chosen.scheme == "bearer"


def test_bearer_without_realm_is_of_no_use() -> None:
    chosen = preferred(parse('Bearer service="s", Basic realm="x"'))
    assert chosen is not None
    assert chosen.scheme == "basic"


def test_unknown_schemes_are_never_chosen() -> None:
    assert preferred(parse("Negotiate", 'Digest realm="x"')) is None
