"""Answers requests: the handler of each method, on which thread it runs, and what errors become.

What writes, or tells of the daemon's loop, runs on the daemon's thread, between two groups of
usage. ``authorize``, ``leases`` and ``recalls`` run on the thread of requests and wait for no
group; reports run on a thread of their own. Both threads only read, each with a connection of its
own (``rpc_thread``).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from accountd.data.database import FATAL_ERRORS, Trouble, error_name, passing_trouble
from accountd.data.snapshots import INTERRUPTED
from accountd.ledger import rejected
from accountd.notifications.announcer import Announcer, applied_of
from accountd.reports import audit, console, conversations, exports, queries, rate_check
from accountd.request_params import Params, RequestError
from accountd.services import Services
from shared.announcements import encode_balance
from shared.fields import MESSAGE_BYTES_MAX
from shared.requests import Reply, Request, encode_reply
from shared.wire import LEVEL, PRODUCER_BYTES

log = structlog.get_logger()

Answer = Callable[[Params], Any]

_PASSING: Final = {
    Trouble.DISK_FULL: ("disk_full", "the disk is full; free some space"),
    Trouble.LOCKED: ("busy", "another program has locked the database; close it"),
}

_INTERRUPTED: Final = ("busy", "usage came faster than the report could be read; try again later")
_TOO_LARGE: Final = "the answer is too large; use --limit, or --since and --until"
# A gateway asks about its own producer and those that it adopted; 1,000 fit into one message.
SYNC_PRODUCERS_MAX: Final = 1_000
# A gateway asks about accounts whose announcement is overdue.
BALANCES_MAX: Final = 1_000
# accountctl reads an answer of any size. This bounds the memory that one report may take.
REPLY_BYTES_MAX: Final = 64 * 1024 * 1024
assert MESSAGE_BYTES_MAX < REPLY_BYTES_MAX
assert SYNC_PRODUCERS_MAX * (PRODUCER_BYTES + 8) < MESSAGE_BYTES_MAX


class Rpc:
    """The handlers of all methods."""

    def __init__(self, services: Services, announcer: Announcer, *, epoch: int) -> None:
        accounts, grants, handles = services.accounts, services.grants, services.handles
        quarantine, rate_card = services.quarantine, services.rate_card
        providers, limits = services.providers, services.limits
        self._ledger = services.ledger
        self._announcer = announcer
        self._custody = services.custody
        self._recalls = services.recalls
        self._epoch = epoch
        self.at_once: Mapping[str, Answer] = {
            "authorize": services.authorizations.authorize,
            "leases.renew": services.live_sessions.renew,
            "recalls": self._recalls_since,
            "recalls.outcome": services.recalls.outcome,
        }
        self._here: Mapping[str, Answer] = {
            "ping": lambda _params: {"level": LEVEL, "epoch": self._epoch},
            "sync": self._sync,
            "balances": self._balances,
            "rates": rate_card.answer,
            "handles.learn": handles.learn,
            "handles.use": handles.use,
            "sessions.open": services.conversations.open,
            "sessions.store": services.conversations.store,
            "sessions.delete": services.conversations.delete,
            "sessions.end": accounts.end_sessions,
            "providers.report": providers.report,
            "providers.overview": providers.overview,
            "providers.drain": providers.drain,
            "providers.resume": providers.resume,
            "backup.start": services.backups.start,
            "backup.state": services.backups.show,
            "account.create": accounts.create,
            "account.topup": grants.topup,
            "account.renew": grants.renew,
            "account.adjust": grants.adjust,
            "account.mark": accounts.set_mark,
            "account.email": accounts.set_email,
            "account.delete": accounts.delete,
            "account.reset_estimates": accounts.reset_estimates,
            "account.enable": accounts.enable,
            "account.disable": accounts.disable,
            "account.limit": limits.limit_account,
            "key.create": accounts.create_key,
            "key.revoke": accounts.revoke_key,
            "key.limit": limits.limit_key,
            "rejected.retry": quarantine.retry,
            "rejected.dismiss": quarantine.dismiss,
            "audit.settle": services.custody.settle,
        }
        self.reports = _reports(services)

    def answer(self, request: Request) -> bytes:
        """The encoded reply to a request of the daemon's thread; called there, see ``answer``."""
        return answer(self._here.get(request.method, _unknown(request.method)), request)

    def _sync(self, params: Params) -> Any:
        """The watermarks as PUB announces them, for a gateway that missed the announcement.

        Called between two transactions, so the writer's connection reads committed state only.
        """
        producers = params.binaries("producers", length=PRODUCER_BYTES, at_most=SYNC_PRODUCERS_MAX)
        throughs = self._ledger.applied_through(producers)
        self._custody.hear(params, producers, throughs)
        return {"epoch": self._epoch, "applied_through": throughs}

    def _recalls_since(self, params: Params) -> Any:
        """Recalls, and the admin change that gateways remember for an accountd restored later."""
        return self._recalls.since(params) | {"changes": self._custody.told()}

    def _balances(self, params: Params) -> Any:
        """The balances as PUB announces them, for a gateway that missed the announcement."""
        accounts = params.texts("accounts", at_most=BALANCES_MAX)
        producers = params.binaries("producers", length=PRODUCER_BYTES, at_most=SYNC_PRODUCERS_MAX)
        windows = self._ledger.windows(producers)
        applied = {p: applied_of(w.applied_through, w.ahead) for p, w in windows.items()}
        found = self._announcer.balances(accounts, applied)
        return {"balances": [encode_balance(balance) for balance in found]}


def _reports(services: Services) -> Mapping[str, Answer]:
    """What only reads, and may take long."""
    return {
        "account.show": services.limits.show_account,
        "account.list": queries.list_accounts,
        "key.list": queries.list_keys,
        "key.show": services.limits.show_key,
        "key.spending": queries.key_spending,
        "usage": queries.usage,
        "usage.rows": queries.usage_rows,
        "export.begin": exports.begin,
        "export.rows": exports.rows,
        "audit": audit.audit,
        "rates.check": rate_check.checking(lambda: services.rate_card.rates),
        "console.account": console.account,
        "console.keys": console.keys,
        "console.usage": console.usage,
        "console.rows": console.rows,
        "sessions.list": conversations.list_conversations,
        "sessions.show": conversations.show_conversation,
        "rejected.list": rejected.list_rejected,
        "rejected.show": rejected.show_rejected,
    }


def answer(handler: Answer, request: Request) -> bytes:
    """Handle one request; returns the encoded reply.

    Raises I/O errors and the like, which end the daemon; other errors become a reply.
    """
    try:
        encoded = encode_reply(Reply(result=handler(Params(request.params))))
    except RequestError as exc:
        error = (exc.code, str(exc))
        return encode_reply(Reply(error=error, retry_after_s=exc.retry_after_s))
    except Exception as exc:
        name = error_name(exc)
        trouble = passing_trouble(exc)
        if trouble is not None:
            return encode_reply(Reply(error=_PASSING[trouble]))
        if name.startswith(FATAL_ERRORS):
            raise
        if name == INTERRUPTED:
            return encode_reply(Reply(error=_INTERRUPTED))
        log.exception("request failed", method=request.method)
        return encode_reply(Reply(error=("internal", f"accountd failed: {type(exc).__name__}")))
    if len(encoded) > REPLY_BYTES_MAX:
        return encode_reply(Reply(error=("too_large", _TOO_LARGE)))
    return encoded


def _unknown(method: str) -> Answer:
    def refuse(_params: Params) -> Any:
        raise RequestError("unknown_method", f"no method {method[:80]!r}; is accountd older?")

    return refuse
