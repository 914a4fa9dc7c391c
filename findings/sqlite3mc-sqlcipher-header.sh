#!/usr/bin/env bash
# What: a database that SQLite3 Multiple Ciphers encrypts with cipher='sqlcipher', opened by SQLCipher
#   with the same passphrase.
# Guess: the cipher is called sqlcipher and its defaults are version 4's, so SQLCipher opens the file.
# Seen (apsw-sqlite3mc 3.54.0.0, SQLite3MC 2.6.1; sqlcipher3 0.6.4, SQLCipher 4.19.0): SQLCipher cannot open what was written with the
#   defaults: bytes 16 to 23 of the file are SQLite's plain header, which SQLCipher decrypts with the
#   rest. With legacy=4 it opens it.
# Why it matters: better-sqlite3-multiple-ciphers and its kin are the usual way to such a file on Node;
#   a program that moves to SQLCipher proper finds "file is not a database" and suspects the key.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check sqlcipher3==0.6.4 apsw-sqlite3mc==3.54.0.0
cat > "$dir/run.py" <<'PY'
import sys
import apsw
from sqlcipher3 import dbapi2 as sql

folder, results = sys.argv[1], {}
print("apsw", apsw.apsw_version(), apsw.mc_version)
for legacy in (None, 4):
    path = f"{folder}/mc-{legacy}.db"
    db = apsw.Connection(path)
    db.pragma("cipher", "sqlcipher")
    if legacy:
        db.pragma("legacy", legacy)
    db.pragma("key", "a passphrase")
    db.execute("CREATE TABLE t (x)")
    db.close()
    header = open(path, "rb").read(24)[16:24]
    other = sql.connect(path)
    other.execute("PRAGMA key = 'a passphrase'")
    try:
        outcome = str([row[0] for row in other.execute("SELECT name FROM sqlite_master")])
    except sql.Error as exc:
        outcome = str(exc)
    is_plain = header[:2] == b"\x10\x00" and header[5:8] == b"\x40\x20\x20"
    results[legacy] = (is_plain, outcome)
    print(f"legacy={legacy}: header bytes 16-23 {header.hex()} (plain: {is_plain}); SQLCipher opens it: {outcome}")
expected = {None: (True, "file is not a database"), 4: (False, "['t']")}
sys.exit(results != expected and f"CHANGED: expected {expected}")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir" 2> "$dir/log" || { cat "$dir/log"; exit 1; }
