"""Old rows move into an archive at any time: what anybody can ask afterwards is what it was before.

Each step runs against a real encrypted ledger and a real archive.
"""

import itertools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accountd.data.archive_file import Archive, open_archive
from accountd.ledger.group_commit import Ledger
from accountd.ledger.key_spending import DAY_MS
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.maintenance import pruning
from accountd.maintenance.archive_proof import problems_of
from accountd.maintenance.pruning import Order, prune
from accountd.reports import console, queries
from accountd.reports.audit import audit
from accountd.request_params import Json, Params, RequestError
from accountd.rpc_types import GroupBy
from accountd.times import iso_of_ms
from shared.errors import DatabaseUnusableError
from shared.usage import USAGE_FIELDS, Kind, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import KEY, create_account, empty_database

PRODUCERS = (b"p" * 16, b"q" * 16)
ACCOUNTS = ("a", "b")
FIRST_DAY = 20_000  # since 1970
DAYS = 9
NOW = "2026-11-25T00:00:00.000Z"
ALL_ROWS = f"""
    SELECT id, created_at, account_id, session_id, provider, model, kind, rate_card, unpriced,
           responses, topup_deducted, token_deducted, waived, {", ".join(USAGE_FIELDS)}
    FROM {{}} ORDER BY id
"""
KINDS = (Kind.RESPONSE, Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.ESTIMATE, Kind.DURATION)


class World:
    """A ledger with segments of five rows, whose daemon lives on while rows are moved."""

    def __init__(self, connection: Any, seed: int) -> None:
        self.connection, self.rng = connection, random.Random(seed)
        self.path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        self.archive = self.path.with_name("a.archive")
        self.sent = dict.fromkeys(PRODUCERS, 0)
        self.messages: list[list[bytes]] = []
        self.restart()

    def restart(self) -> None:
        """The daemon begins anew, with nothing in memory."""
        index = UsageIndex(self.connection, segment_rows=5, portion_rows=2)
        self.ledger = Ledger(self.connection, usage=UsageRows(self.connection, index))

    def use(self, rows: int, *, days: tuple[int, int] = (0, DAYS)) -> None:
        """Usage of any of these days, in groups."""
        rng = self.rng
        for _ in range(rows):
            producer = rng.choice(PRODUCERS)
            self.sent[producer] += 1
            number, given, taken = self.sent[producer], rng.randrange(50), rng.randrange(50)
            batch = UsageBatch(
                rng.choice(ACCOUNTS), f"s{rng.randrange(12)}", rng.choice(["openai", "azure"]),
                f"m{rng.randrange(3)}", rng.choice(KINDS), 1, (f"r{producer[:1]!r}{number}",),
                Usage(given, taken, given + taken),
                (FIRST_DAY + rng.randrange(*days)) * DAY_MS + rng.randrange(DAY_MS),
                tuple(['{"x":1}'][: rng.randrange(2)]), key_hash=rng.choice(["", "", "k1", "k2"]),
            )  # fmt: skip
            self.messages.append(encode_envelope(producer, number, encode_usage(batch)))
        fresh = self.messages[-rows:]
        while fresh:
            size = rng.randrange(1, 9)
            self.ledger.apply(fresh[:size], now=NOW)
            del fresh[:size]

    def prune(self, days: int, archive: Path | None = None) -> int:
        """Move the rows of so many days."""
        order = Order((FIRST_DAY + days) * DAY_MS, archive or self.archive, KEY)
        done = prune(self.connection, self.path, order, now=NOW, progress=lambda *_: None)
        return done.rows

    @contextmanager
    def opened(self) -> Iterator[Archive]:
        """The archive."""
        with open_archive(self.archive, KEY) as archive:
            yield archive

    def rows(self) -> list[Any]:
        """All rows, wherever they are."""
        found = self.connection.execute(ALL_ROWS.format("usage_metrics")).fetchall()
        if self.archive.exists():
            with self.opened() as archive:
                found += archive.connection.execute(ALL_ROWS.format("archived_usage")).fetchall()
        return sorted(found)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    """With portions of four rows."""
    monkeypatch.setattr(pruning, "PORTION_ROWS", 4)
    with empty_database() as opened:
        for account in ACCOUNTS:
            create_account(account, tokens=2_000, topup=500)
        yield World(opened.connection(), seed=getattr(request, "param", 0))


