"""Sessions that are counted: what gateways ask, and what they are answered."""

from collections.abc import Iterator
from typing import Any

import pytest

from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.accounts.live_sessions import HELD_MAX, LiveSessions
from accountd.accounts.stored_limits import StoredLimits
from accountd.data.models import ApiKey
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import Params, RequestError
from shared.fields import MESSAGE_BYTES_MAX
from shared.requests import Request, encode_request
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, create_account, empty_database


class Daemon:
    """What answers requests, over a new database with a key."""

    def __init__(self) -> None:
        self.sessions = LiveSessions()
        self.limits = StoredLimits(sessions=self.sessions)
        self._authorizations = Authorizations(limits=self.limits.reader, sessions=self.sessions)
        create_account("acct", tokens=5)
        accounts = Accounts(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN)
        made = accounts.create_key(Params({"account_id": "acct", "label": "k"}))
        self.key_hash = str(made["key_hash"])

    def authorize(self, lease: str | None, **others: Any) -> Any:
        """A gateway asks for a session."""
        named = {} if lease is None else {"gateway": "g", "lease": lease}
        asked = {"key_hash": self.key_hash, **named, **others}
        return self._authorizations.authorize(Params(asked))["is_leased"]

    def renew(self, **asked: Any) -> Any:
        """It says what it holds."""
        given = {"gateway": "g", "released": [], "held": [], "is_last": False, **asked}
        return self.sessions.renew(Params(given))["is_known"]

    def limit(self, **words: str) -> None:
        """An operator limits the key."""
        self.limits.limit_key(Params({"key": self.key_hash, **words}))

    @property
    def counted(self) -> tuple[int, int, Any]:
        """Of the key, of its account, and as an operator sees it."""
        shown = self.limits.show_key(Params({"key": self.key_hash}))["sessions_counted"]
        return self.sessions.of_key(self.key_hash), self.sessions.of_account("acct"), shown


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Its key may have two sessions."""
    with empty_database():
        made = Daemon()
        made.limit(sessions="2")
        yield made


def test_sessions_are_counted_where_they_are_limited(daemon: Daemon) -> None:
    """Where a gateway names them: who only asks, as for an ephemeral key, has none."""
    assert [daemon.authorize(lease) for lease in (None, "1", "1", None)] == [0, 1, 1, 0]
    assert daemon.counted == (1, 1, 1)
    daemon.limit(sessions="none")
    assert not daemon.authorize("2")
    assert daemon.counted == (1, 1, 1)


def test_one_too_many_is_refused(daemon: Daemon) -> None:
    """Until one ends; the numbers for operators tell of it."""
    daemon.authorize("1")
    daemon.authorize("2")
    with pytest.raises(RequestError) as refused:
        daemon.authorize("3")
    assert (refused.value.code, refused.value.retry_after_s) == ("too_many_sessions", 5)
    daemon.renew(released=["1"])
    assert daemon.authorize("3")
    leases, refusals = (metric.read() for metric in daemon.sessions.metrics())
    assert leases == 2
    assert refusals == {"too_many_sessions": 1, "too_many_new_sessions": 0}


def test_a_key_that_may_open_none_takes_nothing(daemon: Daemon) -> None:
    """Refused for another reason, it is not counted."""
    ApiKey.update(revoked_at="2026-01-01T00:00:00.000Z").execute()
    with pytest.raises(RequestError, match="revoked"):
        daemon.authorize("1")
    assert daemon.counted == (0, 0, 0)


def test_a_gateway_tells_what_it_holds(daemon: Daemon) -> None:
    """After a restart of accountd: also more than may be, of keys that there are."""
    assert not daemon.renew()
    held = [[str(number), daemon.key_hash] for number in range(3)]
    assert daemon.renew(held=[*held, ["x", "no such key"]])
    assert daemon.counted == (3, 3, 3)
    assert daemon.renew(held=held)
    assert daemon.counted == (3, 3, 3)
    daemon.renew(is_last=True)
    assert daemon.counted == (0, 0, 0)
    assert not daemon.renew()


BAD: list[dict[str, Any]] = [
    {"gateway": None}, {"released": None}, {"released": [5]}, {"released": [""]},
    {"held": None}, {"held": [["1"]]}, {"held": [["1", 5]]}, {"held": ["12"]},
    {"held": [["1", "2", "3"]]}, {"held": [["1", "k"]] * (HELD_MAX + 1)}, {"is_last": 1},
]  # fmt: skip


@pytest.mark.parametrize("asked", BAD)
def test_nonsense_is_refused(daemon: Daemon, asked: dict[str, Any]) -> None:
    """Nothing of it counts."""
    with pytest.raises(RequestError) as refused:
        daemon.renew(**asked)
    assert refused.value.code == "bad_request"
    assert daemon.counted == (0, 0, 0)


def test_a_full_request_fits_into_a_message(daemon: Daemon) -> None:
    """Ids of 16 hex digits, and a key's hash of 64."""
    held = [["f" * 16, daemon.key_hash]] * HELD_MAX
    asked = {"gateway": "f" * 16, "released": ["f" * 16] * HELD_MAX, "held": held, "is_last": False}
    assert len(encode_request(Request("leases.renew", asked))) < MESSAGE_BYTES_MAX
