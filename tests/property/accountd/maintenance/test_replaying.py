"""Random admin changes and usage, a backup at a random point of them, and what it brings back.

The backup, the journal, and the usage that gateways send again make the accounts, keys, grants and
credits that the lost ledger had.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountd.accounts.accounts import Accounts
from accountd.accounts.grants import Grants
from accountd.accounts.recalls import Recalls
from accountd.accounts.stored_limits import StoredLimits
from accountd.clock import now_iso
from accountd.data import database
from accountd.data.journal import Journal, StoredChanges
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.group_commit import Ledger
from accountd.maintenance.replaying import replay
from accountd.reports.audit import audit
from accountd.request_params import Params, RequestError
from shared.usage import UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import KEY, TOKENS_BY_DEFAULT_PLAN
from tests.support.usage_rows import batch

PRODUCER = b"p" * 16
ACCOUNTS = ("a", "b")

account = st.sampled_from(ACCOUNTS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("topup"), account, st.integers(1, 50)),
        st.tuples(st.just("renew"), account, st.sampled_from(["Free", "Pro"])),
        st.tuples(st.just("mark"), account, st.integers(0, 2_000)),
        st.tuples(st.just("email"), account, st.integers(0, 3)),
        st.tuples(st.just("estimates"), account, st.none()),
        st.tuples(st.just("disable"), account, st.none()),
        st.tuples(st.just("enable"), account, st.none()),
        st.tuples(st.just("delete"), account, st.none()),
        st.tuples(st.just("limit"), account, st.integers(1, 9)),
        st.tuples(st.just("key"), account, st.none()),
        st.tuples(st.just("revoke"), account, st.integers(0, 3)),
        st.tuples(st.just("use"), account, st.integers(2, 900)),
        st.tuples(st.just("use"), account, st.integers(2, 900)),
        st.tuples(st.just("create"), account, st.integers(0, 1_000)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """An empty ledger, made once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        with database.open_for_migrating(path, KEY) as opened:
            opened.runner.up()
        yield path


class Office:
    """Whoever works on an open ledger."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.ledger = Ledger(connection)
        recalls, changes = Recalls(), ChangedAccounts()
        recalls.begin(epoch=1)
        accounts = Accounts(changes, plans=TOKENS_BY_DEFAULT_PLAN, recalls=recalls)
        grants = Grants(changes, plans=TOKENS_BY_DEFAULT_PLAN)
        limits = StoredLimits(recalls=recalls)
        self.revoke = accounts.revoke_key
        self.usage: list[UsageBatch] = []
        self._changes: dict[str, tuple[Callable[[Params], Any], Callable[[str, Any], Any]]] = {
            "create": (accounts.create, lambda who, n: new_account(who, tokens=n)),
            "email": (accounts.set_email, lambda who, n: {"email": f"{who}{n}@example.org"}),
            "mark": (accounts.set_mark, lambda _, n: {"mark": n}),
            "estimates": (accounts.reset_estimates, lambda _, __: {}),
            "disable": (accounts.disable, lambda _, __: {}),
            "enable": (accounts.enable, lambda _, __: {}),
            "delete": (accounts.delete, lambda _, __: {}),
            "key": (accounts.create_key, lambda _, __: {"label": "phone"}),
            "topup": (grants.topup, lambda _, n: {"amount": n}),
            "renew": (grants.renew, lambda _, plan: {"plan_name": plan}),
            "limit": (limits.limit_account, lambda _, n: {"sessions": str(n)}),
        }

    def step(self, what: str, who: str, value: Any) -> None:
        """One change, or one batch of usage. A refusal changes nothing."""
        asked: dict[str, Any] = {"account_id": who}
        match what:
            case "use":
                self.usage.append(batch(value, account_id=who, session_id=str(len(self.usage))))
                self.send(self.usage[-1:], first=len(self.usage))
            case "revoke":
                self._revoke(who, value)
            case _:
                change, also = self._changes[what]
                change(Params(asked | also(who, value)))

    def send(self, batches: list[UsageBatch], *, first: int = 1) -> None:
        """As the gateway does."""
        messages = [
            encode_envelope(PRODUCER, number, encode_usage(one))
            for number, one in enumerate(batches, first)
        ]
        self.ledger.apply(messages, now=now_iso())

    def _revoke(self, who: str, which: int) -> None:
        keys = self.connection.execute(
            "SELECT key_hash FROM api_keys WHERE account_id = ? ORDER BY created_at", (who,)
        ).fetchall()
        if which < len(keys):
            self.revoke(Params({"key": keys[which][0]}))


@settings(max_examples=20)
@given(before=STEPS, after=STEPS)
def test_a_backup_and_the_journal_make_the_ledger_that_was_lost(
    template: Path, before: list[Any], after: list[Any]
) -> None:
    """And so it is again when it is all done twice."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        lost, backup = folder / "lost.db", folder / "backup.db"
        shutil.copy(template, lost)
        with opened(lost) as connection:
            office = Office(connection)
            for who in ACCOUNTS:
                office.step("create", who, 1_000)
            journal = Journal.create(folder / "lost.db.journal", KEY, identity(connection))
            work(office, before)
            connection.execute("VACUUM INTO ?", (str(backup),))
            work(office, after)
            journal.append(StoredChanges(connection).changes_after(0))
            expected, usage = contents(connection), office.usage
        with opened(backup) as connection:
            for _ in range(2):
                replay(connection, journal)
                Office(connection).send(usage)
            assert contents(connection) == expected
            assert audit(Params({}))["ok"]
        journal.close()


def work(office: Office, steps: list[Any]) -> None:
    """Take the steps that are possible."""
    for step in steps:
        with suppress(RequestError):
            office.step(*step)


def new_account(name: str, *, tokens: int) -> dict[str, Any]:
    """What is asked for one."""
    return {"id": name, "email": f"{name}@example.org", "tokens": tokens}


def identity(connection: Any) -> str:
    """Which ledger it is."""
    return StoredChanges(connection).database_id


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The connection of an open ledger."""
    with database.open_for_serving(path, KEY) as found:
        yield found.database.connection()


def contents(connection: Any) -> dict[str, list[Any]]:
    """What has to come back. How usage was split over the buckets depends on when it came."""
    queries = {
        "accounts": "SELECT id, email, plan_name, token_remaining + topup_remaining, status,"
        " low_credit_mark, estimates_forgiven_at, deleted_at, deleted_email, limits, created_at"
        " FROM accounts ORDER BY id",
        "keys": "SELECT key_hash, account_id, key_indicator, label, created_at, expires_at,"
        " revoked_at, keeps_sessions, limits FROM api_keys ORDER BY key_hash",
        "grants": "SELECT * FROM credit_grants ORDER BY id",
        "changes": "SELECT * FROM admin_changes ORDER BY number",
        "usage": "SELECT count(*), sum(total_tokens) FROM usage",
    }
    return {name: connection.execute(query).fetchall() for name, query in queries.items()}