def told(world: World) -> dict[str, Any]:
    """All that is said of the accounts: by days, models and kinds, in any period of whole days."""
    found: dict[str, Any] = {}
    for account in ACCOUNTS:
        for since, until in [(None, None), (_day(2), _day(5))]:
            period = {"since": since, "until": until}
            for by in (GroupBy.DAY, GroupBy.MODEL, GroupBy.KIND, None):
                asked = {"account_id": account, "by": by and str(by), **period}
                answer = queries.usage(Params(asked))
                assert answer["adds_up"]
                answer["rows_total"] = answer.pop("rows_total", 0) + (
                    0 if by else answer.pop("archived_rows")
                )
                for name in ("rows", "next_before", "archived_rows"):
                    answer.pop(name, None)
                found[f"{account} {since} {until} {by}"] = answer
    return found


def _day(number: int) -> str:
    return iso_of_ms((FIRST_DAY + number) * DAY_MS)


def proven(world: World) -> Mapping[str, Any]:
    """The audit is right, and so is the archive."""
    found = audit(Params({}))
    assert found["ok"], found
    assert found["rejected"] == 0
    assert found["usage_rows"] + found["archived_rows"] == sum(world.sent.values())
    if world.archive.exists():
        with world.opened() as archive:
            assert problems_of(archive, world.connection) == []
    return found


@pytest.mark.parametrize("world", range(2), indirect=True)
def test_what_is_told_stays_what_it_was_however_often_rows_move(world: World) -> None:
    """Balances, statements, spending, the audit; rows and archive together are all rows."""
    moved = 0
    for step in range(4):
        world.use(world.rng.randrange(10, 30), days=(step, DAYS))
        if world.rng.random() < 0.5:
            world.restart()
        before, rows = told(world), world.rows()
        moved += world.prune(world.rng.randrange(step, DAYS))
        assert (told(world), world.rows()) == (before, rows)
        proven(world)
    assert moved > 20
    assert audit(Params({}))["archived_rows"] == moved


def test_what_is_sent_again_after_its_row_has_moved_is_a_duplicate(world: World) -> None:
    """Digests stay, however old."""
    world.use(40)
    assert world.prune(DAYS) > 20
    before = told(world)
    world.restart()
    world.ledger.apply(world.messages, now=NOW)
    assert told(world) == before
    proven(world)


def test_ids_are_never_used_again(world: World) -> None:
    """Not even where all rows with an index have moved."""
    world.use(40)
    last = world.rows()[-1][0]
    world.prune(DAYS)
    world.restart()
    world.use(3)
    assert [row[0] for row in world.rows()][-3:] == [last + 1, last + 2, last + 3]
    proven(world)


def test_sessions_of_archived_days_are_one_line(world: World) -> None:
    """With what they took together."""
    world.use(60)
    asked = Params({"account_id": "a", "by": "session"})
    before = queries.usage(asked)
    world.prune(DAYS)
    after = queries.usage(asked)
    assert after["totals"] == before["totals"]
    assert after["groups"][0]["session"] == "(archived)"
    assert after["archived_rows"] > 0


@pytest.mark.parametrize("bound", ["since", "until"])
def test_a_period_within_an_archived_day_is_refused(world: World, bound: str) -> None:
    """Sums of a day cannot be split; a day whose rows are all there can."""
    world.use(60)
    world.prune(3)
    noon = _day(1).replace("T00", "T12")
    with pytest.raises(RequestError, match=f"{bound}: the rows of that day are in an archive"):
        queries.usage(Params({"account_id": "a", bound: noon}))
    later = _day(5).replace("T00", "T12")
    assert queries.usage(Params({"account_id": "a", bound: later}))["adds_up"]


class StoppedError(Exception):
    """The process ended here."""


