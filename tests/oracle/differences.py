"""Where Transship does otherwise than Docker on purpose, each with its reason.

A difference changes what Docker answered into what Transship is to answer, and nothing else. One
that concerns no step, or changes none, fails the tests. Each is better than Docker, forced by what
Transship is, or a trade of one thing for another.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.oracle.difference import (
    Difference,
    content_last,
    empty_for_null,
    instead,
    known_only,
    named_only,
    refusal,
    replacing,
    timed,
    unnamed_empty,
    with_words,
    without,
)


def _imported(
    case: str, reason: str, name: str, layer: Sequence[str]
) -> tuple[Difference, Difference]:
    """What Docker refuses to import is imported, with this one layer."""
    return (
        Difference(
            tag="better",
            reason=reason,
            change=instead(f"<image {name}>"),
            scenario="importing_sources",
            case=case,
            do=f"import <{name}> app:1",
        ),
        Difference(
            tag="better",
            reason=reason,
            change=instead([list(layer)]),
            scenario="importing_sources",
            case=case,
            do="save app:1 | layers",
        ),
    )


_EPOCH = "1970-01-01T00:00:00Z"
_FILES = ("directory 0755 0:0 0 etc", "file 0644 0:0 2 etc/a", "file 0755 0:0 3 bin/b")

DIFFERENCES: Sequence[Difference] = (
    *(
        Difference(
            tag="better",
            reason="the same layers give the same bytes: what none describes has the earliest time",
            change=timed("directory", _EPOCH),
            scenario=scenario,
            case=case,
            do="save * | layers",
        )
        for scenario, case in (
            ("squash_repeated", "a squash of a squash"),
            ("squash_whole", "one layer"),
            ("workspace_commit", "files put"),
            ("workspace_replaced", "a file put twice"),
            ("workspace_stacked", "three, one on the other"),
        )
    ),
    *(
        Difference(
            tag="better",
            reason="the same layers give the same bytes: a directory keeps the time it came with",
            change=timed("directory", None),
            do=do,
        )
        for do in ("save * | layers", "workspace get *")
    ),
    Difference(
        tag="better",
        reason="the same layers give the same bytes: a removal has the earliest time",
        change=timed("removal", _EPOCH),
        do="save * | layers",
    ),
    Difference(
        tag="better",
        reason="an image without a name has empty lists of names, as Docker's API from 1.43 on",
        change=unnamed_empty,
    ),
    Difference(
        tag="forced",
        reason="no container made the image, and no Docker",
        change=without("container_config", "docker_version"),
        do="inspect *",
    ),
    Difference(
        tag="better",
        reason="`scratch` is wrong input, as any other name that cannot be pulled",
        change=refusal("invalid", "reference: 'scratch' is a reserved name"),
        scenario="pull_wrong",
        do="pull scratch",
    ),
    Difference(
        tag="better",
        reason="a name stands for the whole index; another platform is held beside the first",
        change=instead([["<image here>", "<registry>/app:1", "<registry>/app@<index app:1>"]]),
        scenario="pull_index",
        case="the host's platform, then *",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="a name stands for the whole index; what is shown is the host's platform",
        change=instead({"id": "<image here>", "architecture": "amd64"}),
        scenario="pull_index",
        do="inspect <registry>/app:1 .id .architecture",
    ),
    Difference(
        tag="better",
        reason="an image is pushed with the manifest that it was pulled with, so its digest stays",
        change=replacing("<digest 1>", "<manifest app:1>"),
        scenario="push_plain",
        case="what was pulled, *",
    ),
    Difference(
        tag="trade",
        reason="a layer that came from another repository is read again, and compared",
        change=with_words("Download complete", "Pull complete", "Pulling fs layer"),
        scenario="pull_plain",
        case="layers that are here already",
        do="pull *",
    ),
    Difference(
        tag="trade",
        reason="a layer that was loaded is read again from the registry, and compared",
        change=with_words("Download complete", "Pull complete", "Pulling fs layer"),
        scenario="pull_plain",
        case="an image that was loaded before",
        do="pull *",
    ),
    Difference(
        tag="better",
        reason="a step without a name has an empty list of them, as images have",
        change=empty_for_null("tags", []),
        do="history *",
    ),
    Difference(
        tag="better",
        reason="labels are an object, and an empty one where there are none",
        change=empty_for_null("labels", {}),
        scenario="importing_plain",
        do="images",
    ),
    Difference(
        tag="better",
        reason="1 and 0 are flags in each filter, not only in those of `prune`",
        change=instead([["<image dangling>"]]),
        scenario="images_filtered",
        do="images *--filter dangling=1 | names",
    ),
    Difference(
        tag="better",
        reason="`until` filters what is listed, as it does what is pruned",
        change=instead(
            [
                ["<image newest>", "web:1"],
                ["<image named>", "app:2", "team/app:2", "localhost:5000/team/web:latest"],
                ["<image dangling>"],
                ["<image child>", "app:1"],
            ]
        ),
        scenario="images_filtered",
        do="images --filter until=24h | names",
    ),
    Difference(
        tag="better",
        reason="filters that contradict each other are a mistake, and nothing is removed for one",
        change=refusal("invalid", "filters: dangling cannot be true and false"),
        scenario="prune_dangling",
        do="prune --filter dangling=true --filter dangling=false",
    ),
    Difference(
        tag="better",
        reason="filters that contradict each other are a mistake, and nothing is removed for one",
        change=instead(
            [
                ["<image child>", "child:1"],
                ["<image dangling>"],
                ["<image parent>"],
                ["<image unused>", "app:1"],
            ]
        ),
        scenario="prune_dangling",
        case="--filter dangling=true --filter dangling=false",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="the digest of a manifest stands for its image, where it is the ID of none",
        change=instead({"id": "<image x>"}),
        scenario="resolve_precedence",
        do="inspect <manifest app:1> .id",
    ),
    # --- save, load
    Difference(
        tag="better",
        reason="an image without layers is an image",
        change=instead(
            {
                "images": [{"id": "<image x>", "tags": ["app:1"], "layers": 0}],
                "repositories": None,
            }
        ),
        scenario="save_again",
        case="no layer at all",
        do="save app:1",
    ),
    Difference(
        tag="better",
        reason="the same images give the same bytes, in whatever order they are asked for",
        change=replacing('["app:2", "app:1"]', '["app:1", "app:2"]'),
        scenario="save_names",
        do="save app:2 app:1",
    ),
    Difference(
        tag="better",
        reason="an archive of nothing is not what anybody wants",
        change=refusal("invalid", "references: too few: expected 1 or more"),
        scenario="save_names",
        do="save",
    ),
    Difference(
        tag="forced",
        reason="what a load says on its way is in the job's progress, not in its result",
        change=without("words"),
        scenario="load_good",
        do="load * --not-quiet",
    ),
    Difference(
        tag="better",
        reason="each image that was loaded is told once: by its names, or by its ID without one",
        change=instead({"loaded": ["app:1", "<image two>"]}),
        scenario="load_good",
        do="load <a name, then none>",
    ),
    Difference(
        tag="better",
        reason="each image that was loaded is told once: by its names, or by its ID without one",
        change=instead({"loaded": ["<image two>", "app:1"]}),
        scenario="load_good",
        do="load <no name, then one>",
    ),
    Difference(
        tag="better",
        reason="archives may be compressed by zstd too",
        change=instead({"loaded": ["app:1"]}),
        scenario="load_good",
        do="load <zstd>",
    ),
    Difference(
        tag="better",
        reason="archives may be compressed by zstd too",
        change=instead([["<image x>", "app:1"]]),
        scenario="load_good",
        case="compressed by zstd",
        do="images -a",
    ),
    Difference(
        tag="trade",
        reason="who names a layer has not shown that he may read it, so it has to be there",
        change=refusal(
            "invalid", "<chain x/1>: the archive does not hold layer 1 of <image other>"
        ),
        scenario="load_good",
        do="load <no layer>",
    ),
    Difference(
        tag="trade",
        reason="who names a layer has not shown that he may read it, so it has to be there",
        change=instead([["<image x>", "app:1"]]),
        scenario="load_good",
        case="layers that are here already may be left out",
        do="images -a",
    ),
    Difference(
        tag="trade",
        reason="who names a layer has not shown that he may read it, so nobody else has these",
        change=lambda answer: [*answer, "deleted <chain x/2>", "deleted <chain x/1>"],
        scenario="load_good",
        case="layers that are here already may be left out",
        do="rm <image x>",
    ),
    Difference(
        tag="better",
        reason="a manifest is a list of images",
        change=refusal("invalid", "manifest.json: is not a list of images"),
        scenario="load_bad",
        do="load <null>",
    ),
    Difference(
        tag="better",
        reason="an archive is loaded whole or not at all",
        change=named_only,
        scenario="load_bad",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="64 hexadecimal digits are an ID wherever they stand, and not a name",
        change=refusal(
            "invalid",
            "manifest.json: a tag of an image is wrong: <digest 2>:1: "
            "64 hexadecimal digits are an ID, not a name",
        ),
        scenario="load_bad",
        do="load <tag '<digest 2>:1'>",
    ),
    Difference(
        tag="better",
        reason="64 hexadecimal digits are an ID wherever they stand, and not a name",
        change=instead([]),
        scenario="load_bad",
        do="images -a",
        after="load <tag '<digest 2>:1'>",
    ),
    Difference(
        tag="better",
        reason="an archive is loaded whole or not at all",
        change=instead([]),
        scenario="load_parents",
        case="a parent with another history",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="an archive is loaded whole or not at all",
        change=instead([]),
        scenario="load_parents",
        case="a grandparent for a parent",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="images for any system are moved, for none is run here",
        change=instead({"loaded": ["app:1"]}),
        scenario="load_bad",
        do="load <another system>",
    ),
    Difference(
        tag="better",
        reason="images for any system are moved, for none is run here",
        change=instead([["<digest 1>", "app:1"]]),
        scenario="load_bad",
        do="images -a",
        after="load <another system>",
    ),
    Difference(
        tag="better",
        reason="images for any system are moved: the one before has the name still",
        change=lambda answer: {**answer, "moved": ["app:1"]},
        scenario="load_bad",
        do="load <no system>",
    ),
    *(
        Difference(
            tag="better",
            reason="images for any system are moved: the one before is still there",
            change=instead([["<digest 1>"], ["<digest 2>", "app:1"]]),
            scenario="load_bad",
            do="images -a",
            after=after,
        )
        for after in ("load <no system>", "load <too much history>")
    ),
    Difference(
        tag="better",
        reason="images for any system are moved: one more has been seen",
        change=replacing("<digest 2>", "<digest 3>"),
        scenario="load_bad",
        case="a config that lies",
        do="images -a",
        after="load <too little history>",
    ),
    Difference(
        tag="better",
        reason="what was loaded is said of every archive",
        change=lambda seen: {"loaded": ["app:1"]} if "loaded" in seen else seen,
        scenario="load_legacy",
        do="load *",
    ),
    Difference(
        tag="better",
        reason="what was loaded is said of every archive",
        change=instead({"loaded": ["app:3", "app:2", "app:1", "localhost:5000/web:1"]}),
        scenario="load_legacy",
        case="a line of parents, several names",
        do="load *",
    ),
    Difference(
        tag="better",
        reason="an archive without names is loaded, too",
        change=instead({"loaded": ["<digest 1>", "<digest 2>", "<digest 3>"]}),
        scenario="load_legacy",
        case="no names",
        do="load *",
    ),
    Difference(
        tag="better",
        reason="layers compressed by zstd are read, as by Docker 23 and later",
        change=instead({"loaded": ["app:1"]}),
        scenario="load_odd",
        case="layers compressed by zstd",
        do="load *",
    ),
    Difference(
        tag="better",
        reason="layers compressed by zstd are read, as by Docker 23 and later",
        change=instead(
            {
                "id": "<image x>",
                "root_fs": {"layers": ["<chain x/1>", "<diff x/2>"], "type": "layers"},
            }
        ),
        scenario="load_odd",
        case="layers compressed by zstd",
        do="inspect *",
    ),
    # --- import
    Difference(
        tag="better",
        reason="the image is for the platform that was asked for",
        change=instead({"os": "linux", "architecture": "arm64"}),
        scenario="importing_plain",
        case="platform linux/arm64",
        do="inspect *",
    ),
    Difference(
        tag="better",
        reason="the image is for the platform that was asked for",
        change=instead({"os": "linux", "architecture": "arm", "variant": "v7"}),
        scenario="importing_plain",
        case="platform linux/arm/v7",
        do="inspect *",
    ),
    *_imported("zstd", "zstd is read too", "zstd", _FILES),
    *(
        Difference(
            tag="better",
            reason="a path that leads out is refused, as Docker refuses to save the image again",
            change=change,
            scenario="importing_sources",
            case=f"a path {path}",
            do=do,
        )
        for path in ("../outside", "etc/../../outside")
        for do, change in (
            ("import *", refusal("invalid", f"{path}: a name that leads out of the image")),
            ("save app:1 | layers", refusal("not-found", "No such image: app:1")),
        )
    ),
    # --- squash, workspaces
    Difference(
        tag="better",
        reason="a file is compared by what is in it, not by its size and time",
        change=replacing(
            '"file 0644 0:0 1 etc/a"', '"file 0644 0:0 1 etc/a", "file 0644 0:0 4 etc/replaced"'
        ),
        scenario="squash_onto_parent",
        case="a file replaced by one of the same size and time",
        do="save squashed:1 | layers",
    ),
    Difference(
        tag="trade",
        reason="a squash onto a parent names each path that went",
        change=replacing(
            "file 0755 0:0 0 srv/.wh..wh..opq",
            f'file 0000 0:0 0 srv/.wh.one at {_EPOCH}", "file 0000 0:0 0 srv/.wh.sub',
        ),
        scenario="squash_onto_parent",
        case="one layer: *",
        do="save squashed:1 | layers",
    ),
    *(
        Difference(
            tag="trade",
            reason="whiteouts have no mode, as those that Docker writes when it compares",
            change=replacing("file 0600 0:0 0 etc/.wh.gone", "file 0000 0:0 0 etc/.wh.gone"),
            scenario=scenario,
            do=do,
        )
        for scenario, do in (
            ("squash_onto_parent", "save squashed:1 | layers"),
            ("workspace_commit", "save new:1 | layers"),
        )
    ),
    *(
        Difference(
            tag="trade",
            reason="what has no content comes first in a layer, so that no layer is read back",
            change=content_last,
            scenario=scenario,
            do=do,
        )
        for scenario, do in (
            ("squash_onto_parent", "save squashed:1 | layers"),
            ("workspace_commit", "save new:1 | layers"),
        )
    ),
    Difference(
        tag="forced",
        reason="a workspace is no machine, and has no host name and no image of its own to tell",
        change=without("Hostname", "Image"),
        scenario="workspace_*",
        do="inspect new:1*",
    ),
    Difference(
        tag="better",
        reason="a commit that is refused leaves no image",
        change=instead([["<image x>", "app:1"]]),
        scenario="workspace_use",
        case="refused",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="a name that begins with `.wh.` would be a removal in the layer",
        change=refusal(
            "invalid",
            "etc/.wh.x: a name that begins with .wh. stands for a removal, and not for a file",
        ),
        scenario="workspace_use",
        do="workspace put work / <a whiteout>",
    ),
    Difference(
        tag="better",
        reason="a name that begins with `.wh.` would be a removal in the layer",
        change=instead([]),
        scenario="workspace_use",
        case="whiteouts are files here",
        do="workspace diff work",
    ),
    Difference(
        tag="better",
        reason="a name that begins with `.wh.` would be a removal, and nothing else was put",
        change=lambda layers: layers[:-1],
        scenario="workspace_use",
        case="whiteouts are files here",
        do="save new:1 | layers",
    ),
    *(
        Difference(
            tag="better",
            reason="days and weeks are durations, as in every command",
            change=instead(seen),
            scenario="prune_moments",
            case="until '1d'",
            do=do,
        )
        for do, seen in (
            (
                "prune *",
                {
                    "deleted": [
                        *(f"deleted <chain m{month}/{n}>" for month in (1, 2, 3) for n in (1, 2)),
                        *(f"deleted <image m{month}>" for month in (1, 2, 3)),
                    ],
                    "space_reclaimed": 474,
                },
            ),
            ("images -a", []),
        )
    ),
    Difference(
        tag="better",
        reason="bytes go when they are collected: what was removed a moment ago is still there",
        change=with_words(),
        scenario="pull_again",
        case="after all of it went",
        do="pull *",
    ),
    Difference(
        tag="trade",
        reason="a layer that was made here is read again from the registry, and compared",
        change=with_words("Download complete", "Pull complete", "Pulling fs layer"),
        scenario="push_made",
        case="committed",
        do="pull *",
    ),
    *(
        Difference(
            tag="better",
            reason="squashes and refused commits leave no image without a name behind",
            change=known_only,
            scenario=scenario,
            case=case,
            do="images -a",
        )
        for scenario, case in (
            ("resolve_shortened", "for every verb"),
            ("save_made", "imported, tagged, committed, squashed"),
            ("squash_names", "forms"),
            ("workspace_words", "names"),
        )
    ),
    Difference(
        tag="better",
        reason="a first part in capitals is a host, as from Docker 23 on",
        change=instead(None),
        scenario="tag_forms",
        do="tag app:1 HOST/a:1",
    ),
    Difference(
        tag="better",
        reason="a name does not begin with a slash",
        change=refusal("invalid", "/a:1: not an image reference"),
        scenario="tag_forms",
        do="tag app:1 /a:1",
    ),
    Difference(
        tag="better",
        reason="a first part in capitals is a host, and a name does not begin with a slash",
        change=lambda answer: replacing('"a:1", ', "")(
            replacing('"a.b/c:1"', '"HOST/a:1", "a.b/c:1"')(answer)
        ),
        scenario="tag_forms",
        do="images -a",
    ),
    Difference(
        tag="better",
        reason="a file is compared by what is in it, not by its size and time",
        change=instead([{"kind": "modified", "path": "/a"}]),
        scenario="workspace_replaced",
        case="a file by a file",
        do="workspace diff *",
    ),
    *(
        Difference(
            tag="better",
            reason="a workspace keeps the layers of its image, whatever becomes of that",
            change=instead(seen),
            scenario="workspace_stacked",
            case="its image loses its name",
            do=do,
            after=after,
        )
        for do, after, seen in (
            ("workspace commit *", "*", "<image committed>"),
            ("inspect *", "*", {"parent": ""}),
            ("images -a", "rm <image x> --force", [["<image committed>", "new:1"]]),
        )
    ),
)
