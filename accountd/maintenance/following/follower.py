"""``accountd follow``: starts the primary's end, receives from it, and begins again at its end."""

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from accountd.data import database, lock_file, standby_role
from accountd.data.standby.log import ForeignFramesError
from accountd.maintenance.following.channel import Channel, ClosedError
from accountd.maintenance.following.messages import DamagedError, NoiseError
from accountd.maintenance.following.receiving import Receiver
from shared.errors import OperatorError, RefusedError

log = structlog.get_logger()

SILENCE_S: Final = 10.0  # the primary's end says something twenty times a second
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
STATUS_S: Final = 0.2
_WAIT_S: Final = 0.5
_LAST_WORDS_S: Final = 2.0  # after SIGTERM, for what is on its way
_END_S: Final = 1.0
_TROUBLES: Final = (
    ClosedError, DamagedError, ForeignFramesError, NoiseError, OperatorError, OSError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """Where the primary is: a file on this host, or one on another and how to get there."""

    path: str
    host: str = ""
    rsh: str = "ssh -T"
    remote_command: str = "accountd"

    def __str__(self) -> str:
        """As it was written."""
        return f"{self.host}:{self.path}" if self.host else self.path

    @classmethod
    def parse(cls, text: str, *, rsh: str, remote_command: str) -> "Source":
        """``PATH`` or ``HOST:PATH``, as rsync has it: a slash before the colon makes it a path."""
        host, colon, path = text.partition(":")
        if not colon or "/" in host:
            return cls(str(Path(text).absolute()))
        return cls(path, host, rsh, remote_command)

    def command(self) -> list[str]:
        """What starts the primary's end."""
        if not self.host:
            program = "from accountd.cli import main; main()"
            return [sys.executable, "-c", program, "ship", self.path]
        remote = f"{self.remote_command} ship {shlex.quote(self.path)}"
        return [*shlex.split(self.rsh), self.host, remote]


class Follower:
    """Follows one primary until it is told to stop."""

    def __init__(self, source: Source, path: Path) -> None:
        """Take up the standby at ``path``, whose lock the caller holds."""
        self._source, self._path = source, path
        self._receiver = Receiver(path, str(source), self._say)
        self._status_path = Path(f"{path}.standby-status")
        self._status_at = 0.0
        self._lag_s_max = 0.0
        self._completed_at: float | None = None
        self._connections = 0
        self._trouble = ""
        self._stop_by: float | None = None
        self._last_words = 0  # times that all was here since it was told to stop

    def run(self) -> None:
        """Follow until SIGTERM or SIGINT."""
        failures = 0
        with _signals(self._stop) as wakeup:
            while not self._is_stopping():
                as_of = self._receiver.complete_as_of
                try:
                    self._follow_once(wakeup)
                except _TROUBLES as exc:
                    self._trouble = _words(exc)
                if self._is_stopping():
                    break
                failures = 0 if self._receiver.complete_as_of != as_of else failures + 1
                pause = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                log.warning("not following", reason=self._trouble, again_s=pause)
                self._write_status(state="waiting")
                _wait(wakeup, pause)
            self._write_status(state="stopped")
            self._receiver.close()

    def _follow_once(self, wakeup: int) -> None:
        self._connections += 1
        self._receiver.begin()
        with _started(self._source.command()) as channel:
            while not self._is_over():
                is_stopping = self._stop_by is not None
                messages = channel.pump(_WAIT_S, wakeup=None if is_stopping else wakeup)
                for answer in self._receiver.handle(messages):
                    channel.send(*answer)
                    channel.flush()
                self._note(messages)
                if time.monotonic() - channel.heard_at > SILENCE_S:
                    self._trouble = f"the primary's end has said nothing for {SILENCE_S:g} s"
                    return

    def _note(self, messages: list[Any]) -> None:
        if any(message[0] == "complete" for message in messages):
            self._last_words += self._stop_by is not None
        if any(message[0] == "complete" for message in messages) and self._receiver.is_live:
            now = time.time()
            as_of = self._receiver.complete_as_of
            assert as_of is not None
            before = self._completed_at
            self._lag_s_max = max(self._lag_s_max, now - (before if before is not None else as_of))
            if before is None:
                print(f"ready accountd standby={self._path} source={self._source}", flush=True)  # noqa: T201
            self._completed_at = as_of
            self._trouble = ""
        if time.monotonic() - self._status_at > STATUS_S:
            self._write_status(state="following" if self._receiver.is_live else "copying")

    def _is_stopping(self) -> bool:
        return self._stop_by is not None

    def _is_over(self) -> bool:
        """Whether it shall stop and has heard all that was committed when it was told so."""
        if self._stop_by is None:
            return False
        return self._last_words > 1 or time.monotonic() > self._stop_by

    def _stop(self) -> None:
        if self._stop_by is None:
            self._stop_by = time.monotonic() + _LAST_WORDS_S

    def _say(self, text: str) -> None:
        log.info("standby " + text, source=str(self._source), standby=str(self._path))

    def _write_status(self, *, state: str) -> None:
        """Say how it is; a crash may lose the last of it."""
        self._status_at = time.monotonic()
        receiver = self._receiver
        status = {
            "state": state,
            "source": str(self._source),
            "pid": os.getpid(),
            "can_be_promoted": receiver.has_base,
            "complete_as_of": receiver.complete_as_of,
            "lag_s_max": round(self._lag_s_max, 3),
            "behind_bytes": receiver.left,
            "received_bytes": receiver.received,
            "copied_blocks": receiver.progress,
            "connections": self._connections,
            "trouble": self._trouble,
            "written_at": time.time(),
        }
        temporary = self._status_path.with_name(self._status_path.name + ".new")
        try:
            temporary.touch(0o600)
            temporary.write_text(json.dumps(status))
            temporary.replace(self._status_path)
        except OSError as exc:
            log.warning("cannot write the status", reason=exc.strerror)


def follow(source: Source, path: Path) -> None:
    """Keep ``path`` a standby of ``source`` until SIGTERM or SIGINT."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with database.locked(path):
        Follower(source, path).run()


def read_status(path: Path) -> dict[str, Any]:
    """What the follower of ``path`` wrote last, with ``is_running`` and ``lag_s`` as of now."""
    role = standby_role.read(path)
    if role is None:
        raise RefusedError(f"{path} is no standby", hint="run: accountd follow SOURCE DEST")
    try:
        status: dict[str, Any] = json.loads(Path(f"{path}.standby-status").read_text())
    except (FileNotFoundError, ValueError):
        status = {"state": "unknown", "complete_as_of": None, "source": role.source}
    status["role"] = role.state.value
    status["is_running"] = lock_file.owner(path) is not None
    as_of = status["complete_as_of"]
    status["lag_s"] = None if as_of is None else round(max(time.time() - as_of, 0.0), 3)
    return status


# --- helpers -------------------------------------------------------------------------------------


def _words(exc: BaseException) -> str:
    if isinstance(exc, NoiseError):
        return f"the remote shell prints {str(exc)!r}; it must print nothing"
    if isinstance(exc, OSError):
        return f"the standby's disk: {exc.strerror}"
    return str(exc)


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[Channel]:
    """The primary's end, and the pipes to it. It ends with its standard input."""
    with subprocess.Popen(  # noqa: S603 - what the operator asked for
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Channel(process.stdout.fileno(), process.stdin.fileno())
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def _signals(stop: Any) -> Iterator[int]:
    """Have SIGTERM and SIGINT call ``stop``; a descriptor that is readable once one came."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    previous = signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous)
        os.close(reader)
        os.close(writer)


def _wait(wakeup: int, seconds: float) -> None:
    select.select([wakeup], [], [], seconds)
