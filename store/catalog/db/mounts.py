"""On what kind of file system a directory lies, as the kernel tells of its mounts."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

# Those that several hosts mount at once. The program behind FUSE is named after a dot.
_NETWORK = re.compile(
    r"afs|beegfs|ceph|cifs|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|pvfs2|smb3|smbfs|"
    r"fuse\.(blobfuse2?|ceph|ceph-fuse|gcsfuse|glusterfs|goofys|juicefs|mfs|moosefs|mount-s3|"
    r"rclone|s3fs|s3ql|seaweedfs|smbnetfs|sshfs)"
)


def network_filesystem(directory: Path) -> str | None:
    """Return the type of *directory*'s file system if it is one of a network.

    None too where that cannot be told: the directory is not there, the kernel lists no mounts, or
    the type is none that this module knows.
    """
    try:
        device = directory.stat().st_dev
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        # proc(5): 36 35 98:0 /root /mount/point options [tags] - type source superoptions
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [wanted]:
            kind = after.partition(" ")[0]
            return kind if _NETWORK.fullmatch(kind) is not None else None
    return None
