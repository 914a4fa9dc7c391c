"""``make up`` and ``make down`` as a new user types them, in a folder of their own."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.certificate import make
from deploy.ports import check_free
from deploy.process import ClusterError, started
from deploy.providers import describe, simulated
from deploy.snippet import snippet_of
from tests.support.harness import eventually
from tests.support.http_client import ask
from tests.support.paths import ROOT
from tests.support.ports import free_ports

VENV = Path(sys.executable).parent.parent


@dataclass
class Clone:
    """A copy of the project with ports of its own."""

    folder: Path
    env: dict[str, str]

    def make(self, target: str, **exported: str) -> "subprocess.CompletedProcess[str]":
        """Run a target, with more exported variables."""
        # The test's own environment serves: making one takes a minute, and .ci/run does that.
        stamp = ["VENV=" + str(VENV), "-o", str(VENV / ".installed")]
        return subprocess.run(
            ["make", *stamp, target], cwd=self.folder, env={**self.env, **exported},
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def pids(self) -> dict[str, str]:
        """Service to pid file content."""
        return {p.stem: p.read_text() for p in (self.folder / "var" / "run").glob("*.json")}

    def log(self, service: str) -> str:
        """What a service has written so far."""
        return (self.folder / "var" / "log" / f"{service}.log").read_text()


@pytest.fixture
def clone() -> Iterator[Clone]:
    """The files that git knows, as they are in the working tree."""
    folder = Path(tempfile.mkdtemp(prefix="rts-up-"))
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in names:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    ports = free_ports(6)
    env = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "RTS_ENGINE": "process",
        "XDG_CONFIG_HOME": str(folder / "settings"),
        "RTS_PORT": str(ports[0]), "RTS_SIMULATOR_PORT": str(ports[1]),
        "RTS_OPS_PORT": str(ports[2]), "RTS_TLS_PORT": str(ports[5]),
    }  # fmt: skip
    made = Clone(folder, env)
    try:
        yield made
    finally:
        made.make("down")
        shutil.rmtree(folder)


def test_up_makes_no_key_beside_a_database(clone: Clone) -> None:
    """One line says which file is missing, and nothing is made or started."""
    var = clone.folder / "var"
    var.mkdir()
    (var / "accounts.db").write_bytes(os.urandom(4096))
    done = clone.make("up")
    assert done.returncode != 0
    assert "make up: found var/accounts.db and no var/secrets/db.key, the key" in done.stderr
    assert not list(var.rglob("*.key"))
    assert clone.pids() == {}


def made_by_compose(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What the service ``key`` of docker-compose.yml does, in folders of this machine."""
    text = (ROOT / "docker-compose.yml").read_text().partition("      - |\n")[2]
    program = textwrap.dedent(text.partition("\n\n")[0])
    for name in ("/var/lib/rts", "/secrets", "/gateway"):
        (folder / Path(name).name).mkdir(exist_ok=True)
        program = program.replace(f'"{name}', f'"{folder}/{Path(name).name}')
    program = program.replace("os.chown(new, 10001, 10001)", "")
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_compose_makes_no_key_beside_a_database(tmp_path: Path) -> None:
    """Only where none of the database's files is in the volume."""
    assert made_by_compose(tmp_path).returncode == 0
    key = tmp_path / "secrets" / "db.key"
    assert len(key.read_text()) == 64
    (tmp_path / "rts" / "accounts.db.journal").write_bytes(b"something")
    assert made_by_compose(tmp_path).returncode == 0
    key.unlink()
    done = made_by_compose(tmp_path)
    assert done.returncode == 78
    assert "accounts.db.journal in the volume accounts and no deploy/secrets/db.key" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not key.exists()


