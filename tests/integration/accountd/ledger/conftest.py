"""A running accountd and the socket by which a gateway sends it usage."""

from collections.abc import Iterator

import pytest
import zmq

from tests.support.harness import Cluster, cluster_folder
from tests.support.usage_socket import usage_socket


@pytest.fixture
def running() -> Iterator[Cluster]:
    """accountd with one account, ``acct``: 1,000 tokens and 100 top-up credits."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.create_account("acct", tokens=1_000, topup=100)
        yield cluster


@pytest.fixture
def push(running: Cluster) -> Iterator["zmq.Socket[bytes]"]:
    """A gateway's usage socket."""
    with usage_socket(running) as socket:
        yield socket
