"""Media types of manifests, configs and layers, OCI's and Docker's."""

from __future__ import annotations

import re
from typing import Final

from transship.store.errors import InvalidSelectionError

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD: Final = f"{OCI_LAYER}+zstd"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_NONDISTRIBUTABLE: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = f"{DOCKER_LAYER}.gzip"
DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"

UNSAID: Final = ("application/octet-stream", "application/json")  # what says nothing of a config

SCHEMA1: Final = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

INDEX_TYPES: Final = (OCI_INDEX, DOCKER_LIST)
IMAGE_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
MANIFEST_TYPES: Final = (*INDEX_TYPES, *IMAGE_TYPES)
ACCEPT: Final = (*MANIFEST_TYPES, *SCHEMA1)  # schema 1 only to detect and refuse it


# RFC 6838, section 4.2
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_ARTIFACT_TYPE = re.compile(f"{_NAME}/{_NAME}")


def check_artifact_type(text: str) -> str:
    """Return *text*.

    Raises:
        InvalidSelectionError: it is not a media type.
    """
    if _ARTIFACT_TYPE.fullmatch(text) is None:
        raise InvalidSelectionError("not the type of an artifact", subject=text)
    return text


def essence(media_type: str) -> str:
    """The media type without parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def is_index(media_type: str) -> bool:
    """Whether it names a list of manifests."""
    return media_type in INDEX_TYPES


def is_manifest(media_type: str) -> bool:
    """Whether it names the manifest of one image."""
    return media_type in IMAGE_TYPES


def is_config(media_type: str) -> bool:
    """Whether it names the config of an image, not of another artifact."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)


def is_layer(media_type: str) -> bool:
    """Whether it names a layer of an image, whatever its compression."""
    return media_type.startswith((OCI_LAYER, DOCKER_LAYER)) or is_nondistributable(media_type)


def is_nondistributable(media_type: str) -> bool:
    """Whether it names a layer that may be downloaded and not uploaded."""
    return media_type.startswith((OCI_NONDISTRIBUTABLE, DOCKER_FOREIGN))


def is_schema1(media_type: str) -> bool:
    """Whether it names Docker's first manifest format."""
    return media_type in SCHEMA1
