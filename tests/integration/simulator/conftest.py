"""A simulator to talk to, one for each module."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster
from tests.support.simulator_client import simulator


@pytest.fixture(scope="module")
def provider() -> Iterator[Cluster]:
    """A simulator on its own."""
    with simulator() as cluster:
        yield cluster
