"""Sends signed messages to the operator's URL, on a thread of its own, until they are accepted.

The format is that of Standard Webhooks (https://www.standardwebhooks.com), whose libraries verify
the signature. Every message is sent at least once, always with the same id. The thread does not use
the database: the daemon gives it messages, and reads their outcomes from it.
"""

import asyncio
import base64
import binascii
import hmac
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11
import structlog

from shared.metrics import Metric

log = structlog.get_logger()

# Standard Webhooks recommends 15 to 30 s for an attempt; a message that takes longer is sent again.
TIMEOUT_S: Final = 15.0
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 300.0
# A receiver that is repaired within a day still gets all messages; an older warning is outdated.
TRY_FOR_S: Final = 24 * 3600.0
# Messages in memory; further ones wait in the database. More than one interval between two attempts
# brings.
WAITING_MAX: Final = 1_000
CLOSE_S: Final = 1.0
_READ_BYTES: Final = 65_536
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - no secret
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64  # Standard Webhooks, "Signature scheme"
assert RETRY_S_MIN < RETRY_S_MAX < TRY_FOR_S


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """The URL of the receiver and the secret that signs. ``repr`` does not show the secret."""

    url: SplitResult
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A message to send. Each attempt sends the same bytes with the same id.

    ``row_id`` is its row in ``low_credit_warnings``; ``made_at`` is Unix time in seconds.
    """

    row_id: int
    message_id: str
    made_at: float
    body: bytes = field(repr=False)


class DeliveryOutcome(StrEnum):
    """The outcome of a message, as it is stored."""

    SENT = "sent"
    GIVEN_UP = "given_up"


def parse_url(text: str) -> SplitResult:
    """Parse the receiver's URL: https, or http on this machine. Raises ``ValueError``."""
    parts = urlsplit(text)
    try:
        _ = parts.port  # urlsplit checks the port when this property is read
    except ValueError:
        raise ValueError("expected a port from 0 to 65535") from None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    has_more = parts.fragment or "@" in parts.netloc  # a password in the URL would be logged
    if parts.scheme not in ("http", "https") or not parts.hostname or has_more or not is_plain:
        raise ValueError("expected http:// or https:// with a host, no user and no fragment")
    return parts


def parse_secret(text: str) -> bytes:
    """The bytes of a signing secret, ``whsec_`` and base64; raises ``ValueError``."""
    expected = (
        f"expected {SECRET_PREFIX} and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes in base64"
    )
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(expected) from None
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError(expected)
    return secret


