"""What the database file itself gives: the rows of accountd, written by nothing but ``sqlcipher3``.

One table, one unique index, group commits of ``GROUP`` rows, the settings of accountd's own
database. ``python -m bench.file_rate`` prints the rate.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.database import PRAGMAS
from shared.usage import USAGE_FIELDS

GROUP: Final = 1_000
_COLUMNS: Final = (
    "id INTEGER PRIMARY KEY", "account", "session", "label", "metered_at", "producer", "sequence",
    "responses", "topup_deducted", "token_deducted", "waived", "is_estimate", *USAGE_FIELDS,
    "response_ids", "raw_usage",
)  # fmt: skip


def rows_a_second(folder: Path, rows: int) -> float:
    """Write ``rows`` into a new file in ``folder``; they are made before."""
    path = folder / "reference.db"
    connection = sqlcipher.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{os.urandom(32).hex()}'\"")
    for name, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}")
    connection.execute(f"CREATE TABLE usage ({', '.join(_COLUMNS)})")
    connection.execute("CREATE UNIQUE INDEX usage_index ON usage (producer, sequence)")
    marks = ", ".join("?" * len(_COLUMNS))
    insert = f"INSERT INTO usage VALUES ({marks})"  # noqa: S608 - marks only
    values = [_row(number) for number in range(1, rows + 1)]
    started = time.perf_counter()
    for start in range(0, rows, GROUP):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, values[start : start + GROUP])
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - started
    connection.close()
    for leftover in folder.glob("reference.db*"):
        leftover.unlink()
    return rows / elapsed


def _row(number: int) -> tuple[Any, ...]:
    """What ``accountd.ledger.usage_rows`` writes for a batch of ``usage_load``."""
    counts = (60, 40, 100, 20, 40, 0, 16, 10, 30, *[0] * (len(USAGE_FIELDS) - 9))
    return (
        number, number % 200, number, 1, 1_796_000_000_000 + number, 1, number, 5, 0, 100, 0, 0,
        *counts, bytearray(os.urandom(98)), "",
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rts-") as name:
        print(f"{rows_a_second(Path(name), 100_000):,.0f} rows a second")
