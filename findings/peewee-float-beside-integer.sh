#!/usr/bin/env bash
# What: an IntegerField of peewee in an expression with a float: a comparison, a sum, an UPDATE.
# Guess: a field rounds or refuses what is stored in it. In an expression the float reaches SQLite as it is,
#   which compares and multiplies integers and floats exactly.
# Seen (peewee 4.5.3): every value that stands beside the field goes through int() first, without a word.
#   `n < 7.5` asks for `n < 7` and misses 7, `n == 7.5` finds 7, `n * 1.5` multiplies by 1, `n * 0.5` is 0,
#   and an UPDATE by 1.5 changes nothing. Turned round the same comparison is right, and so it is of
#   fn.MAX(n), where no field stands beside the float.
# Why it matters: a bound, a ratio or a surcharge that is computed as a float is silently another one.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check peewee==4.5.3
cat > "$dir/run.py" <<'PY'
import sys
import peewee

db = peewee.SqliteDatabase(":memory:")


class Row(peewee.Model):
    n = peewee.IntegerField()

    class Meta:
        database = db


db.create_tables([Row])
Row.insert_many([{"n": n} for n in (5, 6, 7, 8, 9)]).execute()
n = Row.n
cases = {
    "n < 7.5": (n < 7.5, [5, 6]),
    "n == 7.5": (n == 7.5, [7]),
    "n BETWEEN 6.5 AND 8.5": (n.between(6.5, 8.5), [6, 7, 8]),
    "n + 0.5 > 8": (n + 0.5 > 8, [9]),
    "n * 1.5 > 12": (n * 1.5 > 12, []),
    "7.5 > n": (peewee.Value(7.5) > n, [5, 6, 7]),
}
print("peewee", peewee.__version__)
is_same = True
for text, (condition, expected) in cases.items():
    found = [row.n for row in Row.select().where(condition).order_by(n)]
    exact = [row[0] for row in db.execute_sql(f'SELECT n FROM "row" WHERE {text} ORDER BY n')]
    parameters = Row.select().where(condition).sql()[1]
    print(f"  {text}: peewee sends {parameters} and finds {found}, SQLite by itself {exact}")
    is_same &= found == expected
changed = Row.update(n=n * 1.5).execute()
after = [row.n for row in Row.select().order_by(n)]
print(f"  UPDATE n = n * 1.5 reports {changed} rows, which now hold {after}")
maximum = [row.n for row in Row.select(n).group_by(n).having(peewee.fn.MAX(n) < 7.5).order_by(n)]
print(f"  HAVING MAX(n) < 7.5 finds {maximum}")
is_same &= after == [5, 6, 7, 8, 9] and maximum == [5, 6, 7]
sys.exit(not is_same and "CHANGED: expected the float cut to an integer wherever it stands beside the field")
PY
"$dir/venv/bin/python" "$dir/run.py"
