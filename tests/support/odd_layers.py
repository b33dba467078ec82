"""Layers that can be unpacked, and layers that cannot, by what is odd about them.

The oracle imports each into a daemon (`importing_unpacked`), which is what the verdicts are from.
"""

from __future__ import annotations

import tarfile

from tests.support.tars import MTIME, Member, file, folder, hardlink, special, symlink, tar_of

UNPACKED: dict[str, list[Member]] = {
    "a hard link to a file before it": [file("a", b"1"), hardlink("b", "a")],
    "a hard link by an absolute path": [file("a", b"1"), hardlink("b", "/a")],
    "a hard link to a symbolic link": [symlink("a", "nowhere"), hardlink("b", "a")],
    "a hard link through a symbolic link": [
        *(folder("d"), file("d/a", b"1"), symlink("l", "d"), hardlink("b", "l/a")),
    ],
    "a hard link to a device": [special("a", tarfile.FIFOTYPE), hardlink("b", "a")],
    "no directory is described": [file("a/b/c", b"1")],
    "a file through a link to a directory": [
        *(folder("d"), symlink("l", "d"), file("l/a", b"1")),
    ],
    "a directory made behind a link": [folder("d"), symlink("l", "d"), file("l/e/a", b"1")],
    "a link to the directory above the root": [
        *(folder("d"), symlink("l", "../../d"), file("l/a", b"1")),
    ],
    "a dangling symbolic link": [symlink("a", "/nowhere")],
    "the same name by two ways": [
        *(folder("d"), file("d/a", b"1"), symlink("l", "d"), file("l/a", b"2")),
    ],
    "an opaque directory": [folder("d"), file("d/.wh..wh..opq")],
    "an opaque directory that is not described": [file("d/.wh..wh..opq")],
    "a whiteout": [folder("d"), file("d/.wh.a")],
    "a whiteout in no directory": [file("d/.wh.a")],
    "a whiteout before what it names": [file(".wh.a"), file("a", b"1")],
    "an absolute name": [file("/a", b"1")],
    "a name with a dot": [file("./a", b"1"), file("b/./c", b"1")],
    "a name of 255 bytes": [file("n" * 255, b"1")],
    "the root": [folder("./"), file("a", b"1")],
}

REFUSED: dict[str, list[Member]] = {
    "a hard link to nothing": [hardlink("b", "a")],
    "a hard link to a file after it": [hardlink("b", "a"), file("a", b"1")],
    "a hard link to itself": [file("a", b"1"), hardlink("./b", "b")],
    "a hard link to a directory": [folder("a"), hardlink("b", "a")],
    "a hard link to the root": [hardlink("b", ".")],
    "a hard link through a link to the outside": [symlink("l", "/etc"), hardlink("b", "l/passwd")],
    "a hard link below a file": [file("a", b"1"), hardlink("b", "a/c")],
    "a symbolic link to nothing at all": [symlink("a", "")],
    "a file that becomes a directory": [file("a", b"1"), file("a/b", b"1")],
    "a file that becomes a directory of directories": [file("a", b"1"), file("a/b/c", b"1")],
    "a device that becomes a directory": [special("a", tarfile.FIFOTYPE), file("a/b", b"1")],
    "a file through a link to nowhere": [symlink("l", "nowhere"), file("l/a", b"1")],
    "a directory through a link to nowhere": [symlink("l", "nowhere"), folder("l/d/e")],
    "a file through a link to a file": [file("f"), symlink("l", "f"), file("l/a", b"1")],
    "a file through a link to itself": [symlink("l", "l"), file("l/a", b"1")],
    "a file through links in a circle": [
        *(symlink("l", "m"), symlink("m", "l"), file("l/a", b"1")),
    ],
    "a whiteout of a file of the layer": [file("a", b"1"), file(".wh.a")],
    "a whiteout of a directory of the layer": [folder("d"), file(".wh.d")],
    "a whiteout of nothing": [file("d/.wh.")],
    "a whiteout of the directory itself": [file("d/.wh..")],
    "a whiteout of the directory above": [file("d/.wh...")],
    "a whiteout below a file": [file("a", b"1"), file("a/.wh.b")],
    "a file twice": [file("a", b"1"), file("a", b"2")],
    "a directory twice": [folder("d"), folder("d")],
    "a file twice, written in two ways": [file("d/a", b"1"), file("./d//a", b"2")],
    "a name of 256 bytes": [file("n" * 256, b"1")],
}


def odd_layer(members: list[Member]) -> bytes:
    """The tar of one of them, with fixed times."""
    for one in members:
        one.info.mtime = MTIME
    return tar_of(*members)
