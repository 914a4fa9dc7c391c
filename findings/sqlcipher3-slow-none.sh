#!/usr/bin/env bash
# What: the time to bind a parameter, by its type: None, a boolean, bytes, an integer, text, bytearray.
# Guess: None is the cheapest, for it carries nothing; True costs what 1 costs, and bytes what bytearray.
# Seen (sqlcipher3 0.6.4, and the sqlite3 of CPython, from whose code it comes): int, float, str and bytearray are
#   bound at once. Anything else, None, booleans and bytes among it, first goes through PEP 246: the driver looks for an
#   adapter and for __conform__, finds neither, and binds the value after all. A row of thirty None takes many
#   times as long as a row of thirty integers, and a hundred bytes as bytes several times as long as in a bytearray.
# Why it matters: a writer of many rows stores 0, '' and bytearray in place of None, False and bytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sqlcipher3==0.6.4

"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import sqlite3
import sys
import time

from sqlcipher3 import dbapi2 as sqlcipher

COLUMNS, ROWS, ROUNDS = 30, 3_000, 7
VALUES = {
    "int": 1, "str": "x", "bytearray": bytearray(100), "None": None, "bool": True,
    "bytes": bytes(100),
}


def seconds(driver, value):
    """Of the fastest round: the processor's time for a row."""
    connection = driver.connect(":memory:", isolation_level=None)
    names = ", ".join(f"c{n}" for n in range(COLUMNS))
    connection.execute(f"CREATE TABLE t ({names})")
    insert = f"INSERT INTO t VALUES ({', '.join('?' * COLUMNS)})"
    rows = [(value,) * COLUMNS] * ROWS
    found = []
    for _ in range(ROUNDS):
        connection.execute("BEGIN")
        started = time.process_time()
        connection.executemany(insert, rows)
        found.append(time.process_time() - started)
        connection.execute("ROLLBACK")
    return min(found) / ROWS


print("sqlcipher3", importlib.metadata.version("sqlcipher3"), "CPython", sys.version.split()[0])
same = True
for name, driver in (("sqlcipher3", sqlcipher), ("sqlite3", sqlite3)):
    taken = {kind: seconds(driver, value) for kind, value in VALUES.items()}
    ratios = {kind: one / taken["int"] for kind, one in taken.items()}
    print(name, ", ".join(f"{kind} {ratio:.1f}" for kind, ratio in ratios.items()), "times an int")
    slow = all(ratios[kind] > 3 for kind in ("None", "bool"))
    same = same and slow and taken["bytes"] > 1.5 * taken["bytearray"] and ratios["str"] < 3
if not same:
    sys.exit("this has changed")
PYTHON
