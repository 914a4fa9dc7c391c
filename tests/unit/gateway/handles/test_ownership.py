"""Whose a provider's handle is, as a gateway knows it, with the real table behind it."""

from collections.abc import AsyncIterator, Sequence

import pytest

from accountd.accounts.handles import Handles as Table
from accountd.request_params import Params
from gateway.handles import ownership as under_test
from gateway.handles.handle import Handle, HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.http.refusals import Refusal
from shared.errors import UnreachableError
from shared.fields import MESSAGE_BYTES_MAX
from shared.requests import Request, encode_request
from tests.support.database import empty_database
from tests.support.peers import until

HANDLE = Handle("gemini", HandleKind.SESSION, "h1")


class Accountd:
    """The real table of owners without a network; it can be made unreachable, and keeps reports."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.is_away = False
        self.asked = 0
        self.told: list[list[bytes]] = []

    async def learn_handles(self, digests: Sequence[bytes], accounts: Sequence[str]) -> None:
        """See ``HandleOwners``."""
        if self.is_away:
            raise UnreachableError
        params = {"names": list(digests), "accounts": list(accounts)}
        assert len(encode_request(Request("handles.learn", params))) < MESSAGE_BYTES_MAX
        self._table.learn(Params(params))
        self.told.append(list(digests))

    async def use_handle(
        self, digest: bytes, account_id: str, *, claims: bool, is_sought: bool = False
    ) -> bool:
        """See ``HandleOwners``."""
        if self.is_away:
            raise UnreachableError
        self.asked += 1
        params = {"names": [digest], "account_id": account_id, "claims": claims}
        params["is_sought"] = is_sought
        return bool(self._table.use(Params(params))["is_allowed"])


@pytest.fixture
async def accountd() -> AsyncIterator[Accountd]:
    """One with an empty table."""
    with empty_database() as database:
        yield Accountd(Table(database.connection()))


def status(refusal: Refusal | None) -> int:
    """200 where there is none."""
    return 200 if refusal is None else refusal.status


async def test_what_was_given_is_told_in_the_background(accountd: Accountd) -> None:
    """What comes while one message is under way, or soon after it, goes in one together."""
    handles = HandleRegistry(accountd, allows_unknown=False)
    handles.start()
    given = [Handle("gemini", HandleKind.SESSION, str(number)) for number in range(100)]
    for handle in given:
        handles.learn(handle, "alice")
        handles.learn(handle, "alice")
    assert accountd.told == []
    await until(lambda: sum(map(len, accountd.told)) == len(given))
    assert len(accountd.told) == 1
    await handles.close()
    elsewhere = HandleRegistry(accountd, allows_unknown=False)
    assert [await elsewhere.use(handle, "alice") for handle in given] == [None] * len(given)


async def test_what_was_given_while_accountd_is_away_is_told_later(accountd: Accountd) -> None:
    """A gateway that ends first tells it with its last words."""
    handles = HandleRegistry(accountd, allows_unknown=False)
    accountd.is_away = True
    handles.start()
    handles.learn(HANDLE, "alice")
    await until(lambda: not handles._is_reporting)
    accountd.is_away = False
    await handles.close()
    assert accountd.told == [[HANDLE.digest]]


async def test_accountd_hears_it_when_it_is_back(accountd: Accountd) -> None:
    """Nobody has to give anything meanwhile."""
    handles = HandleRegistry(accountd, allows_unknown=False)
    accountd.is_away = True
    handles.start()
    handles.learn(HANDLE, "alice")
    await until(lambda: not handles._is_reporting)
    accountd.is_away = False
    await until(lambda: accountd.told)
    await handles.close()
    assert accountd.told == [[HANDLE.digest]]


async def test_what_waits_is_bounded(accountd: Accountd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are dropped, and counted."""
    monkeypatch.setattr(under_test, "HANDLES_WAITING_MAX", 2)
    handles = HandleRegistry(accountd, allows_unknown=True)
    given = [Handle("gemini", HandleKind.SESSION, str(number)) for number in range(3)]
    for handle in given:
        handles.learn(handle, "alice")
    assert {metric.name: metric.read() for metric in handles.metrics()} == {
        "rts_gateway_handles_waiting": 2,
        "rts_gateway_handles_dropped": 1,
        "rts_gateway_handles_refused": 0,
    }
    await handles.close()
    assert accountd.told == [[handle.digest for handle in given[1:]]]