@pytest.mark.parametrize("portions", [0, 1, 4])
@pytest.mark.parametrize("is_taken_out", [True, False])
def test_a_run_that_was_interrupted_is_gone_on_with(
    world: World, monkeypatch: pytest.MonkeyPatch, portions: int, is_taken_out: bool
) -> None:
    """Between archive and ledger, and between two portions: nothing is lost, nothing doubled."""
    world.use(60)
    before, rows = told(world), world.rows()
    take_out, taken = pruning._take_out, itertools.count()

    def stopping(*args: Any, **kwargs: Any) -> None:
        is_last = next(taken) == portions
        if is_taken_out or not is_last:
            take_out(*args, **kwargs)
        if is_last:
            raise StoppedError

    with monkeypatch.context() as patched, pytest.raises(StoppedError):
        patched.setattr(pruning, "_take_out", stopping)
        world.prune(DAYS)
    assert told(world) == before
    proven(world)
    assert pruning.unfinished(world.connection) == world.archive
    world.restart()
    world.prune(DAYS)
    assert pruning.unfinished(world.connection) is None
    assert (told(world), world.rows()) == (before, rows)
    proven(world)


def test_a_changed_row_of_an_archive_is_found(world: World) -> None:
    """And one that is missing, and one under another name."""
    world.use(60)
    world.prune(DAYS)
    for damage in (
        "UPDATE usage SET token_deducted = token_deducted + 1 WHERE id = 2",
        "DELETE FROM usage WHERE id = 3",
        "UPDATE usage_labels SET model = 'other' WHERE number = 1",
        "DELETE FROM usage_sessions WHERE number = 1",
    ):
        with world.opened() as archive:
            archive.connection.execute("BEGIN")
            archive.connection.execute(damage)
            assert problems_of(archive, world.connection), damage
            archive.connection.execute("ROLLBACK")


def test_a_changed_sum_fails_the_audit(world: World) -> None:
    """The sums that stay are proven by the balances, and by those of keys."""
    world.use(60)
    world.prune(DAYS)
    proven(world)
    for damage, repair, what in (
        (
            "UPDATE usage_summaries SET token_deducted = token_deducted + 1",
            "UPDATE usage_summaries SET token_deducted = token_deducted - 1",
            "drift",
        ),
        (
            "UPDATE archived_spending SET credits = credits + 1",
            "UPDATE archived_spending SET credits = credits - 1",
            "wrong_spending",
        ),
    ):
        world.connection.execute(damage)
        found = audit(Params({}))
        assert (found["ok"], bool(found[what])) == (False, True)
        world.connection.execute(repair)
    proven(world)


def test_archives_of_other_ledgers_and_older_copies_are_refused(world: World) -> None:
    """Nothing is taken out for them."""
    world.use(40, days=(0, 3))
    world.prune(3)
    older = world.archive.with_name("older")
    older.write_bytes(world.archive.read_bytes())
    world.use(40)
    world.prune(DAYS)
    world.use(40)
    with pytest.raises(DatabaseUnusableError, match="older copy"):
        world.prune(DAYS, older)
    with empty_database() as other:
        create_account("a", tokens=1)
        stranger = World(other.connection(), seed=1)
        create_account("b", tokens=1)
        stranger.use(40)
        with pytest.raises(DatabaseUnusableError, match="knows no such archive"):
            stranger.prune(DAYS, world.archive)


def test_what_may_have_been_charged_by_archived_rows_is_settled_first(world: World) -> None:
    """A conflict waits in quarantine: its rows stay. A later one is not charged by hand."""
    world.use(30, days=(0, 2))
    number = world.sent[PRODUCERS[0]]
    batch = UsageBatch(
        "a", "s1", "openai", "m1", Kind.RESPONSE, 1, ("r-other",), Usage(1, 1, 2),
        FIRST_DAY * DAY_MS,
    )  # fmt: skip
    conflict = encode_envelope(PRODUCERS[0], number, encode_usage(batch))
    world.ledger.apply([conflict], now="2024-10-05T00:00:00.000Z")
    with pytest.raises(DatabaseUnusableError, match="1 messages in quarantine"):
        pruning.check_settled(world.connection, (FIRST_DAY + 2) * DAY_MS)
    pruning.check_settled(world.connection, (FIRST_DAY - 2) * DAY_MS)


def test_the_console_tells_the_same_sums(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By day, with the time of each day's newest charge."""
    monkeypatch.setattr(console, "_owner", lambda _params: queries.find_account("a"))
    world.use(60)
    asked = Params({"key_hash": "k"})
    before: Json = console.usage(asked)
    world.prune(DAYS)
    assert console.usage(asked) == before
