"""Dispatches the requests that arrive on ROUTER to their handlers.

Short requests that write or authorize are answered on the daemon's thread. Reports run on one
reader thread with a connection of its own; their answers are passed back, because only the daemon's
thread may use the socket.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import structlog

from accountd.data import models
from accountd.data.database import FATAL_ERRORS, Trouble, error_name, passing_trouble
from accountd.ledger import rejected
from accountd.notifications.announcer import Announcer, applied_of
from accountd.reports import audit, console, queries, rate_check
from accountd.request_params import Params, RequestError
from accountd.services import Services
from shared.announcements import encode_balance
from shared.wire import (
    LEVEL,
    MESSAGE_BYTES_MAX,
    PRODUCER_BYTES,
    Reply,
    Request,
    WireError,
    decode_request,
    encode_reply,
)

log = structlog.get_logger()

Answer = Callable[[Params], Any]

_PASSING: Final = {
    Trouble.DISK_FULL: ("disk_full", "the disk is full; free some space"),
    Trouble.LOCKED: ("busy", "another program has locked the database; close it"),
}

_TOO_LARGE: Final = "the answer is too large; use --limit, or --since and --until"
REPORTS_WAITING_MAX: Final = 64
# A gateway asks about its own producer and those that it adopted; 1,000 fit into one message.
SYNC_PRODUCERS_MAX: Final = 1_000
# A gateway asks about accounts whose announcement is overdue.
BALANCES_MAX: Final = 1_000
# accountctl reads an answer of any size. This bounds the memory that one report may take.
REPLY_BYTES_MAX: Final = 64 * 1024 * 1024
assert MESSAGE_BYTES_MAX < REPLY_BYTES_MAX
assert SYNC_PRODUCERS_MAX * (PRODUCER_BYTES + 8) < MESSAGE_BYTES_MAX


class Rpc:
    """Answers requests. ``wakeup`` is a descriptor that is readable when reports are done."""

    def __init__(self, services: Services, announcer: Announcer, *, epoch: int) -> None:
        accounts, grants, handles = services.accounts, services.grants, services.handles
        quarantine, rate_card = services.quarantine, services.rate_card
        self._ledger = services.ledger
        self._announcer = announcer
        self._epoch = epoch
        self._here: Mapping[str, Answer] = {
            "ping": lambda _params: {"level": LEVEL, "epoch": self._epoch},
            "sync": self._sync,
            "balances": self._balances,
            "rates": rate_card.answer,
            "authorize": accounts.authorize,
            "handles.learn": handles.learn,
            "handles.use": handles.use,
            "account.create": accounts.create,
            "account.topup": grants.topup,
            "account.renew": grants.renew,
            "account.adjust": grants.adjust,
            "account.mark": accounts.set_mark,
            "account.reset_estimates": accounts.reset_estimates,
            "account.enable": accounts.enable,
            "account.disable": accounts.disable,
            "key.create": accounts.create_key,
            "key.revoke": accounts.revoke_key,
            "rejected.retry": quarantine.retry,
            "rejected.dismiss": quarantine.dismiss,
        }
        self._reports: Mapping[str, Answer] = {
            "account.show": queries.show_account,
            "account.list": queries.list_accounts,
            "key.list": queries.list_keys,
            "usage": queries.usage,
            "usage.rows": queries.usage_rows,
            "audit": audit.audit,
            "rates.check": rate_check.checking(lambda: rate_card.rates),
            "console.account": console.account,
            "console.keys": console.keys,
            "console.usage": console.usage,
            "console.rows": console.rows,
            "rejected.list": rejected.list_rejected,
            "rejected.show": rejected.show_rejected,
        }
        self._reader = ThreadPoolExecutor(1, "reader", initializer=_prepare_reader)
        self._waiting = 0
        self._done: deque[tuple[list[bytes], bytes]] = deque()
        # The error of a report that has to end the daemon: an I/O error or a corrupt page.
        self.failure: BaseException | None = None
        self.wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def receive(self, frames: list[bytes]) -> list[bytes] | None:
        """Serve one message; the frames of the answer, or None when it comes later or never."""
        if len(frames) != 3:
            log.warning("request ignored", frames=len(frames))
            return None
        address, payload = frames[:2], frames[2]
        try:
            request = decode_request(payload)
        except WireError as exc:
            return [*address, encode_reply(Reply(error=("bad_request", str(exc))))]
        if request.method in self._reports:
            return self._hand_over(address, request)
        answer = self._here.get(request.method, _unknown(request.method))
        return [*address, _answer(answer, request)]

    def finished(self) -> list[list[bytes]]:
        """The frames of all answers that the reader thread has ready."""
        try:
            os.eventfd_read(self.wakeup)
        except BlockingIOError:
            return []
        ready = []
        while self._done:
            address, payload = self._done.popleft()
            self._waiting -= 1
            ready.append([*address, payload])
        return ready

    def close(self) -> None:
        """Wait for the report in progress, then end the reader thread."""
        self._reader.submit(models.database.close)
        self._reader.shutdown()
        os.close(self.wakeup)

    def _sync(self, params: Params) -> Any:
        """The watermarks as PUB announces them, for a gateway that missed the announcement.

        Called between two transactions, so the writer's connection reads committed state only.
        """
        producers = params.binaries("producers", length=PRODUCER_BYTES, at_most=SYNC_PRODUCERS_MAX)
        return {"epoch": self._epoch, "applied_through": self._ledger.applied_through(producers)}

    def _balances(self, params: Params) -> Any:
        """The balances as PUB announces them, for a gateway that missed the announcement."""
        accounts = params.texts("accounts", at_most=BALANCES_MAX)
        producers = params.binaries("producers", length=PRODUCER_BYTES, at_most=SYNC_PRODUCERS_MAX)
        windows = self._ledger.windows(producers)
        applied = {p: applied_of(w.applied_through, w.ahead) for p, w in windows.items()}
        found = self._announcer.balances(accounts, applied)
        return {"balances": [encode_balance(balance) for balance in found]}

    def _hand_over(self, address: list[bytes], request: Request) -> list[bytes] | None:
        if self._waiting >= REPORTS_WAITING_MAX:
            return [*address, encode_reply(Reply(error=("busy", "too many reports wait")))]
        self._waiting += 1
        report = self._reader.submit(_answer, self._reports[request.method], request)

        def done(future: Future[bytes]) -> None:
            self.failure = future.exception() or self.failure
            unread = encode_reply(Reply(error=("internal", "the database cannot be read")))
            self._done.append((address, unread if future.exception() else future.result()))
            os.eventfd_write(self.wakeup, 1)

        report.add_done_callback(done)
        return None


def _prepare_reader() -> None:
    """Give the reader thread a connection of its own that cannot write."""
    models.database.connect(reuse_if_open=True)
    models.database.execute_sql("PRAGMA query_only = 1")


def _unknown(method: str) -> Answer:
    def answer(_params: Params) -> Any:
        raise RequestError("unknown_method", f"no method {method[:80]!r}; is accountd older?")

    return answer


def _answer(answer: Answer, request: Request) -> bytes:
    """Handle one request; returns the encoded reply.

    Raises I/O errors and the like, which end the daemon; other errors become a reply.
    """
    try:
        encoded = encode_reply(Reply(result=answer(Params(request.params))))
    except RequestError as exc:
        return encode_reply(Reply(error=(exc.code, str(exc))))
    except Exception as exc:
        name = error_name(exc)
        trouble = passing_trouble(exc)
        if trouble is not None:
            return encode_reply(Reply(error=_PASSING[trouble]))
        if name.startswith(FATAL_ERRORS):
            raise
        log.exception("request failed", method=request.method)
        return encode_reply(Reply(error=("internal", f"accountd failed: {type(exc).__name__}")))
    if len(encoded) > REPLY_BYTES_MAX:
        return encode_reply(Reply(error=("too_large", _TOO_LARGE)))
    return encoded
