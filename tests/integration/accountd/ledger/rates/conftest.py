"""An accountd with a rate card."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder
from tests.support.rate_card import CARD, card_of


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs, and the setting for a card that is there."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_RATE_CARD"] = str(cluster.folder / "rates.toml")
        card_of(cluster).write_text(CARD)
        yield cluster


@pytest.fixture
def running(prepared: Cluster) -> Cluster:
    """accountd with the card, and one account: 1,000 tokens and 100 top-up credits."""
    prepared.start_accountd()
    prepared.create_account("acct", tokens=1_000, topup=100)
    return prepared
