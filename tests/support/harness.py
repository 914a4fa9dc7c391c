"""Starts the real programs for tests: accountd, the simulator and gateways, in a folder of its own.

Nothing here knows how the programs work inside; it talks to them as an operator and his tools do.
"""

import functools
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from accountd.ctl import export
from accountd.ctl.cli import cli
from accountd.ctl.client import call
from tests.support.tuned import PROGRAM, Constants, compiled_in, environment

T = TypeVar("T")

START_S = 30.0
STOP_S = 45.0  # a gateway has 25 s for its sessions, and 5 to hand over
SETTLE_S = 40.0
ASK_S = 20.0
KEY_S = 2.0  # longer than a request takes on a busy machine
BIN = Path(sys.executable).parent
_AS_INSTALLED = Path(__file__).parent / "as_installed"
_ACCOUNTCTL = threading.Lock()  # there is one standard output
_FINE = re.compile(r"timestamp=\S+ level=(debug|info) ")


def eventually(check: Callable[[], T], *, seconds: float = SETTLE_S) -> T:
    """The first true answer of ``check``; its last answer is shown when time runs out.

    The last one is asked for after that: a process that was not given the CPU has not failed.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > deadline
        if answer := check():
            return answer
        if is_last:
            raise AssertionError(f"not within {seconds} s; last answer: {answer!r}")
        time.sleep(0.02)


def lines_of(path: Path) -> list[str]:
    """The whole lines of a file that somebody may be writing: the last one may be half there."""
    return path.read_bytes().rpartition(b"\n")[0].decode().splitlines()


def json_lines(path: Path) -> list[Any]:
    """The values in a log of JSON lines that may be growing."""
    return [json.loads(line) for line in lines_of(path)]


@dataclass
class Daemon:
    """A running program that printed its ``ready`` line."""

    process: subprocess.Popen[bytes]
    log: Path
    ready: str

    @classmethod
    def start(
        cls,
        name: str,
        *arguments: str,
        env: dict[str, str],
        folder: Path,
        script: Path | None = None,
        tuned: Constants | None = None,
    ) -> "Daemon":
        """Start ``name`` and wait until it is ready; its log is shown when it does not come up.

        ``script`` is a Python file that runs in the place of the command ``name``; with ``tuned``
        the command has other constants. Where these are compiled in the test is skipped.
        """
        log = folder / f"{Path(name).name}-{time.monotonic_ns()}.log"
        out = log.with_suffix(".out")
        command = [BIN / name] if script is None else [Path(sys.executable), script]
        if tuned is not None:
            if fixed := compiled_in(tuned):
                import pytest  # noqa: PLC0415 - what is no test never gets here

                pytest.skip(f"compiled in: {', '.join(fixed)}")
            package = name.removeprefix("rts-")
            command = [Path(sys.executable), PROGRAM, Path(package)]
            env = {**env, **environment(tuned)}
        with log.open("wb") as stderr, out.open("wb") as stdout:
            process = subprocess.Popen(
                [*command, *arguments],
                env=env, cwd=folder, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL,
            )  # fmt: skip

        def ready() -> str:
            if process.poll() is not None:
                raise AssertionError(f"{name} exited {process.returncode}: {log.read_text()}")
            return next((x for x in lines_of(out) if x.startswith("ready")), "")

        return cls(process, log, eventually(ready, seconds=START_S))

    def field(self, name: str) -> str:
        """A ``name=value`` of the ready line."""
        return dict(x.split("=", 1) for x in self.ready.split() if "=" in x)[name]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def metrics(self) -> dict[str, float]:
        """The numbers on its ops port."""
        with urllib.request.urlopen(f"http://{self.field('ops')}/metrics", timeout=ASK_S) as answer:
            lines = answer.read().decode().splitlines()
        return {n: float(v) for n, v in (x.split() for x in lines if not x.startswith("#"))}

    def complaints(self) -> list[str]:
        """Log lines that are worse than INFO, and everything that is no log line: tracebacks.

        Of one that has ended also half a line: nobody will write the rest.
        """
        has_ended = self.process.poll() is not None
        lines = self.log.read_text().splitlines() if has_ended else lines_of(self.log)
        return [x for x in lines if not _FINE.match(x)]


@dataclass
class Cluster:
    """accountd, a simulated provider and gateways that belong together."""

    folder: Path
    env: dict[str, str]
    accountd: Daemon | None = None
    simulator: Daemon | None = None
    gateways: list[Daemon] = field(default_factory=list)

    @property
    def address(self) -> str:
        """HOST:PORT of the first gateway."""
        return self.gateways[0].field("listen")

    @property
    def url(self) -> str:
        """The first gateway's realtime URL, without a query."""
        return f"ws://{self.address}/v1/realtime"

    def start_accountd(self, *options: str, tuned: Constants | None = None) -> Daemon:
        """Start accountd on the cluster's database, perhaps with other constants."""
        self.accountd = Daemon.start(
            "accountd", "serve", *options, env=self.env, folder=self.folder, tuned=tuned
        )
        return self.accountd

    def start_simulator(self, *arguments: str) -> Daemon:
        """Start the provider's stand-in; its usage log is the oracle."""
        self.simulator = Daemon.start(
            "rts-simulator", "serve", "--listen", "127.0.0.1:0",
            "--usage-log", str(self.folder / "usage.jsonl"),
            "--audio-log", str(self.folder / "audio"), *arguments,
            env=self.env, folder=self.folder,
        )  # fmt: skip
        self.env["OPENAI_BASE_URL"] = f"http://{self.simulator.field('listen')}/v1"
        return self.simulator

    def start_gateway(
        self, *, script: Path | None = None, tuned: Constants | None = None, **settings: str
    ) -> Daemon:
        """Start a gateway on a free port and wait until it takes sessions."""
        env = {**self.env, "GATEWAY_LISTEN": "127.0.0.1:0", **settings}
        gateway = Daemon.start(
            "rts-gateway", "serve", env=env, folder=self.folder, script=script, tuned=tuned
        )
        self.gateways.append(gateway)
        eventually(lambda: "accountd reachable" in gateway.log.read_text())
        return gateway

    def run(self, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the project's commands to its end."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            env={**self.env, **settings}, cwd=self.folder,
            capture_output=True, text=True, timeout=STOP_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def accountctl(self, *arguments: str) -> Any:
        """The JSON answer of an accountctl command that must succeed."""
        code, answer = self._accountctl(*arguments)
        assert code == 0, f"accountctl {arguments}: {answer}"
        return answer

    def _accountctl(self, *arguments: str) -> tuple[int, Any]:
        """The exit code and the JSON answer of an accountctl command that comes to an end.

        It is run in this process: one of its own (``run``) costs a third of a second of a core, and
        tests ask a thousand times.
        """
        endpoint, code = self.env["ACCOUNTD_RPC_ENDPOINT"], 0
        command = ["--accountd-rpc-endpoint", endpoint, *arguments, "--json"]
        out = io.StringIO()
        with _ACCOUNTCTL, redirect_stdout(out), redirect_stderr(io.StringIO()):
            try:
                cli.main(command, prog_name="accountctl", standalone_mode=False)
            except SystemExit as exc:
                code = int(exc.code or 0)
        return code, json.loads(out.getvalue())

    def ask(self, method: str, **params: Any) -> Any:
        """What accountd answers to the request that accountctl would send."""
        return call(self.env["ACCOUNTD_RPC_ENDPOINT"], method, params)

    def create_account(self, account_id: str, *, tokens: int = 10**9, topup: int = 0) -> str:
        """A new account; the answer is a key for it."""
        self.ask(
            "account.create", id=account_id, email=f"{account_id}@example.org", plan_name="Free",
            tokens=tokens, topup=topup,
        )  # fmt: skip
        key = self.ask("key.create", account_id=account_id, label="test", expires_at=None)["key"]
        assert isinstance(key, str)
        return key

    def expired_key(self, account_id: str) -> str:
        """A key that has expired: accountd makes none whose end is past, so it is waited for."""
        end = time.time() + KEY_S
        expiry = datetime.fromtimestamp(end, UTC).isoformat()
        key = self.ask("key.create", account_id=account_id, label="past", expires_at=expiry)["key"]
        assert isinstance(key, str)
        eventually(lambda: time.time() > end)
        return key

    def usage_rows(self, account_id: str) -> list[dict[str, Any]]:
        """The charged rows of an account, all of them, as accountctl exports them."""
        asked = {"account_id": account_id, "since": None, "until": None, "by": None}
        first = self.ask("usage", **asked, limit=None)
        assert first["adds_up"]
        return list(map(dict, export.rows(self.env["ACCOUNTD_RPC_ENDPOINT"], asked, first)))

    def usage_sent(self) -> list[dict[str, Any]]:
        """What the simulator's log says that it sent.

        A line is written when its event has left, and by then a client may have heard it. The
        simulator does one thing after the other: once it has answered a probe, the lines of
        everything that was heard before are there.
        """
        if self.simulator is not None and self.simulator.process.poll() is None:
            urllib.request.urlopen(
                f"http://{self.simulator.field('listen')}/healthz", timeout=ASK_S
            ).close()
        path = self.folder / "usage.jsonl"
        return json_lines(path) if path.exists() else []

    def audit(self) -> dict[str, Any]:
        """What ``accountctl audit`` found; its exit code must agree."""
        code, found = self._accountctl("audit")
        assert isinstance(found, dict)
        assert code == (0 if found["ok"] else 1)
        return found

    def kill(self) -> None:
        """End everything at once: the test is over, and what it promises of an end it has seen.

        A gateway that is asked to stop would wait for answers and hand over what nobody will read.
        """
        daemons = [x for x in (*self.gateways, self.accountd, self.simulator) if x is not None]
        for daemon in daemons:
            daemon.process.kill()
        for daemon in daemons:
            daemon.process.wait()


@contextmanager
def cluster_folder(*, is_measured: bool = True) -> Iterator[Cluster]:
    """A cluster with a migrated database, of which nothing runs yet.

    Without ``is_measured`` its programs write no coverage: where the disk is made to fail, that
    file would fail as well, and end the program in another way than its own.
    """
    # Not pytest's tmp_path: the path of a Unix socket holds at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="rts-"))
    for name, content in _migrated().items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    cluster = Cluster(folder, _environment(folder, is_measured=is_measured))
    try:
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder)


