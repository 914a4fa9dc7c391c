"""A real encrypted database for tests that need no daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accountd.data import database

KEY = "ab" * 32


@contextmanager
def empty_database() -> Iterator[Any]:
    """A file at the newest schema."""
    with (
        TemporaryDirectory() as folder,
        database.open_for_migrating(Path(folder) / "a.db", KEY) as opened,
    ):
        opened.runner.up()
        yield opened.database
