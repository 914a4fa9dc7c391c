"""What several test files share: fixtures, and how long an example may take."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.harness import Cluster, running_cluster

# No stopwatch: the machine's speed decides nothing about an example. Without a deadline hypothesis
# also gives the making of examples 30 s where it would give them one.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One accountd, one simulator and one gateway, shared by the tests of a module."""
    with running_cluster() as running:
        yield running
