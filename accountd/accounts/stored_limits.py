"""The limits of keys and accounts in the database: what holds, and what operators set.

``of_key`` and ``of_account`` are one query each. What sets limits runs on the daemon's one writing
thread, and recalls what gateways remember of the key or account: their live sessions go on, new
ones begin by the new limits.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from accountd.accounts.accounts import (
    account_json,
    find_account,
    find_key,
    find_open_account,
    key_json,
)
from accountd.accounts.limit_words import (
    ACCOUNT_LIMITS,
    KEY_LIMITS,
    WORD_BYTES_MAX,
    LimitWords,
    Values,
)
from accountd.accounts.limits import (
    NOTHING_STORED,
    EffectiveLimits,
    LimitDefaults,
    LimitReader,
    changed,
    over,
    read_stored,
)
from accountd.accounts.live_sessions import LiveSessions
from accountd.accounts.recalls import Recalls
from accountd.accounts.spending import Spending
from accountd.clock import now_iso
from accountd.data import models
from accountd.data.models import Account, ApiKey
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Json, Params
from shared.announcements import RecallCause, purse_of_key
from shared.limits import Limits

_OF_KEY: Final = (
    "SELECT k.limits, a.limits FROM api_keys k JOIN accounts a ON a.id = k.account_id"
    " WHERE k.key_hash = ?"
)
_OF_ACCOUNT: Final = "SELECT limits FROM accounts WHERE id = ?"

Set = Mapping[LimitWords, Values]


class StoredLimits:
    """Limits of keys and accounts. ``of_…`` and ``show_…`` only read, on any thread that has a
    connection of its own.
    """

    def __init__(
        self,
        defaults: LimitDefaults | None = None,
        recalls: Recalls | None = None,
        sessions: LiveSessions | None = None,
        changes: ChangedAccounts | None = None,
    ) -> None:
        self.reader = LimitReader(defaults)
        self.spending = Spending(self.reader)
        self._recalls = recalls or Recalls()
        self._sessions = sessions or LiveSessions()
        self._changes = changes or ChangedAccounts()

    def of_key(self, key_hash: str) -> EffectiveLimits | None:
        """Those of a key and of its account; None where there is no such key."""
        rows = models.database.execute_sql(_OF_KEY, (key_hash,)).fetchall()
        return self.reader.effective(*rows[0]) if rows else None

    def of_account(self, account_id: str) -> Limits | None:
        """Those of an account; None where there is none."""
        rows = models.database.execute_sql(_OF_ACCOUNT, (account_id,)).fetchall()
        return self.reader.effective(NOTHING_STORED, rows[0][0]).account if rows else None

    def show_key(self, params: Params) -> Json:
        """One key, its limits, and what it has spent where that is limited; without the key
        itself.
        """
        key = find_key(params)
        return key_json(key) | self._of_key(key, key.limits)

    def show_account(self, params: Params) -> Json:
        """One account and its limits."""
        account = find_account(params.text("account_id"))
        return account_json(account) | self._of_account(account, account.limits)

    def limit_key(self, params: Params) -> Json:
        """Set limits of a key, each with a word of ``limit_words``; without any, show them."""
        given = _given(params, KEY_LIMITS)
        key = find_key(params)
        named = {"key_indicator": key.key_indicator, "account_id": key.account_id}
        if not given:
            return named | self._of_key(key, key.limits)
        find_open_account(key.account_id)
        stored = _after(key.limits, given)
        update = ApiKey.update(limits=stored).where(ApiKey.key_hash == key.key_hash)
        number = self._write(update.execute, account_id=key.account_id, key_hash=key.key_hash)
        self._changes.note(purse_of_key(key.key_hash))  # sessions with a cap hear of another one
        return named | self._of_key(key, stored) | {"recall": number}

    def limit_account(self, params: Params) -> Json:
        """The same of an account. What it may spend is its credit, and no limit."""
        given, account_id = _given(params, ACCOUNT_LIMITS), params.text("account_id")
        account = find_open_account(account_id) if given else find_account(account_id)
        named = {"account_id": account.id}
        if not given:
            return named | self._of_account(account, account.limits)
        stored = _after(account.limits, given)
        update = Account.update(limits=stored, updated_at=now_iso()).where(Account.id == account.id)
        number = self._write(update.execute, account_id=account.id)
        return named | self._of_account(account, stored) | {"recall": number}

    def _of_key(self, key: ApiKey, stored: str) -> Json:
        live, default = self._sessions.of_key(key.key_hash), self.reader.defaults.key
        spent = self.spending.shown(key.key_hash, over(default, stored))
        limits = _shown(stored, default, KEY_LIMITS)
        return {"sessions_counted": live, **spent, "limits": limits}

    def _of_account(self, account: Account, stored: str) -> Json:
        live = self._sessions.of_account(account.id)
        return {
            "sessions_counted": live,
            "limits": _shown(stored, self.reader.defaults.account, ACCOUNT_LIMITS),
        }

    def _write(self, change: Callable[[], object], **named: str) -> int:
        cause = RecallCause.LIMITS_CHANGED
        return self._recalls.write(cause, keeps_sessions=True, change=change, **named).number


def _shown(stored: str, default: Limits, known: Iterable[LimitWords]) -> Json:
    """Of each limit the word for what holds, and where it was set."""
    here, holds = read_stored(stored), over(default, stored)
    return {
        words.name: {"value": words.word(holds), "from": _origin(words, here, default)}
        for words in known
    }


def _given(params: Params, known: Iterable[LimitWords]) -> dict[LimitWords, Values]:
    """What a request sets."""
    read = {
        words: params.optional_read(words.parameter, words.values, bytes_max=WORD_BYTES_MAX)
        for words in known
    }
    return {words: values for words, values in read.items() if values is not None}


def _after(stored: str, given: Set) -> str:
    """What is to be stored with a key or an account that has ``stored``."""
    dropped: Iterable[str] = (name for words in given for name in words.fields)
    values: dict[str, Any] = {}
    for each in given.values():
        values |= each
    return changed(stored, dropped=dropped, values=values)


def _origin(words: LimitWords, here: Mapping[str, Any], default: Limits) -> str | None:
    field = words.fields[0]
    if field in here:
        return "here"
    return None if getattr(default, field) is None else "default"
