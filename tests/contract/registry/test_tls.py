"""TLS: which certificates are trusted, and when plain HTTP is spoken."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.contract.registry.conftest import Image, descriptor, make_image, nothing, push_blob
from tests.support.registries import RegistryProcess
from transship.store.errors import TlsError
from transship.workers.registry.client import RegistryClient
from transship.workers.registry.transport.hosts import HostPolicy


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for loopback, which is its own CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.pem", directory / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path_factory.mktemp("secure"), tls=certificate) as process:
        yield process


@pytest.fixture(scope="module")
def image() -> Image:
    return make_image(seed=9)


def policy_with(directory: Path, host: str, certificate: Path) -> HostPolicy:
    (directory / host).mkdir()
    shutil.copy(certificate, directory / host / "ca.crt")
    return HostPolicy(certs_dirs=(directory,))


def test_a_large_blob_goes_round_through_tls(
    secure: RegistryProcess, certificate: tuple[Path, Path], tmp_path: Path, image: Image
) -> None:
    with RegistryClient(policy_with(tmp_path, secure.host, certificate[0])) as client:
        repository = client.repository(f"{secure.host}/library/app")
        push_blob(repository, image.layer_bytes)
        received = bytearray()
        with repository.open_blob(descriptor(image.layer_bytes)) as body:
            body.read_into(received.extend, check=nothing)
    assert received == image.layer_bytes


def test_a_ca_of_the_hosts_own_is_enforced_even_on_loopback(
    secure: RegistryProcess, tmp_path: Path, image: Image
) -> None:
    other, _ = make_certificate(tmp_path, "other")
    with RegistryClient(policy_with(tmp_path, secure.host, other)) as client:
        repository = client.repository(f"{secure.host}/library/app")
        with pytest.raises(TlsError, match="certificate is not trusted"):
            repository.head_blob(image.layer.digest)


def test_loopback_without_a_ca_is_spoken_to_in_tls_without_a_check(
    secure: RegistryProcess, image: Image
) -> None:
    secure.forget_requests()
    with RegistryClient(HostPolicy()) as client:
        client.repository(f"{secure.host}/library/app").head_blob(image.layer.digest)
    assert [request.method for request in secure.requests()] == ["HEAD"]


def test_plain_http_on_loopback_is_found_without_a_ping(tmp_path: Path, image: Image) -> None:
    with (
        RegistryProcess(tmp_path / "plain", host_name="localhost") as plain,
        RegistryClient(HostPolicy()) as client,
    ):
        client.repository(f"{plain.host}/library/app").head_blob(image.layer.digest)
        assert [(request.method, request.status) for request in plain.requests()] == [("HEAD", 404)]
