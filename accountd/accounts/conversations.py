"""The conversations that gateways have stored, in the original's table ``sessions``. Runs on the
daemon's one writing thread.

A conversation belongs to an account and the name that the client gave its session. It has two rows:
``SESSION``, how the session was configured, and ``CONV``, what was said; both are text that only
gateways read. Of a session's connections the newest *holds* the conversation: it alone may write
it, until the next one is opened. ``holder``, a random token, says which one that is.

What was neither opened nor stored for ``hours`` is forgotten.
"""

from collections import OrderedDict
from datetime import timedelta
from typing import Any, Final

from accountd.clock import now_iso
from accountd.data.database import transaction
from accountd.data.retention import RetentionRule, RowRetention
from accountd.request_params import Params, RequestError
from shared.announcements import NewHolder
from shared.metrics import Metric
from shared.wire import (
    CONFIGURATION_BYTES_MAX,
    CONVERSATIONS_MAX,
    CONVERSATIONS_OPENED_MAX,
    HOLDER_BYTES,
    ITEMS_BYTES_MAX,
)

# A client comes back within minutes, or begins anew; and what was said is private.
HOURS_DEFAULT: Final = 24
HOURS_MAX: Final = 8_760
# Conversations whose connection is remembered. Of one that is forgotten nothing is waited for.
HOLDERS_MAX: Final = 100_000
# Rows that expire in one turn of the loop, and conversations that one request deletes; whoever
# asked asks again until nothing is left. Usual ones take 0.2 ms each, as what is deleted is
# overwritten; of the longest ones 5 ms.
EXPIRED_MAX: Final = 50
DELETED_MAX: Final = 25

_READ: Final = (
    "SELECT type, data, holder FROM sessions"
    " WHERE account_id = ? AND session_id = ? AND (updated_at IS NULL OR updated_at >= ?)"
)
_FORGET: Final = "DELETE FROM sessions WHERE account_id = ? AND session_id = ? AND updated_at < ?"
_HOLDER: Final = (
    "SELECT holder FROM sessions WHERE account_id = ? AND session_id = ? AND type = 'SESSION'"
)
_HOLD: Final = (
    "INSERT INTO sessions (account_id, session_id, type, data, holder, created_at, updated_at)"
    " VALUES (?, ?, 'SESSION', '', ?, ?, ?) ON CONFLICT (account_id, session_id, type)"
    " DO UPDATE SET holder = excluded.holder"
)
_IS_DELETED: Final = "SELECT 1 FROM accounts WHERE id = ? AND deleted_at IS NOT NULL"
_TOUCH: Final = "UPDATE sessions SET updated_at = ? WHERE account_id = ? AND session_id = ?"
_WRITE: Final = (
    "INSERT INTO sessions (account_id, session_id, type, holder, data, created_at, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, session_id, type)"
    " DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at"
)
Json = dict[str, Any]
Key = tuple[str, str]  # account and session


