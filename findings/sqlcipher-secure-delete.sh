#!/usr/bin/env bash
# What: DROP TABLE of a table of 20 MB in WAL mode: how much is written, with the settings as they are and with
#   secure_delete = fast; beside the SQLite of Python.
# Guess: SQLite's documentation says that secure_delete is normally off, and that a dropped page only goes to the
#   free list, so a few pages are written.
# Seen (sqlcipher3 0.6.4, SQLCipher 4.19.0): secure_delete is on. Every page of the table is zeroed, encrypted, signed and
#   written to the log, 27 MB, and then to the database again. With secure_delete = fast it is 37 kB. (Debian's SQLite
#   has it on as well, the one of sqlite.org has not.)
# Why it matters: what is freed was encrypted all the time, so zeroing hides it from nobody who lacks the key. The
#   migration of a database of 500 MB took twice as long for it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check sqlcipher3==0.6.4
cat > "$dir/run.py" <<'PY'
import os
import sqlite3
import sys
from sqlcipher3 import dbapi2 as sqlcipher

folder, results = sys.argv[1], {}
print("SQLCipher", sqlcipher.connect(":memory:").execute("PRAGMA cipher_version").fetchone()[0])
for name, library, setting in (("sqlcipher", sqlcipher, None), ("fast", sqlcipher, "fast"), ("sqlite", sqlite3, None)):
    path = f"{folder}/{name}.db"
    db = library.connect(path, isolation_level=None)
    if library is sqlcipher:
        db.execute("PRAGMA key = 'a passphrase'")
    db.execute("PRAGMA journal_mode = wal")
    db.execute("CREATE TABLE t (x)")
    db.execute("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
               " INSERT INTO t SELECT randomblob(1000) FROM n")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if setting:
        db.execute(f"PRAGMA secure_delete = {setting}")
    (is_secure,) = db.execute("PRAGMA secure_delete").fetchone()
    db.execute("DROP TABLE t")
    written = os.stat(f"{path}-wal").st_size
    results[name] = (is_secure, written > 10_000_000)
    print(f"{name}: secure_delete {is_secure}, DROP TABLE writes {written:,} bytes to the log")
expected = {"sqlcipher": (1, True), "fast": (2, False)}
sys.exit({k: results[k] for k in expected} != expected and f"CHANGED: expected {expected}")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir" || exit 1
