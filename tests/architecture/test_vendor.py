"""Files of others are as they were released, and are named."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

VENDOR = Path(__file__).parents[2] / "api" / "page" / "vendor"
ROW = re.compile(
    r"^\| `([^`]+)` \| [\w.@/-]+ \d+\.\d+\.\d+ \| [\w.-]+ \| `([0-9a-f]{64})` \|$", re.MULTILINE
)


def test_every_file_is_listed_with_its_hash_and_has_a_licence() -> None:
    listed = dict(ROW.findall((VENDOR / "README.md").read_text()))
    files = {
        str(path.relative_to(VENDOR))
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name not in ("README.md", "LICENSE")
    }
    assert listed.keys() == files
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert (VENDOR / name).parent.joinpath("LICENSE").is_file(), name