class Conversations:
    """The requests about conversations, and what forgets the old ones."""

    def __init__(self, connection: Any, *, hours: int = HOURS_DEFAULT) -> None:
        """``connection`` is the daemon's writing connection; ``hours`` from 1 to 8,760."""
        self._connection = connection
        key = ("account_id", "session_id", "type")
        self.retention = RowRetention(
            connection,
            RetentionRule("sessions", key, "updated_at", timedelta(hours=hours), EXPIRED_MAX),
        )
        # Connections that have not stored their last words; those from which another took over.
        self._live: OrderedDict[Key, bytes] = OrderedDict()
        self._former: OrderedDict[Key, bytes] = OrderedDict()
        self._taken_over: list[NewHolder] = []
        self._opened = self._stored = self._refused = self._deleted = 0

    def metrics(self) -> list[Metric]:
        """The numbers of this boot, for ``/metrics``."""
        return [
            Metric(
                "rts_accountd_conversations_opened", "counter",
                "Connections that began or continued a stored conversation.",
                lambda: self._opened,
            ),
            Metric(
                "rts_accountd_conversations_stored", "counter",
                "States of conversations that gateways handed in and that were written.",
                lambda: self._stored,
            ),
            Metric(
                "rts_accountd_conversations_refused", "counter",
                "States of conversations that were not written: another connection goes on.",
                lambda: self._refused,
            ),
            Metric(
                "rts_accountd_conversations_expired", "counter",
                "Rows of conversations, two for each, that were not used for too long.",
                lambda: self.retention.forgotten,
            ),
            Metric(
                "rts_accountd_conversations_deleted", "counter",
                "Rows of conversations, two for each, that an operator deleted.",
                lambda: self._deleted,
            ),
        ]  # fmt: skip

    def take_taken_over(self) -> list[NewHolder]:
        """Who took over from another connection since the last call, to be announced."""
        taken_over, self._taken_over = self._taken_over, []
        return taken_over

    def open(self, params: Params) -> Json:
        """Make each ``holder`` of ``sessions`` the one that may write; answer what is stored, and
        who could write until now.

        ``is_live``: that one has not stored its last words yet. It still may, until the new holder
        has stored something. ``again``: the holder asks for these; None where another connection
        has become the newest meanwhile.
        """
        given = params.groups("sessions", at_most=CONVERSATIONS_OPENED_MAX)
        opened: list[tuple[Key, bytes, bytes | None]] = []
        answers: list[Json | None] = []
        with transaction(self._connection):
            for session in given:
                key = session.text("account_id"), session.text("session_id")
                holder = session.binary("holder", length=HOLDER_BYTES)
                again = session.flag("again")
                found = self._read(key)
                is_newest = found["former"] == holder
                answers.append(found if is_newest or not again else None)
                if not (is_newest or again):
                    self._hold(key, holder)
                    opened.append((key, holder, found["former"]))
        for key, holder, former in opened:
            self._take_over(key, holder, former)
        self._opened += len(opened)
        for session, answer in zip(given, answers, strict=True):
            if answer is not None:
                key = session.text("account_id"), session.text("session_id")
                answer["is_live"] = key in self._former
        return {"sessions": answers}

    def store(self, params: Params) -> Json:
        """Write the conversations of ``sessions``; answer the places in that list of those whose
        holder is not the newest one, or whose account was deleted: these are not written.

        ``configuration`` and ``items`` may be missing in one that ``is_last``: nothing is new.
        """
        given = params.groups("sessions", at_most=CONVERSATIONS_MAX)
        written: list[tuple[Key, bytes, bool]] = []
        refused = []
        with transaction(self._connection):
            for place, session in enumerate(given):
                key = session.text("account_id"), session.text("session_id")
                holder = session.binary("holder", length=HOLDER_BYTES)
                is_last = session.flag("is_last")
                if self._may_write(key, holder, is_last=is_last):
                    self._write(key, holder, session)
                    written.append((key, holder, is_last))
                else:
                    refused.append(place)
        for key, holder, is_last in written:
            self._wrote(key, holder, is_last=is_last)
        self._stored += len(written)
        self._refused += len(refused)
        return {"refused": refused}

    def delete(self, params: Params) -> Json:
        """Delete a portion of the conversations of an account, of a name, or of both together.

        A session that is live may store its conversation again.
        """
        account_id = params.optional_text("account_id")
        session_id = params.optional_text("session_id")
        named = {"account_id": account_id, "session_id": session_id}
        values = [value for value in named.values() if value is not None]
        if not values:
            raise RequestError("bad_request", "found neither account_id nor session_id")
        where = " AND ".join(f"{name} = ?" for name, value in named.items() if value is not None)
        chosen = f"SELECT DISTINCT account_id, session_id FROM sessions WHERE {where} LIMIT ?"  # noqa: S608 - names of ours
        with transaction(self._connection):
            keys = self._execute(chosen, *values, DELETED_MAX).fetchall()
            for key in keys:
                found = self._execute(
                    "DELETE FROM sessions WHERE account_id = ? AND session_id = ?", *key
                )
                self._deleted += found.rowcount
        return {"deleted": len(keys), "is_done": len(keys) < DELETED_MAX}

    # --- helpers ----------------------------------------------------------------------------------

    def _execute(self, statement: str, *values: object) -> Any:
        return self._connection.execute(statement, values)

    def _read(self, key: Key) -> Json:
        before = self.retention.expired_before()
        rows = {kind: (data, by) for kind, data, by in self._execute(_READ, *key, before)}
        nothing = ("", None)
        return {
            "configuration": str(rows.get("SESSION", nothing)[0]),
            "items": str(rows.get("CONV", nothing)[0]),
            "former": rows.get("SESSION", nothing)[1],
        }

    def _hold(self, key: Key, holder: bytes) -> None:
        """``holder`` may write from now on; what has expired is forgotten."""
        now = now_iso()
        self._execute(_FORGET, *key, self.retention.expired_before())
        self._execute(_HOLD, *key, holder, now, now)
        self._execute(_TOUCH, now, *key)

    def _take_over(self, key: Key, holder: bytes, former: bytes | None) -> None:
        """``holder`` is the newest connection; the one before is told by an announcement."""
        self._former.pop(key, None)
        if former is not None:
            self._taken_over.append(NewHolder(*key, holder))
            if self._live.get(key) == former:
                _remember(self._former, key, former)
        _remember(self._live, key, holder)

    def _may_write(self, key: Key, holder: bytes, *, is_last: bool) -> bool:
        if self._execute(_IS_DELETED, key[0]).fetchone():  # what was said is not to come back
            return False
        found = self._execute(_HOLDER, *key).fetchone()
        newest = found[0] if found is not None else self._live.get(key)
        return newest in (None, holder) or (is_last and self._former.get(key) == holder)

    def _write(self, key: Key, holder: bytes, session: Params) -> None:
        configuration = session.optional_document(
            "configuration", bytes_max=CONFIGURATION_BYTES_MAX
        )
        items = session.optional_document("items", bytes_max=ITEMS_BYTES_MAX)
        now, newest = now_iso(), self._live.get(key, holder)
        if configuration is not None and items is not None:
            self._execute(_WRITE, *key, "SESSION", newest, configuration, now, now)
            self._execute(_WRITE, *key, "CONV", None, items, now, now)

    def _wrote(self, key: Key, holder: bytes, *, is_last: bool) -> None:
        """``holder`` has written, perhaps its last words."""
        newest = self._live.get(key, holder)
        if newest == holder or is_last:  # the former one's time is over
            self._former.pop(key, None)
        if newest == holder and is_last:
            self._live.pop(key, None)
        elif newest == holder:
            _remember(self._live, key, holder)


def _remember(holders: OrderedDict[Key, bytes], key: Key, holder: bytes) -> None:
    holders[key] = holder
    holders.move_to_end(key)
    if len(holders) > HOLDERS_MAX:
        holders.popitem(last=False)