@functools.cache
def _migrated() -> dict[str, bytes]:
    """The files of a cluster that has only been migrated: its database and the key to it. They are
    the same each time, so each worker makes them once.
    """
    with tempfile.TemporaryDirectory(prefix="rts-") as name:
        folder = Path(name)
        (folder / "db.key").write_text(os.urandom(32).hex())
        (folder / "db.key").chmod(0o600)
        done = Cluster(folder, _environment(folder)).run("accountd", "migrate")
        assert done.returncode == 0, done.stderr
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _environment(folder: Path, *, is_measured: bool = True) -> dict[str, str]:
    """The settings of a cluster in a folder."""
    # So that `make coverage` measures the programs, too.
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    # It leads to the compiled modules, where those are tested.
    python_path = os.environ.get("PYTHONPATH", "") if is_measured else ""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, [python_path, str(_AS_INSTALLED)])),
        **(coverage if is_measured else {}),
        "HOME": str(folder),
        "DB_PATH": str(folder / "accounts.db"),
        "DB_ENCRYPTION_KEY_FILE": str(folder / "db.key"),
        "ACCOUNTD_USAGE_ENDPOINT": f"ipc://{folder}/run/usage.sock",
        "ACCOUNTD_RPC_ENDPOINT": f"ipc://{folder}/run/rpc.sock",
        "ACCOUNTD_EVENTS_ENDPOINT": f"ipc://{folder}/run/events.sock",
        "GATEWAY_SPOOL_DIR": str(folder / "spool"),
        "OPENAI_API_KEY": "sk-the-provider-key",
    }


@contextmanager
def running_cluster(gateways: int = 1) -> Iterator[Cluster]:
    """A cluster that runs."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.start_simulator()
        for _ in range(gateways):
            cluster.start_gateway()
        yield cluster
