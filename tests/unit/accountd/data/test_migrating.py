"""What ``accountd migrate`` does beside the migrations: a copy from before, and progress."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from accountd.data import database, migrating
from shared.errors import StorageError
from tests.support.database import KEY

BEFORE = "0021_custody"
NAME = "accounts.db.before-0022"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that lacks a migration, and that a killed daemon has left open."""
    found = tmp_path / "accounts.db"
    with database.open_for_migrating(found, KEY) as opened:
        opened.runner.up(BEFORE)
        opened.database.execute_sql("UPDATE custody SET is_open = 1")
    found.with_name("accounts.db-wal").touch()
    return found


class Told(NamedTuple):
    """What was done and said."""

    applied: list[str]
    notes: list[str]
    progress: list[tuple[str, float | None]]


def migrated(path: Path, *, makes_copy: bool = True) -> Told:
    """Migrate to the newest schema."""
    told = Told([], [], [])
    told.applied.extend(
        migrating.migrate(
            path, KEY, makes_copy=makes_copy, note=told.notes.append,
            tell=lambda what, share: told.progress.append((what, share)),
        )
    )  # fmt: skip
    return told


def test_the_database_is_copied_before_it_changes(path: Path) -> None:
    """The copy has the schema of before, is of one file, and no daemon has it open."""
    told = migrated(path)
    assert told.applied[0].startswith("0022")
    copy = path.with_name(NAME)
    assert told.notes == [f"copied {path} to {copy}, to go back to; remove it when nobody will"]
    assert copy.stat().st_mode & 0o777 == 0o600
    with database.open_for_migrating(copy, KEY) as opened:
        applied = [step.name for step in opened.runner.status() if step.applied]
        assert applied[-1] == BEFORE
        assert opened.database.execute_sql("SELECT is_open FROM custody").fetchone() == (0,)
    assert not copy.with_name(f"{NAME}.part").exists()
    assert migrated(path).applied == []


def test_a_new_database_has_no_copy(tmp_path: Path) -> None:
    """There is nothing to go back to."""
    told = migrated(tmp_path / "accounts.db")
    assert told.notes == []
    assert told.applied[0] == "0001_baseline"


def test_whoever_wants_no_copy_gets_none(path: Path) -> None:
    """The disk may be known to be copied otherwise."""
    assert migrated(path, makes_copy=False).notes == []
    assert not path.with_name(NAME).exists()


def test_a_disk_without_room_is_told_and_the_schema_is_brought_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration needs less than the copy, and is atomic without it."""
    usage = shutil.disk_usage(path.parent)
    scarce = usage._replace(free=2 * path.stat().st_size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: scarce)
    (note,) = migrated(path).notes
    assert note.startswith(f"no copy of {path} was made: ")
    assert not path.with_name(NAME).exists()


def failing_copy(_path: Path, part: Path, _on_share: Callable[[float], None]) -> None:
    """Copy a part of it."""
    part.write_bytes(b"a part")


def test_a_copy_that_is_not_whole_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves nothing behind."""
    monkeypatch.setattr(migrating, "_copy", failing_copy)
    with pytest.raises(StorageError, match=r"the copy has another length.*nothing was changed"):
        migrated(path)
    with database.open_for_migrating(path, KEY) as opened:
        assert [step.name for step in opened.runner.status() if step.applied][-1] == BEFORE
    assert not list(path.parent.glob("*.before*"))


def test_the_progress_of_the_large_move_rises_to_its_end(tmp_path: Path) -> None:
    """Each step says what it does, and shares never fall."""
    path = tmp_path / "accounts.db"
    with database.open_for_migrating(path, KEY) as opened:
        opened.runner.up("0013_shared_responses")
        insert = (
            "INSERT INTO usage_metrics (account_id, session_id, provider) VALUES ('a', 's', 'p')"
        )
        opened.database.execute_sql(insert)
    progress: Any = [entry for entry in migrated(path).progress if entry[1] is not None]
    large = [(what, share) for what, share in progress if "0014_appended_usage (1 of " in what]
    assert [share for _, share in large] == sorted(share for _, share in large)
    assert any("usage rows moved: 1 of 1" in what for what, _ in large)
    assert any("removing what was moved" in what for what, _ in large)
