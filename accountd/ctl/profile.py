"""Where the daemon is, when no setting says it: in this folder, or where ``make up`` started it.

The profile is a file of the user's with a line ``ACCOUNTD_RPC_ENDPOINT=ipc://…``, which ``make up``
writes and ``make down`` removes. Whoever answers there is told everything, and believed: so a
daemon, or a profile, that another user could have put there is not taken.
"""

import os
import stat
from pathlib import Path
from typing import Final

from shared import config
from shared.errors import ConfigError, cause_of
from shared.secret_files import folder_open_to_others

_SETTING: Final = "ACCOUNTD_RPC_ENDPOINT="
_ROOT: Final = 0


def path() -> Path | None:
    """The file; None for a user without a home."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():  # which the XDG Base Directory Specification tells to ignore
        folder = Path(os.environ.get("HOME", ""), ".config")
    return folder / "realtime-switch" / "accountctl.env" if folder.is_absolute() else None


def text_of(endpoint: str) -> str:
    """What the file holds that names this endpoint."""
    return f"{_SETTING}{endpoint}\n"


def endpoint() -> str:
    """The endpoint of a daemon that was started in this folder, else the one in the profile.

    Without either it is that of this folder, where none has been started yet. Raises
    ``ConfigError`` for a profile that cannot be used.
    """
    here, file = config.DEFAULT_RPC_ENDPOINT, path()
    if _is_socket_here(Path(here.removeprefix("ipc://"))) or file is None:
        return here
    try:
        with file.open(encoding="utf-8") as opened:
            status = os.fstat(opened.fileno())
            text = opened.read()
        is_open = bool(status.st_mode & stat.S_IWOTH) or folder_open_to_others(file) is not None
    except FileNotFoundError:
        return here
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {file}: {cause_of(exc)}", hint=_hint(file)) from None
    if is_open or status.st_uid not in (os.geteuid(), _ROOT):
        raise ConfigError(f"{file}: found a file that another user can write", hint=_hint(file))
    named = [line.removeprefix(_SETTING) for line in text.splitlines() if line.startswith(_SETTING)]
    try:
        return config.endpoint(named[0] if named else "")
    except ValueError as exc:
        found = repr(named[0]) if named else f"no {_SETTING}"
        raise ConfigError(f"{file}: found {found}, {exc}", hint=_hint(file)) from None


def _is_socket_here(socket: Path) -> bool:
    """Whether a daemon was started in this folder. Its socket's folder is its user's alone
    (``zmq_sockets.make_private_folder``).
    """
    try:
        socket.stat()
        folder = socket.parent.stat()
        is_foreign = folder.st_uid != os.geteuid() or bool(folder.st_mode & stat.S_IWOTH)
    except PermissionError:
        is_foreign = True
    except OSError:
        return False
    if is_foreign:
        raise ConfigError(
            f"found {socket} of another user in this folder",
            hint="run it as that user, or elsewhere, or name the socket as ACCOUNTD_RPC_ENDPOINT",
        )
    return True


def _hint(file: Path) -> str:
    return f"rm {file}; make up writes it again"