def sign(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``; ``timestamp`` is Unix time in seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def backoff_s(failures: int, *, jitter: float) -> float:
    """The pause in seconds after ``failures`` in a row (from 1); ``jitter`` is 0 to 1.

    The interval doubles with each failure, and ``jitter`` takes up to half of it away, so that
    daemons whose attempts failed together do not all retry together.
    """
    assert failures >= 1
    longest = min(RETRY_S_MAX, RETRY_S_MIN * 2.0 ** min(failures - 1, 32))
    return longest * (0.5 + 0.5 * jitter)


def post(target: WebhookTarget, message: WebhookMessage, *, now: float) -> str:
    """Send ``message`` once. Returns the reason of a failure; empty when it was accepted."""
    timestamp = int(now)
    signature = sign(
        target.secret, message_id=message.message_id, timestamp=timestamp, body=message.body
    )
    headers = {
        "host": target.url.netloc,
        "content-type": "application/json",
        "content-length": str(len(message.body)),
        "connection": "close",
        "user-agent": "realtime-switch",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
    path = (target.url.path or "/") + (f"?{target.url.query}" if target.url.query else "")
    try:
        head = h11.Request(method="POST", target=path, headers=list(headers.items()))
        status = asyncio.run(_exchange(target.url, head, message.body))
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:g} s"
    except (OSError, h11.ProtocolError, ValueError) as exc:
        return f"{type(exc).__name__}: {exc}"
    return "" if 200 <= status < 300 else f"answered {status}"  # a redirect is not followed


class WebhookSender:
    """The thread that sends, one message at a time.

    After a failure it pauses and continues with the next message, so that a message which the
    receiver refuses does not block the others. The failed message goes to the end of the queue.
    """

    def __init__(self, target: WebhookTarget) -> None:
        self._target = target
        self._waiting: deque[WebhookMessage] = deque()
        self._finished: deque[tuple[int, DeliveryOutcome]] = deque()
        self._failures = 0  # since the last success
        self._not_before = 0.0
        self._is_stopping = False
        self._changed = threading.Condition()
        self._sent = self._failed = self._given_up = 0
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def metrics(self) -> list[Metric]:
        """The metrics; counters begin at 0 with the process."""
        return [
            Metric(
                "rts_accountd_webhook_sent", "counter", "Webhook messages that arrived.",
                lambda: self._sent,
            ),
            Metric(
                "rts_accountd_webhook_failures", "counter",
                "Attempts to send that did not arrive.", lambda: self._failed,
            ),
            Metric(
                "rts_accountd_webhook_given_up", "counter",
                "Webhook messages that could not be sent in time.", lambda: self._given_up,
            ),
            Metric(
                "rts_accountd_webhook_waiting", "gauge", "Webhook messages to be sent.",
                lambda: len(self._waiting),
            ),
        ]  # fmt: skip

    @property
    def capacity(self) -> int:
        """The number of messages that ``put`` accepts. Until the next ``put`` it does not fall."""
        with self._changed:  # a failed message leaves the queue and returns under this lock
            return WAITING_MAX - len(self._waiting)

    def put(self, messages: Iterable[WebhookMessage]) -> None:
        """Queue messages, at most ``capacity``."""
        with self._changed:
            self._waiting.extend(messages)
            assert self.capacity >= 0
            self._changed.notify()

    def finished(self) -> list[tuple[int, DeliveryOutcome]]:
        """The ``row_id`` and the outcome of finished messages, until ``forget`` removes them."""
        with self._changed:
            return list(self._finished)

    def forget(self, count: int) -> None:
        """Remove the first ``count`` of ``finished``, which have been stored."""
        with self._changed:
            for _ in range(count):
                self._finished.popleft()

    def close(self) -> None:
        """Stop the thread. The next process sends an interrupted message again."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (message := self._next()) is not None:
            failure = post(self._target, message, now=time.time())
            with self._changed:
                self._settle(message, failure)

    def _next(self) -> WebhookMessage | None:
        """Wait for the message to send, which stays in the queue; None when the thread stops."""
        with self._changed:
            while not self._is_stopping:
                wait_s = max(0.0, self._not_before - time.monotonic())
                if self._waiting and not wait_s:
                    return self._waiting[0]
                self._changed.wait(wait_s if self._waiting else None)
        return None

    def _settle(self, message: WebhookMessage, failure: str) -> None:
        self._waiting.popleft()
        fields = {"webhook_id": message.message_id, "host": self._target.url.hostname}
        if not failure:
            self._sent += 1
            self._failures = 0
            self._not_before = 0.0
            log.info("webhook sent", **fields)
            self._finished.append((message.row_id, DeliveryOutcome.SENT))
            return
        self._failed += 1
        self._failures += 1
        wait_s = backoff_s(self._failures, jitter=random.random())  # noqa: S311 - no secret
        self._not_before = time.monotonic() + wait_s
        if time.time() + wait_s < message.made_at + TRY_FOR_S:
            log.warning("webhook not delivered", why=failure, retry_s=round(wait_s, 1), **fields)
            self._waiting.append(message)
        else:
            self._given_up += 1
            log.error("webhook given up", why=failure, **fields)
            self._finished.append((message.row_id, DeliveryOutcome.GIVEN_UP))


# --- helpers -------------------------------------------------------------------------------------


async def _exchange(url: SplitResult, head: h11.Request, body: bytes) -> int:
    """Send the request; returns the status of the answer.

    ``TIMEOUT_S`` covers the whole exchange, so a receiver that sends single bytes cannot prolong
    it. Raises ``TimeoutError``, ``OSError``, ``h11.ProtocolError``, ``ValueError``.
    """
    is_secure = url.scheme == "https"
    context = ssl.create_default_context() if is_secure else None
    connection = h11.Connection(h11.CLIENT)
    asked = (head, h11.Data(data=body), h11.EndOfMessage())
    async with asyncio.timeout(TIMEOUT_S):
        port = url.port or (443 if is_secure else 80)
        reader, writer = await asyncio.open_connection(url.hostname, port, ssl=context)
        try:
            writer.write(b"".join(connection.send(event) or b"" for event in asked))
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(_READ_BYTES))
                elif isinstance(event, h11.Response):
                    return event.status_code
        finally:
            writer.transport.abort()
