"""A gateway's usage socket for tests that send what gateways send."""

from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from shared import zmq_sockets
from tests.support.harness import SETTLE_S, Cluster


@contextmanager
def usage_socket(cluster: Cluster) -> Iterator["zmq.Socket[bytes]"]:
    """It is connected to the cluster's accountd; what is still queued at the end is sent."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        zmq_sockets.configure(push)
        push.setsockopt(zmq.LINGER, int(SETTLE_S * 1000))
        push.connect(cluster.env["ACCOUNTD_USAGE_ENDPOINT"])
        yield push
