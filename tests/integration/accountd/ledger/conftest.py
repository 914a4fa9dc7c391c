"""A running accountd, with a rate card or without, and the socket by which it is sent usage."""

from collections.abc import Iterator

import pytest
import zmq

from tests.support.harness import Cluster, cluster_folder
from tests.support.rate_card import CARD, card_of
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


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs, and the setting for a card that is there."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_RATE_CARD"] = str(cluster.folder / "rates.toml")
        card_of(cluster).write_text(CARD)
        yield cluster


@pytest.fixture
def priced(prepared: Cluster) -> Cluster:
    """accountd with the card, and one account: 1,000 tokens and 100 top-up credits."""
    prepared.start_accountd()
    prepared.create_account("acct", tokens=1_000, topup=100)
    return prepared
