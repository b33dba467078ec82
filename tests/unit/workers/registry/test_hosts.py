"""How registries are reached."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from transship.store.errors import RequestError
from transship.workers.registry.transport.hosts import HostPolicy, RegistryHost, api_host


def test_docker_hub_has_an_api_host_of_its_own() -> None:
    assert api_host("docker.io") == "registry-1.docker.io"


def test_other_hosts_are_their_own_api_hosts() -> None:
    assert RegistryHost.of("r.test:5000").api == "r.test:5000"


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 5000), ("127.0.0.1", None), ("127.3.4.5", 80), ("::1", 5000)]
)
def test_loopback_may_be_spoken_to_plainly(host: str, port: int | None) -> None:
    assert HostPolicy().allows_plain_http(host, port)


@pytest.mark.parametrize(
    "host", ["r.test", "10.0.0.1", "localhost.evil.test", "127.0.0.1.evil.test"]
)
def test_others_may_not(host: str) -> None:
    assert not HostPolicy().allows_plain_http(host, 5000)


@pytest.mark.parametrize("entry", ["r.test", "r.test:5000"])
def test_listed_hosts_may(entry: str) -> None:
    assert HostPolicy(insecure=(entry,)).allows_plain_http("r.test", 5000)


def test_a_listed_port_is_not_every_port() -> None:
    assert not HostPolicy(insecure=("r.test:5000",)).allows_plain_http("r.test", 5001)


def test_listed_networks_hold_addresses() -> None:
    assert HostPolicy(insecure=("10.0.0.0/8",)).allows_plain_http("10.2.3.4", 5000)


def test_certificates_are_checked() -> None:
    context = HostPolicy().tls_context(None, verified=True)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_certificates_of_insecure_hosts_are_not() -> None:
    context = HostPolicy().tls_context(None, verified=False)
    assert context.verify_mode == ssl.CERT_NONE


def test_the_first_directory_with_the_host_counts(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "r.test:5000").mkdir(parents=True)
    policy = HostPolicy(certs_dirs=(tmp_path / "a", tmp_path / "b"))
    assert policy.certs_of("r.test:5000") == tmp_path / "b" / "r.test:5000"


@pytest.mark.parametrize("authority", ["..", ".", "", "a/b", "../b"])
def test_a_host_is_no_path(tmp_path: Path, authority: str) -> None:
    assert HostPolicy(certs_dirs=(tmp_path,)).certs_of(authority) is None


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(RequestError) as wrong:
        HostPolicy().tls_context(tmp_path, verified=True)
    assert wrong.value.subject == str(tmp_path)


def test_a_certificate_without_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "client.cert").write_text("nonsense")
    with pytest.raises(RequestError, match=r"client\.key"):
        HostPolicy().tls_context(tmp_path, verified=True)
