"""Which account owns a provider's handle. Runs on the daemon's one writing thread.

A handle (a call, a conversation, a session to resume) leads to what was said under it, and one
provider key serves all accounts: so it belongs to the account that it was first given to. Gateways
tell what was given and ask before one is used. Only hashes come here, as with keys.

A handle that was neither given nor used for ``days`` is forgotten, and is then as unknown as one
that was never given.
"""

from datetime import timedelta
from typing import Any, Final

from accountd.clock import now_iso
from accountd.data import models
from accountd.data.retention import RetentionRule, RowRetention
from accountd.request_params import Params, RequestError
from shared.metrics import Metric
from shared.wire import HANDLE_BYTES, HANDLES_MAX

# Gemini's handles live for two hours after their session, a day on Vertex AI; a call for as long as
# it lasts; a conversation of xAI for days. Gemini gives a new one with every turn: a week of them
# weighs about as much as a week of usage rows.
DAYS_DEFAULT: Final = 7
DAYS_MAX: Final = 3_650

_LEARN: Final = (
    "INSERT INTO handles (name, account_id, used_at) VALUES (?, ?, ?) ON CONFLICT (name)"
    " DO UPDATE SET used_at = excluded.used_at WHERE account_id = excluded.account_id"
)
_OWNER: Final = "SELECT account_id FROM handles WHERE name = ?"
Json = dict[str, Any]


class Handles:
    """The requests about handles, and what forgets the old ones."""

    def __init__(self, connection: Any, *, days: int = DAYS_DEFAULT) -> None:
        """``connection`` is the daemon's writing connection; ``days`` from 1 to 3,650."""
        self._connection = connection
        self.retention = RowRetention(
            connection, RetentionRule("handles", ["name"], "used_at", timedelta(days=days))
        )
        self._learned = self._refused = 0

    def metrics(self) -> list[Metric]:
        """The numbers of this boot, for ``/metrics``."""
        return [
            Metric(
                "rts_accountd_handles_learned", "counter",
                "Handles of providers that gateways said they gave to an account.",
                lambda: self._learned,
            ),
            Metric(
                "rts_accountd_handles_refused", "counter",
                "Handles that an account may not use: they are another's, or unknown.",
                lambda: self._refused,
            ),
            Metric(
                "rts_accountd_handles_forgotten", "counter",
                "Handles that were neither given nor used for too long.",
                lambda: self.retention.forgotten,
            ),
        ]  # fmt: skip

    def learn(self, params: Params) -> Json:
        """Handles that a provider gave, each with its account. The first owner stays."""
        names = params.binaries("names", length=HANDLE_BYTES, at_most=HANDLES_MAX)
        accounts = params.texts("accounts", at_most=HANDLES_MAX)
        if len(accounts) != len(names):
            message = f"found {len(names)} names and {len(accounts)} accounts, expected as many"
            raise RequestError("bad_request", message)
        now = now_iso()
        rows = [(name, account, now) for name, account in zip(names, accounts, strict=True)]
        with models.database.atomic("IMMEDIATE"):
            self._connection.executemany(_LEARN, rows)
        self._learned += len(names)
        return {}

    def use(self, params: Params) -> Json:
        """Whether the account may use a handle. With ``claims`` an unknown one becomes its own. One
        that ``is_sought`` may be any of several, so a no is no refusal.
        """
        (name,) = params.binaries("names", length=HANDLE_BYTES, at_most=1)
        account_id, claims = params.text("account_id"), params.flag("claims")
        with models.database.atomic("IMMEDIATE"):
            owner = self._owner(name)
            is_allowed = owner == account_id or (owner is None and claims)
            if is_allowed:
                self._connection.execute(_LEARN, (name, account_id, now_iso()))
        self._refused += not (is_allowed or params.flag("is_sought"))
        return {"is_allowed": is_allowed}

    def _owner(self, name: bytes) -> str | None:
        found = self._connection.execute(_OWNER, (name,)).fetchone()
        return None if found is None else str(found[0])
