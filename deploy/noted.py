"""Notes for accountctl where the cluster's accountd is, so that it is found from any folder."""

from pathlib import Path

from accountd.ctl import profile
from deploy.process import RUN, write_private
from shared import config


def endpoint(root: Path) -> str:
    """The request socket of the cluster in this folder, for whoever is in another one."""
    return f"ipc://{root / RUN / 'rpc.sock'}"


def note(root: Path) -> str:
    """Write the profile; returns a line about it."""
    path, found = profile.path(), endpoint(root)
    try:
        config.endpoint(found)  # a socket's path may be too long
        if path is None:
            raise ValueError("expected HOME or XDG_CONFIG_HOME in the environment")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, profile.text_of(found))
    except (ValueError, OSError) as exc:
        return f"accountctl finds this cluster in this folder only: {exc}"
    return f"accountctl finds this cluster from any folder ({path})"


def forget(root: Path) -> None:
    """Remove the profile, where it names this cluster."""
    path = profile.path()
    try:
        if path is not None and path.read_text() == profile.text_of(endpoint(root)):
            path.unlink()
    except (OSError, UnicodeDecodeError):
        return  # there is none, or it is somebody else's
