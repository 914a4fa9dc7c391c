"""Asks a running daemon: one request, one answer, over DEALER."""

from collections.abc import Mapping
from typing import Any, Final

import zmq

from shared import transport
from shared.errors import NotNowError, RefusedError, UnreachableError
from shared.wire import Request, WireError, decode_reply, encode_request

# Refusals that pass by themselves or by an operator's hand: the same request may then succeed.
_PASSING: Final = ("busy", "disk_full")


def call(endpoint: str, method: str, params: Mapping[str, Any]) -> Any:
    """The result of a request.

    Raises ``UnreachableError`` without an answer within ``RPC_DEADLINE_S``, and with the daemon's
    own words ``NotNowError`` when it cannot now and ``RefusedError`` when it refuses.
    """
    request_id = b"accountctl"
    try:
        request = encode_request(Request(method, params))
    except OverflowError:  # msgpack carries 64 bits
        raise RefusedError("bad_request: a number has more than 64 bits") from None
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        transport.configure(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        socket.send_multipart([request_id, request])
        if not socket.poll(int(transport.RPC_DEADLINE_S * 1000)):
            raise UnreachableError(
                f"no answer from accountd at {endpoint} within {transport.RPC_DEADLINE_S:g} s",
                hint="is it running? check ACCOUNTD_RPC_ENDPOINT, or start it: accountd serve",
            )
        frames = socket.recv_multipart()
    try:
        reply = decode_reply(frames[-1])
    except WireError as exc:
        raise UnreachableError(f"accountd answered nonsense: {exc}") from exc
    if reply.error is not None:
        code, message = reply.error
        refused = NotNowError if code in _PASSING else RefusedError
        raise refused(f"{code}: {message}")
    return reply.result
