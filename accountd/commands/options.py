"""Options that the commands share."""

from typing import Final

import click

from shared.config import setting

DB_PATH: Final = setting(
    "DB_PATH",
    default="var/accounts.db",
    help="The encrypted database. Its key: DB_ENCRYPTION_KEY_FILE or DB_ENCRYPTION_KEY.",
)
JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, for programs."
)
