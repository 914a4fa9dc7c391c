"""The daemon's journal: what becomes of changes and usage when it or the ledger is not whole."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher
from structlog.testing import capture_logs

from accountd.data.journal import Journal
from accountd.ledger import expectations
from accountd.maintenance.custody import REOPEN_S, RETRY_S, WATERMARKS_S, Custody
from accountd.reports.audit import audit
from accountd.request_params import Params
from tests.support.database import KEY, create_account, empty_database

PRODUCER = b"p" * 16
_SEEN = (
    "INSERT INTO producers (producer, applied_through, first_seen_at, last_seen_at)"
    " VALUES (?, ?, '', '')"
)


@dataclass
class Ledger:
    """An open ledger, whose daemon may die and be started again; time passes by itself."""

    connection: Any
    path: Path  # of the journal
    now: float = 1_000.0
    epoch: int = 10
    log: list[str] = field(default_factory=list)

    def started(self) -> Custody:
        """A new boot."""
        custody = Custody(self.connection, self.path, KEY)
        self.epoch += 1
        with self.logged():
            custody.begin()
            custody.serve(epoch=self.epoch)
            custody.tick(now=self.now)
        return custody

    def ticked(self, custody: Custody, seconds: float) -> None:
        """Some time later."""
        self.now += seconds
        with self.logged():
            custody.tick(now=self.now)

    def change(self, custody: Custody, name: str) -> str | None:
        """A request that makes an account, and the warning in its answer."""
        create_account(name, tokens=5)
        assert custody.has_changed()
        with self.logged():
            return custody.keep()

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Keep the names of what is logged."""
        with capture_logs() as lines:
            yield
        self.log += [line["event"] for line in lines]

    def accounts(self) -> set[str]:
        """Those that there are."""
        return {name for (name,) in self.connection.execute("SELECT id FROM accounts")}

    def in_journal(self) -> list[str]:
        """The names of its changes."""
        journal = Journal.open(self.path, KEY)
        names = [change.name for change in journal.changes_after(0)]
        journal.close()
        return names


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one."""
    with empty_database() as opened:
        yield Ledger(opened.connection(), tmp_path / "j.journal")


@contextmanager
def older(ledger: Ledger) -> Iterator[Ledger]:
    """A copy of the ledger as it is now, to be put in place of it later."""
    file = Path(ledger.connection.execute("PRAGMA database_list").fetchone()[2])
    copy = file.with_name("older.db")
    ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    shutil.copy(file, copy)
    connection = sqlcipher.connect(str(copy), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY}'\"")
    try:
        yield Ledger(connection, ledger.path, epoch=ledger.epoch + 100)
    finally:
        connection.close()


def test_a_change_is_in_the_journal_before_it_is_answered(ledger: Ledger) -> None:
    """Each once, in its order."""
    custody = ledger.started()
    assert ledger.change(custody, "a") is None
    assert ledger.change(custody, "b") is None
    assert not custody.has_changed()
    assert [name for name in ledger.in_journal() if name in "ab"] == ["a", "b"]


def test_what_was_committed_and_not_appended_is_caught_up(ledger: Ledger) -> None:
    """SIGKILL came between the two; the next start appends it."""
    custody = ledger.started()
    ledger.change(custody, "a")
    create_account("b", tokens=5)
    ledger.started()
    assert [name for name in ledger.in_journal() if name in "ab"] == ["a", "b"]
    assert ledger.log == []


def test_an_older_ledger_gets_what_it_lacks(ledger: Ledger) -> None:
    """Changes are replayed; usage that was durable is expected until it is there again."""
    custody = ledger.started()
    ledger.change(custody, "a")
    with older(ledger) as copy:
        ledger.change(custody, "b")
        custody.applied([(PRODUCER, 9)])
        custody.end()
        replacing = copy.started()
        assert copy.accounts() == {"a", "b"}
        assert copy.log == ["ledger is older than its journal, changes replayed"]
        assert expectations.expected_usage(copy.connection) == (1, 9)
        copy.connection.execute(_SEEN, (PRODUCER, 9))
        assert expectations.expected_usage(copy.connection) == (0, 0)
        copy.ticked(replacing, WATERMARKS_S)
        assert not expectations.has_expectations(copy.connection)


def test_watermarks_of_before_the_journal_are_noted_soon(ledger: Ledger) -> None:
    """Those of producers that never send again, too."""
    ledger.connection.execute(_SEEN, (PRODUCER, 7))
    ledger.ticked(ledger.started(), WATERMARKS_S)
    journal = Journal.open(ledger.path, KEY)
    assert journal.watermarks() == {PRODUCER: 7}
    journal.close()


def locked(ledger: Ledger) -> Callable[[], None]:
    """Another program writes it."""
    other = sqlcipher.connect(str(ledger.path), isolation_level=None)
    other.execute(f"PRAGMA key = \"x'{KEY}'\"")
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def unreachable(ledger: Ledger) -> Callable[[], None]:
    """There is a folder in its place."""
    ledger.path.rename(f"{ledger.path}.kept")
    ledger.path.mkdir()

    def repair() -> None:
        ledger.path.rmdir()
        Path(f"{ledger.path}.kept").rename(ledger.path)

    return repair


def foreign(ledger: Ledger) -> Callable[[], None]:
    """The setting names the journal of another ledger."""
    ledger.path.rename(f"{ledger.path}.kept")
    Journal.create(ledger.path, KEY, "cd" * 16).close()

    def repair() -> None:
        Path(f"{ledger.path}.kept").rename(ledger.path)

    return repair


@pytest.mark.parametrize("spoil", [locked, unreachable, foreign])
def test_a_journal_that_cannot_be_written_is_told_and_caught_up(
    ledger: Ledger, spoil: Callable[[Ledger], Callable[[], None]]
) -> None:
    """The change stands, its answer says so, and the file is not touched meanwhile."""
    ledger.change(ledger.started(), "a")
    repair = spoil(ledger)
    before = ledger.path.read_bytes() if ledger.path.is_file() else b""
    custody = ledger.started()
    warning = ledger.change(custody, "b")
    ledger.ticked(custody, RETRY_S)
    assert warning is not None
    assert "a restored backup would lack it" in warning
    assert custody.is_failing
    assert custody.behind >= 1
    assert ledger.log == ["journal cannot be written"]
    assert not ledger.path.is_file() or ledger.path.read_bytes() == before
    repair()
    ledger.ticked(custody, REOPEN_S)
    assert (custody.behind, custody.is_failing) == (0, False)
    assert ledger.log[1:] == ["journal is complete again"]
    assert [name for name in ledger.in_journal() if name in "ab"] == ["a", "b"]


def test_a_ledger_that_is_locked_meanwhile_is_no_end(ledger: Ledger) -> None:
    """The journal is there again, and nothing can be replayed: later it is."""
    ledger.change(ledger.started(), "a")
    repair = unreachable(ledger)
    custody = ledger.started()
    ledger.change(custody, "b")
    repair()
    ledger.connection.execute("PRAGMA busy_timeout = 0")
    file = ledger.connection.execute("PRAGMA database_list").fetchone()[2]
    other = sqlcipher.connect(file, isolation_level=None)
    other.execute(f"PRAGMA key = \"x'{KEY}'\"")
    other.execute("BEGIN IMMEDIATE")
    ledger.ticked(custody, REOPEN_S)
    assert custody.is_failing
    other.close()
    ledger.ticked(custody, REOPEN_S)
    assert (custody.behind, custody.is_failing) == (0, False)


def damaged(ledger: Ledger) -> None:
    """A page fails its check."""
    size = ledger.path.stat().st_size
    with ledger.path.open("r+b") as file:
        file.seek(size - 4096 * (size // 4096 - 1))
        file.write(os.urandom(size - 4096))


def other_key(ledger: Ledger) -> None:
    """It was left under the key of before."""
    ledger.path.unlink()
    Journal.create(ledger.path, "cd" * 32, "cd" * 16).close()


@pytest.mark.parametrize("spoil", [damaged, other_key])
def test_a_journal_that_cannot_be_used_is_set_aside(
    ledger: Ledger, spoil: Callable[[Ledger], None]
) -> None:
    """Unchanged, under another name; a new one has all that the ledger has."""
    ledger.change(ledger.started(), "a")
    spoil(ledger)
    before = ledger.path.read_bytes()
    custody = ledger.started()
    assert ledger.change(custody, "b") is None
    assert ledger.log == ["journal set aside"]
    (aside,) = ledger.path.parent.glob("*.set-aside-*")
    assert aside.read_bytes() == before
    assert [name for name in ledger.in_journal() if name in "ab"] == ["a", "b"]


def test_damage_that_is_met_later_is_no_end_either(ledger: Ledger) -> None:
    """The daemon goes on, and the answer says that the change was not journalled yet."""
    custody = ledger.started()
    ledger.change(custody, "a")
    ledger.path.write_bytes(os.urandom(ledger.path.stat().st_size))
    ledger.change(custody, "b")
    ledger.ticked(custody, RETRY_S)
    assert "journal set aside" in ledger.log
    assert (custody.behind, custody.is_failing) == (0, False)
    assert [name for name in ledger.in_journal() if name in "ab"] == ["a", "b"]


def test_one_that_is_moved_away_is_made_anew(ledger: Ledger) -> None:
    """A restore looks for it in its place."""
    custody = ledger.started()
    ledger.change(custody, "a")
    ledger.path.rename(f"{ledger.path}.old")
    ledger.ticked(custody, WATERMARKS_S)
    assert ledger.log == ["journal was moved or removed", "journal is new"]
    assert "a" in ledger.in_journal()


def test_two_histories_are_kept_apart_and_told(ledger: Ledger) -> None:
    """An older copy was used without the journal: what only that has is missing."""
    custody = ledger.started()
    ledger.change(custody, "a")
    with older(ledger) as copy:
        first = custody.newest + 1
        ledger.change(custody, "theirs")
        ledger.change(custody, "more")
        copy.connection.execute("UPDATE accounts SET plan_name = 'Pro'")
        copy.started()
        assert "journal set aside" in copy.log
        rows = copy.connection.execute("SELECT first, last FROM missing_changes").fetchall()
        assert rows == [(first, custody.newest)]
        assert expectations.newest_change(copy.connection) == custody.newest


def told(custody: Custody, *, seen: int, epoch: int, number: int) -> None:
    """A gateway asks for the watermark of its producer, which is 0 here."""
    asked = Params({"seen": [seen], "changes": [epoch, number]})
    custody.hear(asked, [PRODUCER], [0])


def test_gateways_remember_what_a_ledger_without_its_journal_lost(ledger: Ledger) -> None:
    """The audit fails until it has come or an operator has settled it, and again for more."""
    ledger.change(ledger.started(), "a")
    custody = ledger.started()
    remembered = custody.told()
    told(custody, seen=0, epoch=remembered[0], number=remembered[1])
    ledger.ticked(custody, RETRY_S)
    assert audit(Params({}))["ok"]
    told(custody, seen=7, epoch=remembered[0] - 1, number=remembered[1] + 2)
    ledger.ticked(custody, RETRY_S)
    found = audit(Params({}))
    assert not found["ok"]
    assert found["expected"]["batches_total"] == 7
    assert found["expected"]["changes"] == [
        {"first": remembered[1] + 1, "last": remembered[1] + 2, "known_from": "gateway",
         "since": found["expected"]["changes"][0]["since"]}
    ]  # fmt: skip
    custody.settle(Params({"reason": "the disk is gone"}))
    told(custody, seen=7, epoch=remembered[0] - 1, number=remembered[1] + 2)
    ledger.ticked(custody, RETRY_S)
    assert audit(Params({}))["ok"]
    again = ledger.started()
    told(again, seen=8, epoch=remembered[0] - 1, number=remembered[1] + 2)
    ledger.ticked(again, RETRY_S)
    assert audit(Params({}))["expected"]["batches_total"] == 8
    reasons = ledger.connection.execute("SELECT settled_reason FROM missing_changes").fetchall()
    assert reasons == [("the disk is gone",)]


def test_what_nothing_remembers_is_never_called_right(ledger: Ledger) -> None:
    """Not after any number of starts; until gateways tell how much it is, and it is settled."""
    ledger.change(ledger.started(), "a")
    newest = expectations.newest_change(ledger.connection)
    expectations.note_unknown(ledger.connection, source="restore", now="now")
    for _ in range(2):
        custody = ledger.started()
        found = audit(Params({}))
        assert not found["ok"]
        assert found["expected"]["changes_unknown_after"] == newest
        assert found["expected"]["changes"] == []
    told(custody, seen=0, epoch=custody.told()[0] - 1, number=newest + 2)
    ledger.ticked(custody, RETRY_S)
    found = audit(Params({}))
    assert [(each["first"], each["last"]) for each in found["expected"]["changes"]] == [
        (newest + 1, newest + 2)
    ]
    custody.settle(Params({"reason": "compared"}))
    assert audit(Params({}))["ok"]


def test_what_was_settled_is_not_settled_for_the_next_restore(ledger: Ledger) -> None:
    """A backup has it as settled: it was about another restore, before which nothing changed."""
    custody = ledger.started()
    expectations.note_unknown(ledger.connection, source="restore", now="now")
    custody.settle(Params({"reason": "compared"}))
    assert audit(Params({}))["ok"]
    expectations.note_unknown(ledger.connection, source="restore", now="later")
    assert not audit(Params({}))["ok"]


def history(ledger: Ledger) -> str:
    """Of its rows."""
    ((found,),) = ledger.connection.execute("SELECT history FROM custody").fetchall()
    return str(found)


def test_a_ledger_that_goes_back_begins_a_history_and_no_other_one_does(ledger: Ledger) -> None:
    """Once, whether its journal knows or a gateway; not at any start after that."""
    ledger.connection.execute(_SEEN, (PRODUCER, 7))
    with older(ledger) as copy:
        ledger.connection.execute("UPDATE producers SET applied_through = 9")
        custody = ledger.started()
        custody.applied([(PRODUCER, 9)])
        custody.end()
        ledger.ticked(ledger.started(), WATERMARKS_S)
        assert history(ledger) == ""
        copy.ticked(copy.started(), WATERMARKS_S)
        gone_back = history(copy)
        assert gone_back
        custody = copy.started()
        copy.ticked(custody, WATERMARKS_S)
        assert history(copy) == gone_back
        told(custody, seen=9, epoch=0, number=0)
        copy.ticked(custody, RETRY_S)
        assert history(copy) == gone_back
        told(custody, seen=11, epoch=0, number=0)
        copy.ticked(custody, RETRY_S)
        assert history(copy) != gone_back
