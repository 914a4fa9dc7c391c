"""Gateways that make ephemeral keys, shared by the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.ephemeral import ephemeral_cluster
from tests.support.harness import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """See ``ephemeral_cluster``."""
    with ephemeral_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def key(cluster: Cluster) -> str:
    """An account's own key."""
    return cluster.create_account("owner")
