"""The models name what the migrations make: prepared SQL is derived from them."""

from collections.abc import Iterator
from typing import Any

import pytest

from accountd.data import models
from tests.support.database import empty_database

TABLES = models.Table.__subclasses__()


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    """An encrypted database at the newest schema."""
    with empty_database() as opened:
        yield opened.connection()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_a_model_has_the_columns_of_its_table(connection: Any, table: type[models.Table]) -> None:
    """A column that a migration adds and the model forgets would never be written."""
    name = table._meta.table_name
    columns = {row[1] for row in connection.execute(f"PRAGMA table_xinfo({name})")}
    assert {field.column_name for field in table._meta.sorted_fields} == columns
