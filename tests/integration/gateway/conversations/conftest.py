"""Two gateways that store the conversations of named sessions."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.named_sessions import providers


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two gateways that store, and live as long as the tests; in the end all that the providers
    reported is charged, once.
    """
    with cluster_folder() as running:
        running.start_accountd()
        running.start_simulator("--pace", "0")
        for _ in range(2):
            running.start_gateway(**providers(running))
        yield running
        # One that was killed has left its usage in the spool: another one looks there each 5 s.
        eventually(lambda: charged(running) == reported(running))
        for gateway in running.gateways:
            assert gateway.stop() == 0
        assert running.audit()["ok"]
        assert charged(running) == reported(running)


def charged(cluster: Cluster) -> int:
    """The tokens of all responses in the rows of all accounts."""
    accounts = [row["id"] for row in cluster.ask("account.list", limit=None)["accounts"]]
    rows = [row for account in accounts for row in cluster.usage_rows(account)]
    return sum(row["total_tokens"] for row in rows if row["kind"] == "response")


def reported(cluster: Cluster) -> int:
    """The tokens that the simulator says it reported."""
    return sum(sent["charge"]["total_tokens"] for sent in cluster.usage_sent())
