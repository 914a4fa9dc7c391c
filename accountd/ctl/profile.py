"""Where the daemon is, when no setting says it: in this folder, or where ``make up`` started it.

The profile is a file of the user's with a line ``ACCOUNTD_RPC_ENDPOINT=ipc://…``, which ``make up``
writes and ``make down`` removes.
"""

import os
from pathlib import Path
from typing import Final

from shared import config
from shared.errors import ConfigError, cause_of

_SETTING: Final = "ACCOUNTD_RPC_ENDPOINT="


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
    if file is None or Path(here.removeprefix("ipc://")).exists():
        return here
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return here
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {file}: {cause_of(exc)}", hint=_hint(file)) from None
    named = [line.removeprefix(_SETTING) for line in text.splitlines() if line.startswith(_SETTING)]
    try:
        return config.endpoint(named[0] if named else "")
    except ValueError as exc:
        found = repr(named[0]) if named else f"no {_SETTING}"
        raise ConfigError(f"{file}: found {found}, {exc}", hint=_hint(file)) from None


def _hint(file: Path) -> str:
    return f"rm {file}; make up writes it again"
