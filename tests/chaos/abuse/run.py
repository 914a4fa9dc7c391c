"""One attack on a cluster of its own, from before the first abuser until the books are read."""

import json
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.abuse.abusers import Plan
from tests.chaos.abuse.kinds import Fault, Kind
from tests.chaos.abuse.network import Network
from tests.chaos.abuse.verdict import Seen
from tests.chaos.abuse.watch import Watch, memory_mib
from tests.chaos.abuse.wire import Place
from tests.support.certificates import Pem
from tests.support.harness import cluster_folder
from tests.support.usage_socket import charge, usage_socket

HONEST, ABUSERS, BESIDE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
BEFORE_S = 3.0
AFTER_S = 3.0
END_S = 40.0
ROOT = Path(__file__).parents[3]


class Process:
    """A client's process: ended by the end of its standard input."""

    def __init__(self, module: str, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", f"tests.chaos.abuse.{module}", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> Any:
        """Ask it to end; the last line that it prints."""
        out, _ = self._process.communicate("\n", timeout=END_S)
        assert self._process.returncode == 0, "a client's process has failed"
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        """However it is."""
        self._process.kill()
        self._process.communicate()


class Attack:
    """One kind of abuse against one gateway."""

    def __init__(self, kind: Kind, stack: ExitStack) -> None:
        self._kind = kind
        self._stack = stack
        self._cluster = cluster = stack.enter_context(cluster_folder())
        self._theirs = stack.enter_context(cluster_folder())
        cluster.start_accountd()
        cluster.start_simulator()
        simulator = self._theirs.start_simulator()
        self._network = None
        if kind.fault is Fault.NETWORK_GONE:
            self._network = stack.enter_context(Network())
        pem = Pem.make(cluster.folder)
        self._certificate = str(pem.cert) if kind.is_tls else ""
        host = "127.0.0.1" if self._network is None else "0.0.0.0"
        self._gateway = cluster.start_gateway(
            tuned=kind.tuned, GATEWAY_LISTEN=f"{host}:0", GATEWAY_OPS_LISTEN="127.0.0.1:0",
            XAI_API_KEY="key", XAI_BASE_URL=f"http://{simulator.field('listen')}/xai/v1",
            GATEWAY_SESSIONS_PER_KEY_S="0", **pem.settings, **kind.settings,
        )  # fmt: skip
        self._pid = self._gateway.process.pid
        if kind.open_files:
            _, hard = resource.prlimit(self._pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (kind.open_files, hard))

    def run(self) -> Seen:
        """Attack it."""
        kind, seen = self._kind, Seen(self._kind)
        honest = self._start(Process("honest", self._url(), self._key("honest"), self._certificate))
        time.sleep(BEFORE_S)
        seen.before_mib = memory_mib(self._pid)
        if kind.beside:
            beside = self._abusers(kind.beside, kind.beside_count, BESIDE)
            beside.line()
        watch = Watch(self._pid, {self._port(kind.port)}, self._source)
        seen.begun = time.monotonic()
        abusers = self._abusers(kind.script, kind.count, self._source)
        abusers.line()
        self._strike(watch)
        while (watch.left or not watch.seen) and time.monotonic() - seen.begun < kind.lasts_s:
            time.sleep(0.1)
        seen.ended, seen.left, seen.gone_s = time.monotonic(), watch.left, watch.longest_s
        watch.stop()
        seen.seen, seen.peak_mib, seen.cpu = watch.seen, watch.peak_mib, watch.cpu
        abusers.kill()
        if kind.beside:
            beside.kill()
        time.sleep(AFTER_S)
        seen.after_mib = memory_mib(self._pid)
        self._note_honest(seen, honest.end())
        self._note_end(seen)
        return seen

    def _strike(self, watch: Watch) -> None:
        if self._kind.fault is Fault.PROVIDER_GONE:
            assert self._theirs.simulator is not None
            self._theirs.simulator.stop(signal.SIGKILL)
            watch.since = time.monotonic()
        elif self._network is not None:
            self._network.cut()
            watch.since = time.monotonic()

    def _note_honest(self, seen: Seen, told: dict[str, Any]) -> None:
        seen.handshakes, seen.round_trips = told["handshakes"], told["round_trips"]
        seen.failures = [failure for _, failure in told["failures"]]
        seen.refused, seen.answers = told["refused"], told["answers"]

    def _note_end(self, seen: Seen) -> None:
        """The gateway stops, and the books are read."""
        code = self._gateway.stop()
        seen.complaints = [*self._complaints(), *([f"exit {code}"] if code else [])]
        rows = self._cluster.usage_rows("honest")
        seen.charged = sum(row["responses"] for row in rows if row["kind"] == "response")
        seen.is_audit_ok = self._cluster.audit()["ok"]

    def _complaints(self) -> list[str]:
        told = self._kind.is_told
        return [x for x in self._gateway.complaints() if not (told and f'event="{told}"' in x)]

    # --- helpers ----------------------------------------------------------------------------------

    def _url(self) -> str:
        port = self._port("tls" if self._certificate else "listen")
        scheme, host = ("wss", "localhost") if self._certificate else ("ws", "127.0.0.1")
        return f"{scheme}://{host}:{port}/v1/realtime"

    def _port(self, name: str) -> int:
        return int(self._gateway.field(name).rpartition(":")[2])

    def _key(self, account: str) -> str:
        key = self._cluster.create_account(account, tokens=10**9)
        if account != "honest" and self._kind.rows:
            with usage_socket(self._cluster) as push:
                charge(self._cluster, push, account, rows=self._kind.rows)
        return key

    @property
    def _source(self) -> str:
        return ABUSERS if self._network is None else self._network.theirs

    def _abusers(self, script: str, count: int, source: str) -> Process:
        network = self._network
        place = Place(
            "127.0.0.1" if network is None else network.ours, self._port("listen"),
            self._port("tls"), self._port("ops"), self._key(script.replace("_", "-")), source,
        )  # fmt: skip
        plan = Plan({script: count}, self._kind.is_repeated, asdict(place))
        prefix = () if network is None else network.inside
        return self._start(Process("abusers", json.dumps(asdict(plan)), prefix=prefix))

    def _start(self, process: Process) -> Process:
        self._stack.callback(process.kill)
        return process


def attack(kind: Kind) -> Seen:
    """One attack."""
    if kind.fault is Fault.NETWORK_GONE and (why := Network.missing()):
        return Seen(kind, skipped=why)
    with ExitStack() as stack:
        return Attack(kind, stack).run()