@contextmanager
def answering() -> Iterator[str]:
    """The address of a probe that says 200 to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/readyz"
        server.shutdown()
        thread.join()


def test_up_twice_talk_and_down(clone: Clone) -> None:
    """The cluster comes up, the printed program works as printed, and nothing is left behind."""
    first = clone.make("up")
    assert first.returncode == 0, first.stdout + first.stderr
    before = clone.pids()
    assert set(before) == {"accountd", "simulator", "gateway-1", "gateway-2"}
    env_file = clone.folder / "var" / "cluster.env"
    assert env_file.stat().st_mode & 0o077 == 0
    for secret in ("db.key", "ephemeral.secret", "demo.key"):
        assert (clone.folder / "var" / "secrets" / secret).stat().st_mode & 0o077 == 0
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert values["GATEWAY_URL"] == f"ws://127.0.0.1:{clone.env['RTS_PORT']}"

    profile = clone.folder / "settings" / "realtime-switch" / "accountctl.env"
    assert profile.stat().st_mode & 0o077 == 0

    address = f"127.0.0.1:{clone.env['RTS_PORT']}"
    assert b"<!doctype html>" in ask(address, "GET", "/").body
    assert ask(address, "GET", "/api/account", key=values["API_KEY"]).json["id"] == "demo"
    own = {"Origin": f"http://{address}"}
    demo = ask(address, "POST", "/demo/client_secrets", headers=own)
    assert demo.json["value"].startswith("ek_")

    talk = subprocess.run(
        [sys.executable, "-c", snippet_of(first.stdout)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert talk.returncode == 0, talk.stderr
    assert "tokens" in talk.stdout

    def usage() -> str:
        command = [str(VENV / "bin" / "accountctl"), "usage", values["ACCOUNT_ID"]]
        return subprocess.run(  # from a folder that has nothing to do with it
            command, env=clone.env, cwd="/", capture_output=True, text=True, timeout=60, check=True
        ).stdout

    eventually(lambda: f" {talk.stdout.split()[-2]} " in usage())

    assert values["GATEWAY_URL_TLS"] == f"wss://localhost:{clone.env['RTS_TLS_PORT']}"
    assert (clone.folder / "var" / "tls" / "key.pem").stat().st_mode & 0o077 == 0
    over_tls = snippet_of(first.stdout).replace(
        f"http://127.0.0.1:{clone.env['RTS_PORT']}/",
        f"https://localhost:{clone.env['RTS_TLS_PORT']}/",
    )
    assert "https:" in over_tls
    talk = subprocess.run(
        [sys.executable, "-c", over_tls], env={**os.environ, "SSL_CERT_FILE": values["CA_FILE"]},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert talk.returncode == 0, talk.stderr
    cert_before = Path(values["CA_FILE"]).read_text()

    again = clone.make("up")
    assert again.returncode == 0
    assert again.stdout.count("is already running") == 4
    assert clone.pids() == before, "nothing was started anew"
    assert Path(values["CA_FILE"]).read_text() == cert_before
    assert env_file.read_text().splitlines() == [f"{n}={v}" for n, v in values.items()]

    assert clone.make("down").returncode == 0
    assert clone.pids() == {}
    assert not profile.exists()
    assert all(started(int(content.split(":")[1].split(",")[0])) is None
               for content in before.values())  # fmt: skip
    assert "nothing was running" in clone.make("down").stdout


TAKEN = [
    ("RTS_PORT", 0, False),
    ("RTS_PORT", 0, True),
    ("RTS_SIMULATOR_PORT", 1, False),
    ("RTS_OPS_PORT", 2, False),
    ("RTS_OPS_PORT", 4, True),
    ("RTS_TLS_PORT", 5, False),
]


@pytest.mark.parametrize(("variable", "offset", "shares"), TAKEN)
def test_a_taken_port_is_one_clear_line(
    clone: Clone, variable: str, offset: int, shares: bool
) -> None:
    """Somebody listens there, even one who would share: who, which variable, nothing started."""
    port = int(clone.env["RTS_PORT"]) + offset
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shares)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        other.bind(("127.0.0.1", port))
        other.listen()
        done = clone.make("up")
    assert done.returncode != 0
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("make up:")]
    assert f"cannot listen on 127.0.0.1:{port}: taken by pid {os.getpid()} (" in line
    assert line.endswith(f"choose another port with {variable}")
    assert not (clone.folder / "var").exists()


def test_a_port_that_was_just_left_is_free() -> None:
    """Connections of the last cluster in TIME_WAIT do not keep the next one away."""
    (port,) = free_ports(1)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        with pytest.raises(ClusterError):
            check_free(port, variable="RTS_PORT")
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()  # who closes first waits
            assert client.recv(1) == b""
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    check_free(port, variable="RTS_PORT")


PROBED = """
import sys
from deploy import process
process.READY_S = float(sys.argv[3])
for folder in (process.RUN, process.LOG):
    folder.mkdir(parents=True)
service = process.Service("other", (sys.executable, "-uc", sys.argv[2]), sys.argv[1])
service.log.write_text("ready as it was yesterday\\n")
service.start()
try:
    service.wait_ready()
finally:
    process.stop("other")
