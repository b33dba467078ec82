"""Importing root file systems."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile

import zstandard

from tests.oracle.harness import Harness
from tests.oracle.inputs import MTIME, Files, directory, entry, layer, tar
from tests.support.odd_layers import REFUSED, UNPACKED, odd_layer

_ROOT: Files = {"etc": directory(), "etc/a": b"a\n", "bin/b": b"bb\n"}


def plain(harness: Harness) -> None:
    """A name, a message, a platform, or none."""
    root = layer(_ROOT)
    with harness.case("no name"):
        harness.import_("root", root)
        harness.images()
        harness.events()
    with harness.case("a name"):
        harness.import_("root", root, "app:1")
        harness.inspect("app:1")
        harness.history("app:1")
        harness.layers("app:1")
        harness.events()
    for ref in ("app", "localhost:5000/team/app:1", "App", "app:-", f"app@sha256:{64 * '0'}"):
        with harness.case(f"named {ref}"):
            harness.import_("root", root, ref)
            harness.names()
    with harness.case("a name that another image has"):
        harness.have_image("old", tags=["app:1"])
        harness.import_("root", root, "app:1")
        harness.names()
    with harness.case("a message"):
        harness.import_("root", root, "app:1", message="said so")
        harness.inspect("app:1", "comment")
        harness.history("app:1")
    for platform in (
        "linux",
        "linux/arm64",
        "linux/arm/v7",
        "windows/amd64",
        "a/b/c/d",
        "nonsense",
    ):
        with harness.case(f"platform {platform}"):
            harness.import_("root", root, "app:1", platform=platform)
            harness.inspect("app:1", "os", "architecture", "variant")


def change(harness: Harness) -> None:
    """Instructions that change the config, and those that may not."""
    root = layer(_ROOT)
    for changes in (
        ["CMD a b"],
        ['CMD ["a", "b"]'],
        ["ENTRYPOINT a b"],
        ['ENTRYPOINT ["a", "b"]', "CMD c"],
        ["ENV A=1"],
        ["ENV A 1 2"],
        ['ENV A="1 2" B=3'],
        ["ENV A=1", "ENV A=2", "ENV B=$A"],
        ["EXPOSE 80"],
        ["EXPOSE 80/udp 90-92"],
        ["EXPOSE nonsense"],
        ["HEALTHCHECK NONE"],
        ["HEALTHCHECK --interval=5s --retries=2 CMD a b"],
        ["LABEL a=1 b='2 3'"],
        ["LABEL a 1"],
        ["LABEL a"],
        ["ONBUILD RUN x"],
        ["ONBUILD FROM x"],
        ["USER 1000"],
        ["VOLUME /a /b"],
        ['VOLUME ["/a"]'],
        ["WORKDIR /a"],
        ["WORKDIR /a", "WORKDIR b"],
        ["WORKDIR b"],
        ["STOPSIGNAL SIGINT"],
        ["RUN x"],
        ["COPY a b"],
        ["FROM x"],
        ["MAINTAINER Ann"],
        ['SHELL ["a"]'],
        ["ARG a"],
        ["nonsense"],
        ["CMD"],
        ["ENV"],
        ["ENV A"],
        ["# nothing", "CMD a"],
        ["cmd a"],
        ["CMD a\nENV B=1"],
        [""],
    ):
        with harness.case(" then ".join(changes) or "nothing"):
            harness.import_("root", root, "app:1", changes=changes)
            harness.inspect("app:1", "config")


def sources(harness: Harness) -> None:
    """Compression, what follows the end, and what is no tar."""
    root = layer(_ROOT)
    for name, body in {
        "gzip": gzip.compress(root),
        "bzip2": bz2.compress(root),
        "xz": lzma.compress(root),
        "zstd": zstandard.compress(root),
        "record padding": tar(_ROOT),
        "a mebibyte of zeros after the end": root + bytes(1 << 20),
        "no end": root[:-1024],
        "an empty tar": tar({}),
        "nothing": b"",
        "no tar": b"no tar at all, but longer than a block" * 20,
        "cut in a file": root[: 3 * 512 + 1],
        "cut in a header": root[:700],
        "a gzip cut short": gzip.compress(root)[:-20],
    }.items():
        with harness.case(name):
            harness.import_(name, body, "app:1")
            harness.layers("app:1")
    links: Files = {
        **_ROOT,
        "etc/hard": entry(kind=tarfile.LNKTYPE, link="etc/a"),
        "etc/soft": entry(kind=tarfile.SYMTYPE, link="../../../outside", mode=0o777),
        "etc/fifo": entry(kind=tarfile.FIFOTYPE),
        "etc/set": entry(mode=0o4755),
        "etc/xattr": entry(xattrs={"user.a": "1"}),
    }
    with harness.case("links, a fifo, set-uid, an extended attribute"):
        harness.import_("special", layer(links), "app:1")
        harness.layers("app:1")
    with harness.case("whiteouts"):
        harness.import_("whiteouts", layer({**_ROOT, "etc/.wh.a": b""}), "app:1")
        harness.inspect("app:1", "size")
        harness.layers("app:1")
    for path in ("../outside", "/etc/absolute", "./etc/dot", "etc/../../outside", "etc//double"):
        with harness.case(f"a path {path}"):
            harness.import_("path", layer({"etc": directory(), path: b"x"}), "app:1")
            harness.layers("app:1")
    for link in ("../../../etc/passwd", "/etc/passwd", "nothing"):
        with harness.case(f"a hard link to {link}"):
            linked = entry(kind=tarfile.LNKTYPE, link=link)
            harness.import_("link", layer({"a": linked}), "app:1")
            harness.layers("app:1")
    with harness.case("through a symbolic link to the outside"):
        through: Files = {"out": entry(kind=tarfile.SYMTYPE, link="/tmp"), "out/x": b"x"}
        harness.import_("through", layer(through), "app:1")
        harness.layers("app:1")
    with harness.case("the same path twice"):
        info = tarfile.TarInfo("etc/a")
        info.size, info.mtime = 1, MTIME
        twice = info.tobuf() + b"1".ljust(512, b"\0") + layer(_ROOT)
        harness.import_("twice", twice, "app:1")
        harness.inspect("app:1", "size")
        harness.layers("app:1")


def unpacked(harness: Harness) -> None:
    """Odd layers: which of them can be unpacked, and which are refused."""
    for name, members in (UNPACKED | REFUSED).items():
        with harness.case(name):
            harness.import_("odd", odd_layer(members), "app:1")
            harness.names()


def trees(harness: Harness) -> None:
    """What is in a root file system comes out again as it went in."""
    trees: dict[str, Files] = {
        "letters of the world": {"gr\u00fc\u00df/\u4e16\u754c": b"1", "sp ace/new\nline": b"2"},
        "long names": {f"{90 * 'a'}/{90 * 'b'}/{90 * 'c'}": b"1", 200 * "d": b"2"},
        "modes": {f"m{mode:04o}": entry(mode=mode) for mode in (0, 0o111, 0o777, 0o1777, 0o6755)},
        "directories without entries": {"a/b/c/d": b"1", "e": directory(0o700)},
        "links of both kinds": {
            "a": b"a",
            "hard": entry(kind=tarfile.LNKTYPE, link="a"),
            "soft": entry(kind=tarfile.SYMTYPE, link="/a", mode=0o777),
            "round": entry(kind=tarfile.SYMTYPE, link="round", mode=0o777),
        },
        "sizes around a block": {f"f{n}": n * b"x" for n in (0, 1, 511, 512, 513, 10_000)},
        "hidden files": {".hidden": b"1", "..two": b"2", "a/...": b"3", ".whatever": b"4"},
    }
    for title, files in trees.items():
        with harness.case(title):
            harness.import_("tree", layer(files), "app:1")
            harness.layers("app:1")
            harness.inspect("app:1", "size")


def words(harness: Harness) -> None:
    """Messages and instructions with all kinds of letters."""
    root = layer(_ROOT)
    for message in ("", " ", "two\nlines", "gr\u00fc\u00df \u4e16", '"quoted"', 300 * "x"):
        with harness.case(f"the message {message[:20]!r}"):
            harness.import_("root", root, "app:1", message=message)
            harness.inspect("app:1", "comment")
            harness.history("app:1")
    for changes in (
        ["LABEL a=\u4e16"],
        ['LABEL "a b"="c d"'],
        ["ENV A=gr\u00fc\u00df"],
        ["ENV A='1' B=\"2\" C=\\3"],
        ["ENTRYPOINT []"],
        ["CMD []"],
        ['CMD ["a", "b"]', "ENTRYPOINT c", "CMD d"],
        ["EXPOSE 80", "EXPOSE 81/tcp", "EXPOSE 80/udp"],
        ["VOLUME /a", 'VOLUME ["/b", "/c"]'],
        ["USER a", "USER b"],
        ["WORKDIR /a", "WORKDIR ../b", "WORKDIR c"],
        ["ONBUILD RUN a", "ONBUILD COPY b c"],
        ["HEALTHCHECK CMD a", "HEALTHCHECK NONE"],
        ["ENV A=1", "LABEL b=$A", "WORKDIR /$A", "USER $A", "EXPOSE $A"],
    ):
        with harness.case(" then ".join(changes)):
            harness.import_("root", root, "app:1", changes=changes)
            harness.inspect("app:1", "config")


def twice(harness: Harness) -> None:
    """The same root file system, once more and under other names."""
    root = layer(_ROOT)
    with harness.case("under one name"):
        harness.import_("first", root, "app:1")
        harness.import_("second", root, "app:1", message="another")
        harness.names()
        harness.usage()
        harness.rm("app:1")
        harness.names()
    with harness.case("under two names"):
        harness.import_("first", root, "app:1")
        harness.import_("second", root, "web:1", changes=["CMD x"])
        harness.names()
        harness.rm("app:1")
        harness.rm("web:1")
    with harness.case("without a name, then pruned"):
        harness.import_("root", root)
        harness.prune()
        harness.names()
