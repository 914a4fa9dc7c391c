"""The journal keeps what it was given, says why it cannot be used, and is never changed."""

import os
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.archive_file import create_archive
from accountd.data.journal import AdminChange, Journal, JournalError, JournalFault
from tests.support.database import KEY

LEDGER = "ab" * 16
CHANGES = [AdminChange(n, "2026-11-30T12:00:00.000Z", "grant", f"g{n}", "{}") for n in (1, 2, 3)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """One with three changes."""
    made = Journal.create(tmp_path / "a.journal", KEY, LEDGER)
    made.append(CHANGES)
    return made


def test_it_keeps_what_it_was_given(journal: Journal) -> None:
    """Changes under their numbers, the highest watermark of each producer, its ledger's id."""
    journal.note_watermarks({b"p" * 16: 9, b"q" * 16: 4})
    journal.note_watermarks({b"p" * 16: 7, b"q" * 16: 5})
    journal.close()
    again = Journal.open(journal.path, KEY)
    assert (again.oldest(), again.newest(), again.database_id) == (1, 3, LEDGER)
    assert list(again.changes_after(1)) == CHANGES[1:]
    assert again.watermarks() == {b"p" * 16: 9, b"q" * 16: 5}


def test_the_file_alone_is_the_journal(journal: Journal) -> None:
    """There is no log beside it whose loss would empty a copy, and nobody else reads it."""
    assert [found.name for found in journal.path.parent.iterdir() if found.stat().st_size] == [
        "a.journal"
    ]
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert b"grant" not in journal.path.read_bytes()


def test_what_cannot_be_appended_whole_is_not_there(journal: Journal) -> None:
    """A number that is there already: none of the others is added."""
    new = AdminChange(4, CHANGES[0].at, "key", "k", "{}")
    with pytest.raises(JournalError):
        journal.append([new, CHANGES[0]])
    assert journal.newest() == 3


@pytest.mark.parametrize(
    "statement", ["UPDATE admin_changes SET body = ''", "DELETE FROM admin_changes"]
)
def test_nothing_in_it_is_changed(journal: Journal, statement: str) -> None:
    """The file itself refuses."""
    with pytest.raises(sqlcipher.Error, match="only appended to"):
        journal._connection.execute(statement)


def test_one_that_was_never_made_is_missing(tmp_path: Path) -> None:
    """Like one of no length."""
    path = tmp_path / "none.journal"
    assert fault_of(path) is JournalFault.MISSING
    path.touch()
    assert fault_of(path) is JournalFault.MISSING


def test_another_key_does_not_open_it(journal: Journal) -> None:
    """And it is not changed."""
    before = journal.path.read_bytes()
    assert fault_of(journal.path, "cd" * 32) is JournalFault.OTHER_KEY
    assert journal.path.read_bytes() == before


def test_another_database_is_no_journal(tmp_path: Path) -> None:
    """It is not called damaged: what is damaged is set aside."""
    with create_archive(tmp_path / "a.archive", KEY) as archive:
        assert fault_of(archive.path) is JournalFault.OTHER_FILE


def test_damage_is_named(tmp_path: Path) -> None:
    """A page that fails its check, and a file that was cut."""
    made = Journal.create(tmp_path / "a.journal", KEY, LEDGER)
    many = [AdminChange(n, "", "grant", "g" * 200, "{}") for n in range(1, 2_000)]
    made.append(many)
    made.close()
    length = made.path.stat().st_size
    with made.path.open("r+b") as file:
        file.seek(length // 2)
        file.write(os.urandom(4_096))
    with pytest.raises(JournalError) as raised:
        list(Journal.open(made.path, KEY).changes_after(0))
    assert raised.value.fault is JournalFault.DAMAGED
    os.truncate(made.path, 5_000)
    assert fault_of(made.path) is JournalFault.DAMAGED


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The text has the path."""
    with pytest.raises(JournalError, match="nowhere"):
        Journal.create(tmp_path / "nowhere" / "a.journal", KEY, LEDGER)


def test_an_interrupted_creation_is_no_obstacle(tmp_path: Path) -> None:
    """What it left is made anew."""
    path = tmp_path / "a.journal"
    path.with_name("a.journal.new").write_bytes(b"half")
    assert Journal.create(path, KEY, LEDGER).newest() == 0
    assert [found.name for found in tmp_path.iterdir()] == ["a.journal"]


def fault_of(path: Path, key: str = KEY) -> JournalFault:
    """Why it cannot be opened."""
    with pytest.raises(JournalError) as raised:
        Journal.open(path, key)
    return raised.value.fault
