"""Databases of every schema from 0013 on become databases of the newest one."""

from pathlib import Path
from typing import Any

import pytest

from accountd.data import database
from accountd.reports.audit import audit
from accountd.request_params import Params
from bench import big_ledger
from tests.support.database import KEY, empty_database

NEWEST = Path(__file__).parent / "newest.sql"
WRITES_IT = (
    """python -c "from tests.integration.migrations.test_every_schema import *; freeze()\""""
)
OLDEST = 13


def schema_of(opened: Any) -> str:
    """Every table, index, view and trigger, in the words that made it."""
    rows = opened.execute_sql(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
    )
    return "".join(f"{' '.join(sql.split())};\n" for (sql,) in rows)


def freeze() -> None:
    """Write down the newest schema."""
    with empty_database() as opened:
        NEWEST.write_text(schema_of(opened))


def schemas() -> list[int]:
    """The numbers of the migrations, from ``OLDEST`` on."""
    folder = Path(__file__).resolve().parents[3] / "migrations"
    found = sorted(int(path.name[:4]) for path in folder.glob("[0-9]*.py"))
    return [number for number in found if number >= OLDEST]


def test_the_newest_schema_is_the_one_that_was_reviewed() -> None:
    """A migration that was released does not change; a new one changes this file."""
    with empty_database() as opened:
        assert schema_of(opened) == NEWEST.read_text(), f"a new migration? {WRITES_IT}"


@pytest.mark.parametrize("number", schemas())
def test_a_filled_database_of_this_schema_becomes_one_of_the_newest(
    number: int, tmp_path: Path
) -> None:
    """With all of its rows, a right audit, and the same tables as a new one."""
    path = tmp_path / "accounts.db"
    built = big_ledger.build(path, KEY, megabytes=1, accounts=10, schema=number)
    with database.open_for_migrating(path, KEY) as opened:
        pending = [step.name for step in opened.runner.status() if not step.applied]
        assert pending == [] or int(pending[0][:4]) == number + 1
        opened.runner.up()
        found = audit(Params({}))
        execute = opened.database.execute_sql
        assert execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert execute("PRAGMA foreign_key_check").fetchall() == []
        schema = schema_of(opened.database)
        labels = execute("SELECT count(*) FROM usage_labels").fetchone()
    with empty_database() as new:
        assert schema == schema_of(new)
    assert found["ok"]
    assert (found["usage_rows"], found["accounts"]) == (built.rows, 10)
    assert found["rejected"] > 0
    assert labels == (8,)  # four models, each with usage that was reported and that was estimated
