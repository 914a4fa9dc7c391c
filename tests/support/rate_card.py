"""A rate card of a test, what is charged by it, and how accountd is told of another one."""

import signal
from pathlib import Path
from typing import Any

from accountd.ctl.client import call
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, Daemon, eventually
from tests.support.usage_socket import usage_socket

CARD = """
version = "2026-11"
[[rates]]
provider = "openai"
model = "gpt-realtime*"
input = 500_000
audio_input = 2_500_000
cached_input = 100_000
output = 4_000_000
[[rates]]
provider = "openai"
model = "whisper*"
transcription_second = 1_500_000
"""


def card_of(cluster: Cluster) -> Path:
    """The file."""
    return Path(cluster.env["ACCOUNTD_RATE_CARD"])


def daemon_of(cluster: Cluster) -> Daemon:
    """The one that runs."""
    assert cluster.accountd is not None
    return cluster.accountd


def batch(model: str = "gpt-realtime", kind: str = "response", **counts: int) -> UsageBatch:
    """One response of the account."""
    usage = Usage(**counts)
    return UsageBatch("acct", "s", "openai", model, kind, 1, ("r",), usage, 1_790_000_000_000)


def send(
    cluster: Cluster, *batches: UsageBatch, first: int = 1, producer: bytes = b"p" * 16
) -> None:
    """Push batches as a gateway does, and wait until they have rows."""
    before = len(cluster.usage_rows("acct"))
    with usage_socket(cluster) as push:
        for sequence, sent in enumerate(batches, start=first):
            push.send_multipart(encode_envelope(producer, sequence, encode_usage(sent)))
        eventually(lambda: len(cluster.usage_rows("acct")) == before + len(batches))


def reload(cluster: Cluster, content: str, event: str) -> str:
    """Write the card, send SIGHUP, and return the line in the log that answers it."""
    daemon = daemon_of(cluster)
    seen = daemon.log.read_text().count(event)
    card_of(cluster).write_text(content)
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.log.read_text().count(event) > seen)
    return [line for line in daemon.log.read_text().splitlines() if event in line][-1]


def charges(cluster: Cluster) -> list[tuple[int, str]]:
    """Credits and card of every row, oldest first."""
    return [(r["credits"], r["rate_card"]) for r in reversed(cluster.usage_rows("acct"))]


def ask(cluster: Cluster) -> Any:
    """What accountd tells gateways."""
    return call(cluster.env["ACCOUNTD_RPC_ENDPOINT"], "rates", {})
