"""What ``make up`` notes for accountctl, and ``make down`` removes."""

from pathlib import Path

import pytest

from accountd.ctl import profile
from deploy import noted

HERE, THERE = Path("/srv/here"), Path("/srv/there")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's settings, which does not exist yet."""
    folder = tmp_path / "settings"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


def test_accountctl_finds_the_cluster_that_came_up_last() -> None:
    """From any folder; what is stopped is not found any more."""
    noted.note(HERE)
    assert "from any folder" in noted.note(THERE)
    assert profile.endpoint() == "ipc:///srv/there/var/run/rpc.sock"
    noted.forget(HERE)
    assert profile.endpoint() == "ipc:///srv/there/var/run/rpc.sock"
    noted.forget(THERE)
    assert profile.endpoint() == "ipc://var/run/rpc.sock"
    noted.forget(THERE)


@pytest.mark.parametrize("root", [HERE / ("x" * 100)])
def test_a_folder_that_is_too_deep_for_a_socket(root: Path, settings: Path) -> None:
    """It says so, and nothing is noted."""
    line = noted.note(root)
    assert "in this folder only: expected a path of at most 107 bytes" in line
    assert not settings.exists()


def test_a_folder_of_settings_that_cannot_be_written(settings: Path) -> None:
    """The cluster is up all the same."""
    settings.write_text("a file")
    assert "in this folder only: " in noted.note(HERE)
    noted.forget(HERE)
