"""A gateway's usage socket for tests that send what gateways send."""

from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from shared import zmq_sockets
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import SETTLE_S, Cluster, eventually

TOKENS = 10  # of a row


@contextmanager
def usage_socket(cluster: Cluster) -> Iterator["zmq.Socket[bytes]"]:
    """It is connected to the cluster's accountd; what is still queued at the end is sent."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        zmq_sockets.configure(push)
        push.setsockopt(zmq.LINGER, int(SETTLE_S * 1000))
        push.connect(cluster.env["ACCOUNTD_USAGE_ENDPOINT"])
        yield push


def charge(
    cluster: Cluster,
    push: "zmq.Socket[bytes]",
    account: str,
    *,
    rows: int,
    producer: bytes = b"p" * 16,
) -> None:
    """Charge an account so many long rows, and wait until all are there."""
    before = cluster.accountctl("account", "show", account)["token_remaining"]
    for number in range(1, rows + 1):
        session = f"{number:06}-{'long' * 50}"
        batch = UsageBatch(
            account, session, "openai", "gpt-realtime", "response", 1, (f"r{number}",),
            Usage(5, 5, TOKENS), 1_790_251_200_000 + number,
        )  # fmt: skip
        push.send_multipart(encode_envelope(producer, number, encode_usage(batch)))
    left = before - rows * TOKENS
    eventually(
        lambda: cluster.accountctl("account", "show", account)["token_remaining"] == left,
        seconds=60,
    )
