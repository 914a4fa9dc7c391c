#!/usr/bin/env bash
# What: the online backup API from an encrypted database into a connection keyed with the same key
#   but another cipher_page_size.
# Guess: SQLite's backup either converts the page size of the empty destination or fails
#   ("SQLITE_READONLY" in WAL, else an error): a backup that reports success is a copy.
# Seen (sqlcipher3 0.6.4, SQLCipher 4.19.0): backup() returns without an error and reports every page
#   copied (94 of 94); the file then opens under neither page size ("file is not a database"). With
#   equal page sizes the same code makes a good copy.
# Why it matters: a backup counts only when a fresh connection has opened it and found its rows.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check sqlcipher3==0.6.4
cat > "$dir/run.py" <<'PY'
import sys
from sqlcipher3 import dbapi2 as sql

folder = sys.argv[1]


def connect(name, page_size):
    db = sql.connect(f"{folder}/{name}")
    db.execute("PRAGMA key = 'a passphrase'")
    db.execute(f"PRAGMA cipher_page_size = {page_size}")
    return db


source = connect("source.db", 4096)
source.execute("CREATE TABLE t (x)")
source.executemany("INSERT INTO t VALUES (?)", [(str(n) * 50,) for n in range(2_000)])
source.commit()
print("sqlcipher3", sql.version, "SQLCipher", source.execute("PRAGMA cipher_version").fetchone()[0])

results = {}
for page_size in (4096, 8192):
    name, steps = f"copy-{page_size}.db", []
    copy = connect(name, page_size)
    try:
        source.backup(copy, pages=50, progress=lambda status, left, total: steps.append((left, total)))
        outcome = f"success, {steps[-1][1] - steps[-1][0]} of {steps[-1][1]} pages"
    except sql.Error as exc:
        outcome = f"{type(exc).__name__}: {exc}"
    copy.close()
    seen = []
    for opened_with in (4096, 8192):
        try:
            again = connect(name, opened_with)
            tables = [row[0] for row in again.execute("SELECT name FROM sqlite_master")]
            seen.append(f"opened with {opened_with}: tables {tables}")
            again.close()
        except sql.Error as exc:
            seen.append(f"opened with {opened_with}: {type(exc).__name__}: {exc}")
    results[page_size] = (outcome.split(",")[0], any("'t'" in line for line in seen))
    print(f"to page size {page_size}: backup says: {outcome}")
    print("   ", "\n    ".join(seen))
expected = {4096: ("success", True), 8192: ("success", False)}
sys.exit(results != expected and f"CHANGED: expected {expected}, found {results}")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir" 2> "$dir/log" || { cat "$dir/log"; exit 1; }
