"""Sends a request to the running daemon over DEALER and waits for its answer."""

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import zmq

from shared import zmq_sockets
from shared.errors import ExitCode, NotNowError, RefusedError, UnreachableError
from shared.fields import MESSAGE_BYTES_MAX, WireError
from shared.requests import Request, decode_reply, encode_request

INTEGER_MIN: Final = -(2**63)  # msgpack has integers from the least int64 to the largest uint64
INTEGER_MAX: Final = 2**64 - 1
_ASKED, _PINGED = b"accountctl", b"ping"  # what tells the answers apart
_PING: Final = encode_request(Request("ping"))
# Temporary refusals: the same request may succeed later, in some cases after an operator has acted.
_PASSING: Final = ("busy", "disk_full")


class UnsendableError(RefusedError):
    """The request has a value that msgpack cannot encode."""

    exit_code = ExitCode.USAGE


def call(endpoint: str, method: str, params: Mapping[str, Any]) -> Any:
    """The result of a request.

    A report may take minutes. It is waited for as long as the daemon answers pings meanwhile.
    Raises ``UnsendableError`` for values that cannot be encoded, ``UnreachableError`` without any
    answer within ``RPC_DEADLINE_S``, and with the daemon's message ``NotNowError`` for a temporary
    refusal and ``RefusedError`` for any other.
    """
    _check_text("ACCOUNTD_RPC_ENDPOINT", endpoint)
    payload = _encoded(Request(method, params))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        zmq_sockets.configure(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        socket.send_multipart([_ASKED, payload])
        frames = _answer(socket, endpoint)
    try:
        reply = decode_reply(frames[-1])
    except WireError as exc:
        raise UnreachableError(f"accountd answered nonsense: {exc}") from exc
    if reply.error is not None:
        code, message = reply.error
        refused = NotNowError if code in _PASSING else RefusedError
        raise refused(f"{code}: {message}")
    if reply.warning is not None:
        sys.stderr.write(f"warning: {reply.warning}\n")
    return reply.result


def _answer(socket: "zmq.Socket[bytes]", endpoint: str) -> list[bytes]:
    """The frames of the answer to ``_ASKED``."""
    epoch: object = None
    has_told = False
    while True:
        socket.send_multipart([_PINGED, _PING])
        deadline = time.monotonic() + zmq_sockets.RPC_DEADLINE_S
        is_alive = False  # answers a ping, and is of the boot that answered the first
        while (left_s := deadline - time.monotonic()) > 0:
            if socket.poll(math.ceil(left_s * 1000)):
                frames = socket.recv_multipart()
                if frames[0] == _ASKED:
                    return frames
                found = _epoch(frames)
                epoch = epoch or found
                if found != epoch:
                    raise UnreachableError(
                        f"accountd at {endpoint} was started anew before it answered",
                        hint="look whether it was done, then ask again",
                    )
                is_alive = epoch is not None
        if not is_alive:
            raise UnreachableError(
                f"no answer from accountd at {endpoint} within {zmq_sockets.RPC_DEADLINE_S:g} s",
                hint="is it running? check ACCOUNTD_RPC_ENDPOINT (absent: this folder's, or that of"
                " the last make up), or start it: accountd serve",
            )
        if not has_told and sys.stderr.isatty():
            sys.stderr.write("accountd is at work …\n")
            has_told = True


def _epoch(frames: list[bytes]) -> object:
    """The boot that has answered a ping; None where the answer is an error, or has no epoch."""
    try:
        result = decode_reply(frames[-1]).result
    except WireError:
        return None
    return result.get("epoch") if isinstance(result, dict) else None


def _encoded(request: Request) -> bytes:
    for name, given in request.params.items():
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
                raise UnsendableError(f"{name}: found {value}, expected an integer of 64 bits")
            if isinstance(value, str):
                _check_text(name, value)
    payload = encode_request(request)
    if len(payload) > MESSAGE_BYTES_MAX:
        raise UnsendableError(
            f"expected at most {MESSAGE_BYTES_MAX:,} bytes, found {len(payload):,}"
        )
    return payload


def _check_text(name: str, value: str) -> None:
    """Refuse surrogates: Python puts them into an argument that is not UTF-8 (PEP 383)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnsendableError(f"{name}: found {value!r}, expected UTF-8 text") from None