"""
PROGRAMS = [
    # What is run, how many seconds it is waited for, and what is said about it.
    ("print('no luck')", 30, "other ended; the end of var/log/other.log:\n    no luck"),
    ("import time; print('busy'); time.sleep(60)", 2, "other did not become ready; the end of"),
    ("import time; print('ready now'); time.sleep(60)", 30, None),
]


@pytest.mark.parametrize(("program", "ready_s", "complaint"), PROGRAMS)
def test_a_service_is_ready_when_it_says_so(
    clone: Clone, program: str, ready_s: int, complaint: str | None
) -> None:
    """A probe that another cluster answers proves nothing, nor does an old line in the log."""
    with answering() as url:
        done = subprocess.run(
            [sys.executable, "-c", PROBED, url, program, str(ready_s)],
            cwd=clone.folder, env=clone.env,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == (1 if complaint else 0), done.stderr
    assert (complaint or "") in done.stderr


EXPORTED = {
    "DB_ENCRYPTION_KEY": "0" * 64, "DB_PATH": "/nowhere/accounts.db", "LOG_LEVEL": "warn",
    "LOG_FORMAT": "soup", "GATEWAY_LISTEN": "x", "GATEWAY_TLS_CERT": "/nowhere",
    "ACCOUNTD_RPC_ENDPOINT": "ipc:///nowhere/rpc.sock", "ACCOUNTD_USAGE_ENDPOINT": "soup",
    "SIMULATOR_API_KEY": "sk-another", "OPENAI_API_KEY": "", "OPENAI_API_KEY_FILE": "",
}  # fmt: skip


def test_exported_variables_do_not_matter(clone: Clone) -> None:
    """Variables of another experiment, for every program that make up runs."""
    done = clone.make("up", **EXPORTED)
    assert done.returncode == 0, done.stdout + done.stderr
    talk = subprocess.run(
        [sys.executable, "-c", snippet_of(done.stdout)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert talk.returncode == 0, talk.stderr + clone.log("gateway-1")
    assert (clone.folder / "var" / "spool").stat().st_mode & 0o777 == 0o700
    assert clone.make("up", **EXPORTED).stdout.count("is already running") == 4


def test_a_models_file_lets_sessions_go_from_one_provider_to_the_next(clone: Clone) -> None:
    """The example of the README: OpenAI is drained, and the program of make up talks to Azure."""
    done = clone.make("up", RTS_MODELS_FILE="deploy/models.example.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    ctl = (str(VENV / "bin" / "accountctl"),)
    run = partial(
        subprocess.run, cwd=clone.folder, capture_output=True, text=True, timeout=60, check=True
    )
    told = run([*ctl, "providers", "drain", "openai"]).stdout
    assert "openai" in told
    gateways = [f"gateway-{number}" for number in (1, 2)]
    eventually(lambda: all("provider drained" in clone.log(name) for name in gateways))
    run([sys.executable, "-c", snippet_of(done.stdout)])
    eventually(lambda: "azure" in run([*ctl, "usage", "demo"]).stdout)


def test_a_models_file_is_refused_for_containers(clone: Clone) -> None:
    """It would be ignored there: one line says so and what to do."""
    done = clone.make("up", RTS_ENGINE="docker", RTS_MODELS_FILE="models.toml")
    assert done.returncode != 0
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("make up:")]
    assert "RTS_MODELS_FILE does not reach the containers" in line
    assert "docker-compose.override.yml" in line


@pytest.mark.parametrize("port", ["soup", "0", "-1", "70000"])
def test_a_port_that_is_none_is_one_line(clone: Clone, port: str) -> None:
    """What was found and what was expected."""
    done = clone.make("up", RTS_PORT=port)
    assert done.returncode != 0
    assert done.stderr.startswith(f"RTS_PORT: found '{port}', expected a port from 1 to 65000\n")


def test_a_certificate_that_expires_is_made_anew(clone: Clone) -> None:
    """Gateways that run already take the new one, without a restart."""
    assert clone.make("up").returncode == 0
    before = clone.pids()
    folder = clone.folder / "var" / "tls"
    make(folder / "cert.pem", folder / "key.pem", valid=timedelta(days=29))
    again = clone.make("up")
    assert "made a self-signed certificate" in again.stdout
    assert clone.pids() == before
    context = ssl.create_default_context(cafile=folder / "cert.pem")
    port = int(clone.env["RTS_TLS_PORT"])

    def is_trusted() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                context.wrap_socket(raw, server_hostname="localhost").close()
        except ssl.SSLCertVerificationError:
            return False
        return True

    eventually(lambda: all(is_trusted() for _ in range(10)))


KEYS = [
    ({}, 8, ["OpenAI, Gemini, xAI, Azure OpenAI: simulated"]),
    ({"OPENAI_API_KEY": ""}, 8, ["OpenAI, Gemini, xAI, Azure OpenAI: simulated"]),
    (
        {"GEMINI_API_KEY": "k", "GEMINI_BASE_URL": "http://here"},
        0,
        ["Gemini: http://here", "OpenAI: not available", "xAI: not", "Azure OpenAI: not"],
    ),
    (
        {"XAI_API_KEY_FILE": "/k", "OPENAI_API_KEY": "k"},
        0,
        ["OpenAI: the real", "xAI: the real", "Gemini: not", "Azure OpenAI: not"],
    ),
]


@pytest.mark.parametrize(("environ", "count", "lines"), KEYS)
def test_real_providers_and_the_simulator_are_never_mixed(
    environ: dict[str, str], count: int, lines: list[str]
) -> None:
    """One key of yours, and nothing is simulated any more; make up says what goes where."""
    assert len(simulated(environ, "http://127.0.0.1:8090")) == count
    said = describe(environ)
    assert [line[: len(start)] for line, start in zip(said, lines, strict=True)] == lines


def test_a_key_file_is_refused_for_containers(clone: Clone) -> None:
    """It would be ignored there: one line says so and what to do."""
    done = clone.make("up", RTS_ENGINE="docker", OPENAI_API_KEY_FILE="/home/me/key")
    assert done.returncode != 0
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("make up:")]
    assert "OPENAI_API_KEY_FILE does not reach the containers" in line
    assert 'OPENAI_API_KEY="$(cat /home/me/key)" make up' in line
