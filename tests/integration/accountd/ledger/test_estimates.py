"""A real accountd and usage that no provider reported: few are free, and the operator is told."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shared.usage import Kind, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

NOW_MS = 1_790_000_000_000
TOLD = "estimates are charged from now on"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A daemon and an account of 1,000 tokens."""
    with cluster_folder() as found:
        found.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
        found.start_accountd()
        found.create_account("a", tokens=1_000)
        yield found


def send(cluster: Cluster, first: int, *times: int) -> list[int]:
    """Push estimates of 10 tokens that were metered then; the credits that each one took."""
    before = len(cluster.usage_rows("a"))
    with usage_socket(cluster) as push:
        for sequence, at_ms in enumerate(times, start=first):
            usage = Usage(10, 0, 10)
            batch = UsageBatch(
                "a", "s", "openai", "m", Kind.ESTIMATE, 1, (f"r{sequence}",), usage, at_ms
            )
            push.send_multipart(encode_envelope(b"p" * 16, sequence, encode_usage(batch)))
        eventually(lambda: len(cluster.usage_rows("a")) == before + len(times))
    return [row["credits"] for row in reversed(cluster.usage_rows("a"))][before:]


def charged_since(cluster: Cluster) -> str | None:
    """What ``account show`` says."""
    found: str | None = cluster.accountctl("account", "show", "a")["estimates_charged_since"]
    return found


def test_what_passes_the_bound_is_charged_from_then_on(cluster: Cluster) -> None:
    """Whenever it comes, also by the next process; the log, a number and the account say so."""
    accountd = cluster.accountd
    assert accountd is not None
    assert send(cluster, 1, NOW_MS, NOW_MS + 1, NOW_MS + 2) == [0, 0, 0]
    assert (charged_since(cluster), TOLD in accountd.log.read_text()) == (None, False)
    assert send(cluster, 4, NOW_MS + 3) == [10]
    assert charged_since(cluster) is not None
    assert f'{TOLD}" account_id=a' in accountd.log.read_text()
    assert accountd.metrics()["rts_accountd_estimates_begun_total"] == 1
    accountd.stop()
    cluster.start_accountd()
    assert send(cluster, 5, NOW_MS + 10**9) == [10]
    found = cluster.accountctl("usage", "a")
    assert found["estimates"] == {"rows": 5, "total_tokens": 50, "waived": 30}
    assert found["totals"]["credits"] == 20
    assert cluster.audit()["ok"]


def test_a_retried_estimate_that_passes_the_bound_is_not_the_last_that_is_charged(
    cluster: Cluster,
) -> None:
    """It was quarantined for want of its account, and counts like one that is just coming."""
    accountd = cluster.accountd
    assert accountd is not None
    with usage_socket(cluster) as push:
        batch = UsageBatch(
            "b",
            "s",
            "openai",
            "m",
            Kind.ESTIMATE,
            4,
            ("a", "b", "c", "d"),
            Usage(40, 0, 40),
            NOW_MS,
        )
        push.send_multipart(encode_envelope(b"q" * 16, 1, encode_usage(batch)))
        (waiting,) = eventually(lambda: cluster.accountctl("rejected", "list")["rejected"])
        cluster.create_account("b", tokens=1_000)
        cluster.accountctl("rejected", "retry", str(waiting["id"]))
        assert cluster.accountctl("account", "show", "b")["estimates_charged_since"] is not None
        assert f'{TOLD}" account_id=b' in accountd.log.read_text()
        assert accountd.metrics()["rts_accountd_estimates_begun_total"] == 1
        later = replace(batch, responses=1, response_ids=("e",), metered_at_ms=NOW_MS + 10**8)
        push.send_multipart(encode_envelope(b"q" * 16, 2, encode_usage(later)))
        rows = eventually(lambda: len(found := cluster.usage_rows("b")) == 2 and found)
    assert [row["credits"] for row in rows] == [40, 40]


def test_the_operator_can_forgive_it(cluster: Cluster) -> None:
    """Then nothing that was metered before counts any more, and the bound is a new one."""
    past, coming = NOW_MS, 2_500_000_000_000  # before and after the reset, by any clock
    assert send(cluster, 1, *[past] * 4) == [0, 0, 0, 10]
    shown = cluster.accountctl("account", "estimates", "a", "--reset")
    assert shown["estimates_charged_since"] is None
    assert send(cluster, 5, *[coming] * 4) == [0, 0, 0, 10]
    assert charged_since(cluster) is not None
    refused = cluster.run("accountctl", "account", "estimates", "nobody", "--reset")
    assert (refused.returncode, "no account 'nobody'" in refused.stderr) == (1, True)


@pytest.mark.parametrize(("bound", "credits"), [("0", [10, 10]), ("1", [0, 10])])
def test_the_bound_is_an_option(bound: str, credits: list[int]) -> None:  # noqa: A002
    """0 charges them all."""
    with cluster_folder() as cluster:
        cluster.start_accountd("--estimates-uncharged-max", bound)
        cluster.create_account("a")
        assert send(cluster, 1, NOW_MS, NOW_MS) == credits


@pytest.mark.parametrize("bound", ["-1", "1001", "some"])
def test_a_wrong_bound_is_refused(bound: str) -> None:
    """Before a socket opens."""
    with cluster_folder() as cluster:
        done = cluster.run("accountd", "serve", ACCOUNTD_ESTIMATES_UNCHARGED_MAX=bound)
        assert done.returncode == 78
        assert "ACCOUNTD_ESTIMATES_UNCHARGED_MAX: found" in done.stderr
        assert "expected an integer from 0 to 1000" in done.stderr