async def test_what_is_known_here_is_bounded(
    accountd: Accountd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was not used for longest is forgotten."""
    monkeypatch.setattr(under_test, "HANDLES_KNOWN_MAX", 2)
    handles = HandleRegistry(accountd, allows_unknown=True)
    given = [Handle("gemini", HandleKind.SESSION, str(number)) for number in range(3)]
    for handle in given[:2]:
        handles.learn(handle, "alice")
    await handles.use(given[0], "alice")
    handles.learn(given[2], "alice")
    accountd.is_away = True
    assert [status(await handles.use(handle, "alice")) for handle in given] == [200, 503, 200]


async def test_many_go_in_messages_that_are_not_too_long(accountd: Accountd) -> None:
    """However long the accounts' names are."""
    handles = HandleRegistry(accountd, allows_unknown=True)
    given = [Handle("gemini", HandleKind.SESSION, str(number)) for number in range(600)]
    for number, handle in enumerate(given):
        handles.learn(handle, f"{number:03}" + "é" * 253)
    await handles.close()
    assert sum(map(len, accountd.told)) == len(given)


# Whose it is as this gateway knows it, and as accountd does; what alice hears.
USES: list[tuple[str, str | None, str | None, bool, bool, int]] = [
    ("her own", "alice", "alice", True, False, 200),
    ("her own, on another gateway", None, "alice", True, False, 200),
    ("her own, where unknown ones are refused", None, "alice", False, False, 200),
    ("her own, of which accountd has not heard", "alice", None, False, False, 200),
    ("her own, accountd is away", "alice", None, False, True, 200),
    ("another's", "bob", "bob", True, False, 404),
    ("another's, on another gateway", None, "bob", True, False, 404),
    ("another's, of which accountd has not heard", "bob", None, True, False, 404),
    ("another's, accountd is away", "bob", None, True, True, 404),
    ("another's in truth", "alice", "bob", True, False, 404),
    ("unknown", None, None, True, False, 200),
    ("unknown, and refused", None, None, False, False, 404),
    ("unknown here, accountd is away", None, "alice", True, True, 503),
]


@pytest.mark.parametrize(
    ("what", "here", "there", "allows_unknown", "is_away", "expected"),
    USES, ids=[use[0] for use in USES],
)  # fmt: skip
async def test_who_may_use_it(
    accountd: Accountd,
    what: str,
    here: str | None,
    there: str | None,
    allows_unknown: bool,
    is_away: bool,
    expected: int,
) -> None:
    """An account that may use it may do so again; other accounts may not."""
    if there is not None:
        await accountd.learn_handles([HANDLE.digest], [there])
    handles = HandleRegistry(accountd, allows_unknown=allows_unknown)
    if here is not None:
        handles.learn(HANDLE, here)
    accountd.is_away = is_away
    assert status(await handles.use(HANDLE, "alice")) == expected, what
    if expected == 200:
        assert status(await handles.use(HANDLE, "alice")) == 200
        assert status(await handles.use(HANDLE, "mallory")) == 404


async def test_what_accountd_refused_is_not_known_here_any_more(accountd: Accountd) -> None:
    """Otherwise another account could use it while accountd is away."""
    await accountd.learn_handles([HANDLE.digest], ["bob"])
    handles = HandleRegistry(accountd, allows_unknown=True)
    handles.learn(HANDLE, "alice")
    assert status(await handles.use(HANDLE, "alice")) == 404
    accountd.is_away = True
    assert status(await handles.use(HANDLE, "alice")) == 503


async def test_a_refusal_does_not_tell_whether_there_is_one(accountd: Accountd) -> None:
    """A handle of another account and an unknown one are refused with the same message."""
    await accountd.learn_handles([HANDLE.digest], ["bob"])
    handles = HandleRegistry(accountd, allows_unknown=False)
    unknown = HANDLE._replace(value="h2")
    assert await handles.use(HANDLE, "alice") == await handles.use(unknown, "alice")


ISSUERS = [
    # what; who issued it, here and there; away; the provider; how often accountd is asked
    ("by another, known here", "gemini-eu", None, False, "gemini-eu", 0),
    ("by another", None, "gemini-eu", False, "gemini-eu", 2),
    ("by the one that is asked for", None, "gemini", False, "gemini", 1),
    ("by nobody", None, None, False, "gemini", 3),
    ("by another, accountd is away", None, "gemini-eu", True, "gemini", 0),
]


@pytest.mark.parametrize(
    ("what", "here", "there", "is_away", "expected", "asked"),
    ISSUERS, ids=[issuer[0] for issuer in ISSUERS],
)  # fmt: skip
async def test_who_of_several_issued_it(
    accountd: Accountd,
    what: str,
    here: str | None,
    there: str | None,
    is_away: bool,
    expected: str,
    asked: int,
) -> None:
    """Found for its account alone, and nothing is claimed by that."""
    handle, providers = HANDLE._replace(provider="gemini"), ["gemini", "gemini-eu", "gemini-us"]
    handles = HandleRegistry(accountd, allows_unknown=True)
    if here is not None:
        handles.learn(handle._replace(provider=here), "alice")
    if there is not None:
        await accountd.learn_handles([handle._replace(provider=there).digest], ["alice"])
    accountd.is_away = is_away
    assert await handles.issuer(handle, "alice", providers) == expected, what
    assert accountd.asked == asked
    assert await handles.issuer(handle, "mallory", providers) == "gemini"


async def test_one_provider_alone_need_not_be_asked_for(accountd: Accountd) -> None:
    """Nobody waits for accountd where there is nothing to find."""
    handles = HandleRegistry(accountd, allows_unknown=True)
    assert await handles.issuer(HANDLE, "alice", [HANDLE.provider]) == HANDLE.provider
    assert accountd.asked == 0
