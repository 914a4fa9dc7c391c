"""The processes of a run: started, killed, stopped for a while and started again."""

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.clients import GatewayAddress
from tests.support.harness import Cluster, Daemon
from tests.support.paths import ROOT
from tests.support.ports import free_ports

HERE = Path(__file__).parent
LAGGING_ACCOUNTD = HERE / "lagging_accountd.py"
FORGETFUL_GATEWAY = HERE / "forgetful_gateway.py"


@dataclass
class Place:
    """Where one process after another runs: accountd's, or a gateway's with a port of its own."""

    name: str
    arguments: tuple[str, ...]
    env: dict[str, str]
    folder: Path
    script: Path | None = None
    starts: int = 0
    daemon: Daemon | None = None
    stopped_at: float | None = None
    earlier: list[Daemon] = field(default_factory=list)
    unread_since: dict[str, float] = field(default_factory=dict)

    @property
    def process(self) -> str:
        """The name of the process that runs here, or ran last."""
        return f"{self.env.get('GATEWAY_LISTEN', self.name).rpartition(':')[2]}.{self.starts}"

    @property
    def is_up(self) -> bool:
        """Whether a process runs here and is not stopped."""
        return self.daemon is not None and self.stopped_at is None

    def use(self, checkout: Path) -> None:
        """Run the programs of another release from here on."""
        self.env["PYTHONPATH"] = str(checkout)
        if self.script is not None:
            self.script = checkout / self.script.relative_to(ROOT)

    async def start(self) -> None:
        """Start the next process."""
        assert self.daemon is None
        self.starts += 1  # before it listens: who gets in knows the name of the new process
        self.daemon = await asyncio.to_thread(
            Daemon.start, self.name, *self.arguments,
            env=self.env, folder=self.folder, script=self.script,
        )  # fmt: skip

    async def kill(self) -> None:
        """SIGKILL. A process that had ended by itself is a failure of the run."""
        assert self.daemon is not None
        daemon, self.daemon = self.daemon, None
        self.unread_since[self.process] = self.stopped_at or time.time()
        self.stopped_at = None
        self.earlier.append(daemon)
        assert daemon.process.poll() is None, f"{self.name} ended by itself: {daemon.log}"
        await asyncio.to_thread(daemon.stop, signal.SIGKILL)

    def halt(self) -> None:
        """SIGSTOP."""
        assert self.daemon is not None
        self.stopped_at = time.time()
        self.daemon.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT, unless it was killed meanwhile."""
        if self.daemon is not None and self.stopped_at is not None:
            self.stopped_at = None
            self.daemon.process.send_signal(signal.SIGCONT)

    async def finish(self) -> int:
        """SIGTERM; the exit code."""
        assert self.daemon is not None
        daemon, self.daemon = self.daemon, None
        self.earlier.append(daemon)
        return await asyncio.to_thread(daemon.stop)

    def logs(self) -> str:
        """What all the processes here have logged."""
        return "".join(daemon.log.read_text(errors="replace") for daemon in self.earlier)


def accountd_place(cluster: Cluster, *, group: int, pause_s: float) -> Place:
    """accountd, slowed to ``group`` messages in about ``pause_s`` seconds."""
    slow = {"CHAOS_GROUP": str(group), "CHAOS_PAUSE_S": str(pause_s), "LOG_LEVEL": "DEBUG"}
    env = {**cluster.env, **slow}
    return Place("accountd", ("serve",), env, cluster.folder, script=LAGGING_ACCOUNTD)


def gateway_places(cluster: Cluster, count: int, *, script: Path | None = None) -> list[Place]:
    """Gateways which keep their ports from one process to the next, and share the spool."""
    return [
        Place(
            "rts-gateway", ("serve",), {**cluster.env, "GATEWAY_LISTEN": f"127.0.0.1:{port}"},
            cluster.folder, script=script,
        )
        for port in free_ports(count)
    ]  # fmt: skip


def make_database(cluster: Cluster, checkout: Path) -> None:
    """Make the database of another release, in the place of this one's."""
    for leftover in cluster.folder.glob("accounts.db*"):
        leftover.unlink()
    done = cluster.run("accountd", "migrate", PYTHONPATH=str(checkout))
    assert done.returncode == 0, done.stderr


def doors(gateways: Sequence[Place]) -> list[GatewayAddress]:
    """The addresses of all gateways, also of those that are down."""
    return [
        GatewayAddress(f"ws://{g.env['GATEWAY_LISTEN']}/v1/realtime", g.process) for g in gateways
    ]
