"""What several test files share: fixtures, their order, and how long an example may take."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.harness import Cluster, running_cluster

# No stopwatch: the machine's speed decides nothing about an example. Without a deadline hypothesis
# also gives the making of examples 30 s where it would give them one.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# What starts no process comes last: many small files, so that all workers end at the same time.
_PLACE_BY_FOLDER = {"property": 1, "simulation": 1, "unit": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files of each folder evenly: browsers, which want a core each, meet no others."""
    here, by_folder = Path(__file__).parent, defaultdict[str, list[Path]](list)
    for path in dict.fromkeys(item.path for item in items):
        by_folder[path.relative_to(here).parts[0]].append(path)
    place = {
        path: _PLACE_BY_FOLDER.get(folder, 0) + number / len(paths)
        for folder, paths in by_folder.items()
        for number, path in enumerate(paths)
    }
    items.sort(key=lambda item: place[item.path])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One accountd, one simulator and one gateway, shared by the tests of a module."""
    with running_cluster() as running:
        yield running
