"""A database of which nothing runs."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs."""
    with cluster_folder() as cluster:
        yield cluster
