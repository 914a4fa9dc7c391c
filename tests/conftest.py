"""Fixtures that several test files share."""

from collections.abc import Iterator

import pytest
from harness import Cluster, running_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One accountd, one simulator and one gateway, shared by the tests of a module."""
    with running_cluster() as running:
        yield running
