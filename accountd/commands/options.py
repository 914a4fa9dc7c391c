"""Options that the commands share."""

from typing import Final

import click

from shared.config import setting

DB_PATH: Final = setting(
    "DB_PATH",
    default="var/accounts.db",
    help="The encrypted database. Its key: DB_ENCRYPTION_KEY_FILE or DB_ENCRYPTION_KEY.",
)
JOURNAL: Final = setting(
    "ACCOUNTD_JOURNAL",
    "--journal",
    help="The journal of accounts, keys and grants, which a restore needs; best on another disk."
    " Absent: <DB_PATH>.journal.",
)
JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, for programs."
)
