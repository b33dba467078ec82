"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress

import pytest

from transship.store.errors import UntrustedAddressError
from transship.store.settings import Settings
from transship.workers.registry.transport import addresses
from transship.workers.registry.transport.addresses import (
    Address,
    GivenByServer,
    HostList,
    KnownPeers,
    NamedByUser,
    Unproven,
    parse_address,
)
from transship.workers.registry.transport.hosts import HostPolicy


def address(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


def given(allowed: tuple[str, ...] = (), peers: KnownPeers | None = None) -> GivenByServer:
    return GivenByServer("r.test", peers or KnownPeers(), HostList(allowed))


INTERNAL = [
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
NOBODY = [
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
]


@pytest.mark.parametrize("text", [*INTERNAL, *NOBODY])
def test_a_server_may_not_send_us_inside(text: str) -> None:
    with pytest.raises(UntrustedAddressError):
        given().check("x.test", 443, address(text))


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1"])
def test_a_server_may_send_us_to_public_addresses(text: str) -> None:
    given().check("x.test", 443, address(text))


@pytest.mark.parametrize("entry", ["x.test", "x.test:443", "10.0.0.0/8", "10.1.2.3"])
def test_a_host_or_network_may_be_allowed(entry: str) -> None:
    given((entry,)).check("x.test", 443, address("10.1.2.3"))


@pytest.mark.parametrize("entry", ["test", "x.test:444", "y.x.test", "11.0.0.0/8", "10.1.2.4"])
def test_other_entries_allow_nothing(entry: str) -> None:
    with pytest.raises(UntrustedAddressError):
        given((entry,)).check("x.test", 443, address("10.1.2.3"))


@pytest.mark.parametrize("text", NOBODY)
def test_metadata_and_link_local_cannot_be_allowed(text: str) -> None:
    rule = given(("x.test", "0.0.0.0/0", "::/0"))
    with pytest.raises(UntrustedAddressError):
        rule.check("x.test", 443, address(text))


def test_the_registrys_own_address_is_allowed() -> None:
    peers = KnownPeers()
    peers.learn("r.test", [address("10.0.0.5")])
    given(peers=peers).check("auth.test", 443, address("10.0.0.5"))


def test_another_registrys_address_is_not() -> None:
    peers = KnownPeers()
    peers.learn("other.test", [address("10.0.0.5")])
    with pytest.raises(UntrustedAddressError):
        given(peers=peers).check("auth.test", 443, address("10.0.0.5"))


@pytest.mark.parametrize("text", NOBODY)
def test_the_user_cannot_name_metadata_either(text: str) -> None:
    with pytest.raises(UntrustedAddressError):
        NamedByUser(KnownPeers()).check("x.test", 80, address(text))


def test_the_user_may_name_private_hosts() -> None:
    NamedByUser(KnownPeers()).check("x.test", 443, address("10.0.0.1"))


@pytest.mark.parametrize("text", INTERNAL)
def test_private_registries_may_be_denied(text: str) -> None:
    rule = NamedByUser(KnownPeers(), private=HostList())
    with pytest.raises(UntrustedAddressError, match="TRANSSHIP_PRIVATE=deny") as refused:
        rule.check("x.test", 443, address(text))
    assert "TRANSSHIP_ALLOW_PRIVATE" in refused.value.hint


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1"])
def test_public_registries_are_not_denied(text: str) -> None:
    NamedByUser(KnownPeers(), private=HostList()).check("x.test", 443, address(text))


@pytest.mark.parametrize("setting", ["allow_private", "insecure_registries"])
@pytest.mark.parametrize("entry", ["x.test", "x.test:443", "10.0.0.0/8", "10.1.2.3"])
def test_private_registries_that_are_listed_are_not_denied(setting: str, entry: str) -> None:
    policy = HostPolicy.from_settings(
        Settings.model_validate({"private": "deny", setting: (entry,)}), {}
    )
    NamedByUser(KnownPeers(), private=policy.named_private_hosts).check(
        "x.test", 443, address("10.1.2.3")
    )


@pytest.mark.parametrize("text", NOBODY)
def test_metadata_cannot_be_listed_for_users_either(text: str) -> None:
    rule = NamedByUser(KnownPeers(), private=HostList(("0.0.0.0/0", "::/0")))
    with pytest.raises(UntrustedAddressError):
        rule.check("x.test", 443, address(text))


def test_private_registries_are_allowed_unless_they_are_denied() -> None:
    assert HostPolicy.from_settings(Settings(), {}).named_private_hosts is None


def test_plain_http_goes_only_to_listed_peers() -> None:
    rule = Unproven(NamedByUser(KnownPeers()), HostList(("10.0.0.0/8",)))
    rule.check("x.test", 80, address("10.0.0.1"))
    with pytest.raises(UntrustedAddressError):
        rule.check("x.test", 80, address("93.184.216.34"))


def test_plain_http_goes_to_loopback() -> None:
    rule = Unproven(NamedByUser(KnownPeers()), HostList())
    rule.check("localhost", 5000, address("127.0.0.1"))


def test_a_mixed_answer_of_the_resolver_teaches_only_the_peer() -> None:
    peers = KnownPeers()
    public, inside = address("93.184.216.34"), address("127.0.0.1")
    NamedByUser(peers).connected("r.test", public, [public, inside])
    assert peers.of("r.test") == {public}


def test_private_addresses_of_a_host_are_learned_together() -> None:
    peers = KnownPeers()
    both = [address("10.0.0.1"), address("10.0.0.2")]
    NamedByUser(peers).connected("r.test", both[0], both)
    assert peers.of("r.test") == set(both)


def test_mapped_addresses_are_unwrapped() -> None:
    assert address("::ffff:127.0.0.1") == ipaddress.IPv4Address("127.0.0.1")


EMBEDDED = {
    "mapped": "::ffff:{}",
    "compatible": "::{}",
    "6to4": "2002:{hex}::1",
    "NAT64": "64:ff9b::{}",
    "NAT64 with a prefix of 96 bits": "64:ff9b:1::{}",
    "NAT64 with a prefix of 48 bits": "64:ff9b:1:{high}:{lower:x}:{lowest}00::",
    "Teredo's server": "2001:0:{hex}::f",
    "Teredo's client": "2001:0:0808:0808:0:0:{inverted}",
    "ISATAP": "2001:4860::5efe:{}",
    "ISATAP of a unique address": "2001:4860::200:5efe:{}",
}


def embedding(shape: str, text: str) -> ipaddress.IPv6Address:
    bits = int(ipaddress.IPv4Address(text))
    inverted = bits ^ 0xFFFFFFFF
    return ipaddress.IPv6Address(
        shape.format(
            text,
            hex=f"{bits >> 16:x}:{bits & 0xFFFF:x}",
            inverted=f"{inverted >> 16:x}:{inverted & 0xFFFF:x}",
            high=f"{bits >> 16:x}",
            lower=bits >> 8 & 0xFF,
            lowest=f"{bits & 0xFF:02x}",
        )
    )


@pytest.mark.parametrize("shape", EMBEDDED.values(), ids=EMBEDDED)
@pytest.mark.parametrize("text", ["169.254.169.254", "168.63.129.16", "100.100.100.200"])
def test_metadata_stays_forbidden_in_whatever_it_is_embedded(shape: str, text: str) -> None:
    assert addresses.is_forbidden(embedding(shape, text))


@pytest.mark.parametrize("shape", EMBEDDED.values(), ids=EMBEDDED)
@pytest.mark.parametrize("text", ["127.0.0.1", "10.1.2.3", "192.168.0.9"])
def test_private_stays_private_in_whatever_it_is_embedded(shape: str, text: str) -> None:
    assert addresses.is_private(embedding(shape, text))


@pytest.mark.parametrize("text", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_stay_public(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert not addresses.is_forbidden(address)
    assert not addresses.is_private(addresses.unwrapped(address))
