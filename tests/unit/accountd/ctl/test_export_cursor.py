"""The cursor of exports, where a disk fails or somebody interferes; kills are in the integration
tests.
"""

from pathlib import Path

import pytest

from accountd.ctl.exporting import files
from accountd.ctl.exporting.cursor import Cursor, Mark, only_export
from accountd.ctl.exporting.files import NewFile
from shared.errors import RefusedError, StorageError

JOB = {"format": "csv", "accounts": []}
MARK = Mark(7, "p-7", "ledger")


def cut_off(tmp_path: Path, patch: pytest.MonkeyPatch) -> Path:
    """An export that could not give its complete file the name."""
    path = tmp_path / "1.csv"
    real = files.move

    def failing(source: Path, target: Path) -> None:
        if target == path:
            raise OSError(5, "Input/output error")
        real(source, target)

    with patch.context() as broken:
        broken.setattr(files, "move", failing)
        with pytest.raises(StorageError, match="Input/output error"), NewFile(path) as file:
            file.write("rows\n")
            file.finish()
            Cursor(tmp_path / "cursor", JOB).publish(file, MARK)
    assert not path.exists()
    return path


def test_a_file_that_got_no_name_gets_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are in no other file: the cursor counts them as exported."""
    path = cut_off(tmp_path, monkeypatch)
    cursor = Cursor(tmp_path / "cursor", JOB)
    assert cursor.mark == Mark()
    assert cursor.recover() == path
    assert path.read_text() == "rows\n"
    assert cursor.recover() is None
    assert Cursor(tmp_path / "cursor", JOB).mark == MARK


def test_a_part_of_another_export_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file had its name, and somebody has taken it away."""
    path = cut_off(tmp_path, monkeypatch)
    path.with_name("1.csv.part").write_text("others\n")
    assert Cursor(tmp_path / "cursor", JOB).recover() == path
    assert not path.exists()


def test_two_exports_at_once_are_refused(tmp_path: Path) -> None:
    """Of one cursor, and of one file."""
    with only_export(tmp_path / "cursor"), pytest.raises(RefusedError, match="another export"):
        only_export(tmp_path / "cursor").__enter__()
    with NewFile(tmp_path / "1.csv"), pytest.raises(RefusedError, match="another export"):
        NewFile(tmp_path / "1.csv")
