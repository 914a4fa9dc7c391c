"""Sends messages to the operator's URL: signed, on a thread of its own, until they arrive.

The form is that of Standard Webhooks (https://www.standardwebhooks.com), so that its libraries can
verify it. Every message is sent at least once, always under the same id. The thread never touches
the database: the daemon puts messages in, and takes out what became of them.
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

# Standard Webhooks: a receiver has 15 to 30 s; what takes longer is sent again.
TIMEOUT_S: Final = 15.0
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 300.0
# A receiver that is repaired the next day still gets everything; an older warning is stale.
TRY_FOR_S: Final = 24 * 3600.0
# More accounts than fall to their marks between two attempts; the others wait in the database.
WAITING_MAX: Final = 1_000
CLOSE_S: Final = 1.0
_READ_BYTES: Final = 65_536
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - no secret
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64  # Standard Webhooks, "Signature scheme"
assert RETRY_S_MIN < RETRY_S_MAX < TRY_FOR_S


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """Where messages go and what signs them. The secret stays out of its text."""

    url: SplitResult
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """What is to be sent: the same bytes under the same id, however often.

    ``row_id`` is the sender's own name for it; ``made_at`` is Unix time in seconds.
    """

    row_id: int
    message_id: str
    made_at: float
    body: bytes = field(repr=False)


class DeliveryOutcome(StrEnum):
    """What became of a message."""

    SENT = "sent"
    GIVEN_UP = "given_up"


def parse_url(text: str) -> SplitResult:
    """A URL to send to; raises ``ValueError``. http is for receivers on this machine."""
    parts = urlsplit(text)
    try:
        _ = parts.port  # urlsplit checks the port only when it is asked for
    except ValueError:
        raise ValueError("expected a port from 0 to 65535") from None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    has_more = parts.fragment or "@" in parts.netloc  # a password would end up in logs
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
    """How long to wait after so many failures in a row (from 1); ``jitter`` is 0 to 1.

    Between half and all of an interval that doubles: daemons that failed together must
    not come back together.
    """
    assert failures >= 1
    longest = min(RETRY_S_MAX, RETRY_S_MIN * 2.0 ** min(failures - 1, 32))
    return longest * (0.5 + 0.5 * jitter)


def post(target: WebhookTarget, message: WebhookMessage, *, now: float) -> str:
    """Send ``message`` once. The answer is why it did not arrive, empty when it did."""
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

    After a failure it waits, and goes on with the next message: one that a receiver does not like
    must not hold the others back, and a receiver that is down is not hurried.
    """

    def __init__(self, target: WebhookTarget) -> None:
        self._target = target
        self._waiting: deque[WebhookMessage] = deque()
        self._finished: deque[tuple[int, DeliveryOutcome]] = deque()
        self._failures = 0  # in a row
        self._not_before = 0.0
        self._is_stopping = False
        self._changed = threading.Condition()
        self._sent = self._failed = self._given_up = 0
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def metrics(self) -> list[Metric]:
        """The numbers of this boot."""
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
    def room(self) -> int:
        """How many messages may be put in. It only grows until the next ``put``."""
        with self._changed:  # a failed message leaves the queue and returns under this lock
            return WAITING_MAX - len(self._waiting)

    def put(self, messages: Iterable[WebhookMessage]) -> None:
        """Take messages to send, at most ``room``."""
        with self._changed:
            self._waiting.extend(messages)
            assert self.room >= 0
            self._changed.notify()

    def finished(self) -> list[tuple[int, DeliveryOutcome]]:
        """What became of messages, by ``row_id``; the same until ``forget``."""
        with self._changed:
            return list(self._finished)

    def forget(self, count: int) -> None:
        """The first ``count`` of ``finished`` are stored."""
        with self._changed:
            for _ in range(count):
                self._finished.popleft()

    def close(self) -> None:
        """Stop. A message that is being sent is sent again by the next process."""
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
        """The message to send now, which stays first; None at the end."""
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
    """The status of the answer, within ``TIMEOUT_S`` in all: a receiver that drips has no more.

    Raises ``TimeoutError``, ``OSError``, ``h11.ProtocolError``, ``ValueError``.
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
