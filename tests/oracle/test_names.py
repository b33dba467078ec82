"""The table of Docker's names in store/README.md: none is missing, each is shown by something."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.oracle.scenario import all_scenarios

ROOT = Path(__file__).parents[2]
HEADER = "| Docker | is | here | how to call it | what differs on purpose | shown by |"
VERDICTS = {"same", "better", "no counterpart"}

# What daemon/images of Docker 20.10 exports, and the fields of what it is made from.
TYPES = (
    "NewImageService ImageService ImageServiceConfig ContainerStore DistributionMetadataStore "
    "EventsService ImageStore LayerStores "
    "MaxConcurrentDownloads MaxConcurrentUploads MaxDownloadAttempts ReferenceStore "
    "RegistryService TrustKey ContentStore Leases ContentNamespace DistributionServices "
    "DownloadManager LayerStore V2MetadataService ErrImageDoesNotExist"
)
METHODS = (
    "GetImage PullImage PushImage ImportImage LoadImage ExportImage SquashImage ImageDelete "
    "ImagesPrune Images TagImage TagImageWithReference LookupImage ImageHistory "
    "SearchRegistryForImages GetRepository Map Children CountImages CreateImage CommitImage "
    "CommitBuildStep CreateLayer GetLayerByID GetLayerMountID ReleaseLayer "
    "GetImageAndReleasableLayer MakeImageCache GetContainerLayerSize LayerDiskUsage "
    "LayerStoreStatus GraphDriverForOS Cleanup LogImageEvent LogImageEventWithAttributes "
    "UpdateConfig"
)


class Row(NamedTuple):
    """A line of the table."""

    names: list[str]
    verdict: str
    here: str
    call: str
    differs: str
    shown_by: list[str]


def rows() -> list[Row]:
    text = (ROOT / "store" / "README.md").read_text()
    table = text.partition(HEADER + "\n")[2].partition("\n\n")[0]
    found = []
    for line in table.splitlines()[1:]:
        docker, verdict, here, call, differs, shown_by = (
            cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]
        )
        found.append(Row(quoted(docker), verdict, here, call, differs, quoted(shown_by)))
    return found


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


ROWS = rows()


@pytest.mark.parametrize("name", [*TYPES.split(), *METHODS.split()])
def test_each_name_of_docker_is_in_the_table_once(name: str) -> None:
    assert sum(name in row.names for row in ROWS) == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.names) or row.here)
def test_each_row_is_shown_by_something_or_has_a_reason(row: Row) -> None:
    scenarios = all_scenarios()
    for what in row.shown_by:
        if "/" in what:
            assert (ROOT / what).exists(), what
        else:
            assert any(fnmatchcase(name, what) for name in scenarios), what
    assert row.verdict in VERDICTS
    assert (row.verdict == "no counterpart") == (row.here == "omitted")
    assert row.differs or row.verdict == "same"
    assert row.shown_by or (row.here == "omitted" and row.differs)


def test_each_scenario_shows_a_row() -> None:
    patterns = [what for row in ROWS for what in row.shown_by]
    unused = [
        name
        for name in all_scenarios()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    assert not unused
