"""Two gateways that store the conversations of named sessions."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder
from tests.support.named_sessions import providers


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two gateways that store, and live as long as the tests."""
    with cluster_folder() as running:
        running.start_accountd()
        running.start_simulator("--pace", "0")
        for _ in range(2):
            running.start_gateway(**providers(running))
        yield running
        for gateway in running.gateways:
            assert gateway.stop() == 0
        assert running.audit()["ok"]
        accounts = [row["id"] for row in running.ask("account.list", limit=None)["accounts"]]
        rows = [row for account in accounts for row in running.usage_rows(account)]
        charged = sum(row["total_tokens"] for row in rows if row["kind"] == "response")
        assert charged == sum(sent["charge"]["total_tokens"] for sent in running.usage_sent())
