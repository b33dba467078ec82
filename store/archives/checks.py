"""What holds for an image of either layout: the config is one, each layer is what it says."""

from __future__ import annotations

from transship.store.archives.archive import StoredLayer
from transship.store.archives.members import Member, shown
from transship.store.errors import ContentError, InvalidArchiveError
from transship.store.oci.config import ImageConfig
from transship.store.oci.digest import Digest


def parsed_config(path: str, raw: bytes) -> ImageConfig:
    """The config in the file at *path*.

    Raises:
        InvalidArchiveError: it cannot be understood.
    """
    try:
        return ImageConfig.parse(raw)
    except ContentError as error:
        raise InvalidArchiveError(str(error), subject=shown(path)) from None


def check_count(path: str, config: ImageConfig, layers: int) -> None:
    """Have one diffID for each layer.

    Raises:
        InvalidArchiveError: there are more or fewer.
    """
    if layers != len(config.diff_ids):
        raise InvalidArchiveError(
            f"{layers} layers, and {len(config.diff_ids)} diffIDs in the config",
            subject=shown(path),
        )


def checked_layer(path: str, member: Member, diff_id: Digest) -> StoredLayer:
    """The layer at *path*, which is what *diff_id* names.

    Raises:
        InvalidArchiveError: it is something else, or cannot be unpacked.
    """
    if member.fault:
        raise InvalidArchiveError(member.fault, subject=shown(path))
    if member.diff_id != diff_id:
        raise InvalidArchiveError(
            f"the layer's diffID is {member.diff_id}, the config says {diff_id}",
            subject=shown(path),
        )
    return StoredLayer(member.digest, member.size, member.compression)
