"""Where accountctl looks for its daemon."""

import os
from pathlib import Path

import pytest

from accountd.ctl import profile
from shared.config import DEFAULT_RPC_ENDPOINT
from shared.errors import ConfigError

NOTED = "ipc:///srv/rts/var/run/rpc.sock"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with a home, in another folder, where no daemon was started."""
    for name in ("home", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


def note(text: str) -> Path:
    """Write the profile."""
    path = profile.path()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_make_up_has_noted_counts_anywhere(home: Path) -> None:
    """In the user's folder of settings."""
    assert profile.endpoint() == DEFAULT_RPC_ENDPOINT
    path = note(profile.text_of(NOTED))
    assert path == home / ".config/realtime-switch/accountctl.env"
    assert profile.endpoint() == NOTED


def test_a_daemon_of_this_folder_counts_first(home: Path) -> None:
    """Whoever works in the folder of one cluster does not mean another one."""
    note(profile.text_of(NOTED))
    socket = Path(DEFAULT_RPC_ENDPOINT.removeprefix("ipc://"))
    socket.parent.mkdir(parents=True)
    socket.touch()
    assert profile.endpoint() == DEFAULT_RPC_ENDPOINT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no ACCOUNTD_RPC_ENDPOINT=, expected ipc://PATH"),
        ("ACCOUNTD_RPC_ENDPOINT=tcp://192.0.2.1:5000\n", "expected a loopback address"),
        ("ACCOUNTD_RPC_ENDPOINT=\n", "found '', expected ipc://PATH"),
    ],
)
def test_a_profile_that_names_no_endpoint(home: Path, text: str, message: str) -> None:
    """The line names the file, and says what to do."""
    path = note(text)
    with pytest.raises(ConfigError, match=message) as refused:
        profile.endpoint()
    assert str(refused.value).startswith(f"{path}: found ")
    assert f"rm {path}; make up writes it again" in str(refused.value)


def test_a_profile_that_cannot_be_read(home: Path) -> None:
    """A folder in its place."""
    path = note("")
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r"cannot read .*accountctl\.env: Is a directory"):
        profile.endpoint()


@pytest.mark.parametrize(
    ("name", "folder"),
    [("XDG_CONFIG_HOME", "/etc/of-mine/realtime-switch"), ("HOME", None)],
)
def test_where_the_profile_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str | None
) -> None:
    """Where the user wants it; a user without a home has none."""
    monkeypatch.setenv(name, "/etc/of-mine" if folder else "")
    path = profile.path()
    assert (str(path.parent) if path else None) == folder
    assert profile.endpoint() == DEFAULT_RPC_ENDPOINT


def test_a_profile_that_others_can_write_is_not_taken(home: Path) -> None:
    """Whoever writes it gets every command, and every new key."""
    path = note(profile.text_of(NOTED))
    path.chmod(0o646)
    with pytest.raises(ConfigError, match="found a file that another user can write"):
        profile.endpoint()
    path.chmod(0o644)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="found a file that another user can write"):
        profile.endpoint()
    path.parent.chmod(0o1777)
    assert profile.endpoint() == NOTED


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_a_socket_that_another_user_could_have_made_is_not_taken(home: Path, mode: int) -> None:
    """In a folder like /tmp anybody can start what looks like a daemon."""
    note(profile.text_of(NOTED))
    socket = Path(DEFAULT_RPC_ENDPOINT.removeprefix("ipc://"))
    socket.parent.mkdir(parents=True)
    socket.touch()
    socket.parent.chmod(mode)
    with pytest.raises(ConfigError, match="of another user in this folder"):
        profile.endpoint()


@pytest.mark.parametrize("what", ["socket", "profile"])
def test_what_another_user_made_is_not_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Also where nobody else could write it by now."""
    note(profile.text_of(NOTED))
    if what == "socket":
        socket = Path(DEFAULT_RPC_ENDPOINT.removeprefix("ipc://"))
        socket.parent.mkdir(parents=True, mode=0o700)
        socket.touch()
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    monkeypatch.setattr(profile, "_ROOT", -1)
    with pytest.raises(ConfigError, match="another user"):
        profile.endpoint()
