"""The ledger that measurements begin with is one of accountd's."""

from pathlib import Path

import pytest

from accountd.data import database
from accountd.reports.audit import audit
from accountd.request_params import Params
from bench import big_ledger
from tests.support.database import KEY


@pytest.mark.parametrize("schema", [None, 17, 13])
def test_its_audit_is_right(tmp_path: Path, schema: int | None) -> None:
    """At the newest schema, and after the migrations that an older one lacks."""
    path = tmp_path / "accounts.db"
    built = big_ledger.build(path, KEY, megabytes=2, accounts=20, schema=schema)
    assert built.file_bytes >= 2 * 10**6
    with database.open_for_migrating(path, KEY) as opened:
        pending = [step.name for step in opened.runner.status() if not step.applied]
        assert (int(pending[0][:4]) - 1 if pending else None) == schema
        opened.runner.up()
        found = audit(Params({}))
        labels = opened.database.execute_sql("SELECT count(*) FROM usage_labels").fetchone()
    assert found["ok"]
    assert (found["usage_rows"], found["accounts"]) == (built.rows, 20)
    assert found["rejected"] > 0
    assert labels == (8,)  # four models, each with usage that was reported and that was estimated
