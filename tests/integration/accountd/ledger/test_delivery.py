"""What a gateway hears from accountd: watermarks after COMMIT, repeated, or asked for."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from accountd.ctl.client import call
from shared import zmq_sockets
from shared.announcements import Watermark, decode_watermark, watermark_topic
from shared.errors import RefusedError
from shared.usage import EndOfProducer, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.deadlines import within
from tests.support.harness import Cluster, cluster_folder, eventually

PRODUCER, OTHER = b"p" * 16, b"q" * 16
END = encode_usage(EndOfProducer())
HEARD_S = 5.0


@pytest.fixture
def running() -> Iterator[Cluster]:
    """accountd with one account, ``acct``: 1,000 tokens and 100 top-up credits."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.create_account("acct", tokens=1_000, topup=100)
        yield cluster


class Gateway:
    """The two sockets of a gateway's usage: PUSH out, SUB in."""

    def __init__(self, cluster: Cluster, context: "zmq.Context[Any]") -> None:
        self.push = self._connect(context, zmq.PUSH, cluster.env["ACCOUNTD_USAGE_ENDPOINT"])
        self.sub = self._connect(context, zmq.SUB, cluster.env["ACCOUNTD_EVENTS_ENDPOINT"])

    def send(
        self, *sequences: int, payload: bytes | None = None, producer: bytes = PRODUCER
    ) -> None:
        """Send batches; each sequence has its own content unless ``payload`` is given."""
        for sequence in sequences:
            content = usage(sequence) if payload is None else payload
            self.push.send_multipart(encode_envelope(producer, sequence, content))

    def listen(self, producer: bytes = PRODUCER) -> None:
        """Hear about a producer."""
        self.sub.setsockopt(zmq.SUBSCRIBE, watermark_topic(producer))

    def heard(self) -> Watermark | None:
        """The next announcement, or None when none comes."""
        if not self.sub.poll(int(HEARD_S * 1000)):
            return None
        return decode_watermark(self.sub.recv_multipart())

    def wait_for(self, applied_through: int) -> Watermark:
        """The announcement of that watermark, whatever comes before it."""

        def found() -> Watermark | None:
            heard = self.heard()
            return heard if heard and heard.applied_through == applied_through else None

        watermark = eventually(found)
        assert watermark is not None
        return watermark

    def _connect(self, context: Any, kind: int, endpoint: str) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = context.socket(kind)
        zmq_sockets.configure(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        return socket


@contextmanager
def gateway_of(cluster: Cluster) -> Iterator[Gateway]:
    """A gateway that hears about ``PRODUCER``."""
    with zmq.Context() as context:
        gateway = Gateway(cluster, context)
        gateway.listen()
        try:
            yield gateway
        finally:
            gateway.push.close()
            gateway.sub.close()


@pytest.fixture
def gateway(running: Cluster) -> Iterator[Gateway]:
    """A gateway of the running cluster."""
    with gateway_of(running) as made:
        yield made


def usage(tokens: int, **changes: Any) -> bytes:
    """A payload of one response."""
    fields: dict[str, Any] = {
        "account_id": "acct", "session_id": "s", "provider": "openai", "model": "m",
        "kind": "response", "responses": 1, "response_ids": ("r",),
        "usage": Usage(tokens, 0, tokens), "metered_at_ms": 1_790_000_000_000,
    }  # fmt: skip
    return encode_usage(UsageBatch(**{**fields, **changes}))


def sync(cluster: Cluster, producers: list[Any]) -> Any:
    """The answer of RPC ``sync``."""
    return call(cluster.env["ACCOUNTD_RPC_ENDPOINT"], "sync", {"producers": producers})


def test_the_watermark_is_announced_once_it_is_durable(running: Cluster, gateway: Gateway) -> None:
    """What is heard is in the database, and a gap holds it back."""
    gateway.send(1, 2, 4)
    heard = gateway.wait_for(2)
    assert heard.producer == PRODUCER
    # The message beyond the gap may be in the next group.
    eventually(lambda: running.accountctl("usage", "acct")["totals"]["total_tokens"] == 7)
    assert running.accountd is not None
    running.accountd.stop(signal.SIGKILL)  # nothing that was announced may be lost by this
    running.start_accountd()
    assert sync(running, [PRODUCER])["applied_through"] == [2]
    assert running.accountctl("usage", "acct")["totals"]["total_tokens"] == 7
    gateway.send(3)
    assert gateway.wait_for(4).epoch > heard.epoch


def test_each_producer_has_its_own_topic(gateway: Gateway) -> None:
    """Who listens to one producer does not hear of another."""
    gateway.send(1, 2, 3, producer=OTHER)
    gateway.send(1)
    for _ in range(3):
        heard = gateway.heard()
        assert heard is not None
        assert (heard.producer, heard.applied_through) == (PRODUCER, 1)


def test_duplicates_are_answered(running: Cluster, gateway: Gateway) -> None:
    """A gateway that sends again what is durable hears the watermark at once."""
    gateway.send(1, 2)
    gateway.wait_for(2)
    with within(HEARD_S, running.accountd):
        for _ in range(10):
            gateway.send(1)
            assert gateway.heard() is not None


def test_watermarks_are_repeated(running: Cluster, gateway: Gateway) -> None:
    """A gateway that missed the announcement hears it again within a second."""
    started = time.monotonic()
    gateway.send(1)
    gateway.wait_for(1)
    with within(HEARD_S, running.accountd):
        for _ in range(3):
            heard = gateway.heard()
            assert heard is not None
            assert heard.applied_through == 1
    assert time.monotonic() - started > 1.0, "not without a pause"


def test_sync_answers_what_pub_would_have_said(running: Cluster, gateway: Gateway) -> None:
    """In the order of the question; an unknown producer has nothing applied."""
    gateway.send(1, 2, 3)
    epoch = gateway.wait_for(3).epoch
    gateway.send(1, producer=OTHER)
    eventually(lambda: sync(running, [OTHER])["applied_through"] == [1])
    found = sync(running, [OTHER, b"u" * 16, PRODUCER])
    assert found == {"epoch": epoch, "applied_through": [1, 0, 3]}
    assert len(sync(running, [PRODUCER] * 1000)["applied_through"]) == 1000


@pytest.mark.parametrize("producers", [[], [b"short"], [5], "p" * 16, [b"p" * 16] * 1001])
def test_sync_refuses_what_is_no_list_of_producers(running: Cluster, producers: Any) -> None:
    """One line, and the daemon goes on."""
    with pytest.raises(RefusedError, match="bad_request: producers"):
        sync(running, producers)
    assert sync(running, [PRODUCER])["applied_through"] == [0]


def test_the_epoch_grows_over_restarts_and_a_restored_backup(running: Cluster) -> None:
    """Also when the database is an older copy: the clock is part of it."""
    assert running.accountd is not None
    database = running.folder / "accounts.db"
    epochs = [sync(running, [PRODUCER])["epoch"]]
    running.accountd.stop()
    backup = database.read_bytes()
    for _ in range(2):
        running.start_accountd()
        epochs.append(sync(running, [PRODUCER])["epoch"])
        running.accountd.stop()
    database.write_bytes(backup)
    running.start_accountd()
    epochs.append(sync(running, [PRODUCER])["epoch"])
    assert epochs == sorted(set(epochs))
    assert epochs[0] > 1_700_000_000_000


def test_a_conflict_is_quarantined_and_alarmed(running: Cluster, gateway: Gateway) -> None:
    """Two machines with one producer id: the first is charged, the second kept."""
    gateway.send(1)
    gateway.wait_for(1)
    for _ in range(3):
        gateway.send(1, payload=usage(77))
        gateway.send(1)
    gateway.send(2)
    gateway.wait_for(2)
    assert running.accountctl("usage", "acct")["totals"]["total_tokens"] == 3
    assert running.accountd is not None
    alarms = [x for x in running.accountd.complaints() if "usage conflicts" in x]
    assert len(alarms) == 1
    assert "level=error" in alarms[0]
    assert running.audit()["rejected"] == 1


@pytest.mark.parametrize("is_option", [False, True])
@pytest.mark.parametrize(("setting", "charged"), [("no", 0), ("yes", 30)])
def test_estimates_are_recorded_and_charged_on_request(
    setting: str, charged: int, is_option: bool
) -> None:
    """``ACCOUNTD_CHARGE_ESTIMATES`` decides, or the option that overrides it."""
    with cluster_folder() as cluster:
        if is_option:
            cluster.start_accountd("--charge-estimates", setting)
        else:
            cluster.env["ACCOUNTD_CHARGE_ESTIMATES"] = setting
            cluster.start_accountd()
        cluster.create_account("acct", tokens=1_000)
        with gateway_of(cluster) as gateway:
            gateway.send(1, payload=usage(30, kind="estimate"))
            gateway.send(2, payload=usage(5))
            gateway.wait_for(2)
        shown = cluster.accountctl("account", "show", "acct")
        assert shown["token_remaining"] == 995 - charged
        assert cluster.audit()["ok"]
