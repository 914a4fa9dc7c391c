"""Secrets and words that are looked for afterwards in everything that the daemons have written.

The log level is DEBUG and asyncio's own debugging is on; every way in is used, rightly and wrongly.
"""

import base64
import contextlib
import hashlib
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.ephemeral import PATH as MINTING
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.http_client import ask
from tests.support.private_files import write_private
from tests.support.simulator_client import write
from tests.support.simulator_client_gemini import PATH as GEMINI_PATH

OPENAI = "/v1/realtime?model=gpt-realtime&pace=0&recall=all"
GEMINI = f"{GEMINI_PATH}?pace=0&recall=all"
ENDS = ("response.done", "turnComplete", '"error"')


@dataclass(frozen=True)
class Canaries:
    """What must not be found, by what it is."""

    cluster: Cluster
    secrets: dict[str, str]

    def found_in(self, content: bytes) -> list[str]:
        """The canaries in ``content``, as they are, in base64 and, of keys, by their hashes."""
        return [name for name, text in self.secrets.items() if _is_in(text, content)]


def _is_in(text: str, content: bytes) -> bool:
    raw = text.encode()
    forms = (raw, raw.hex().encode(), hashlib.sha256(raw).hexdigest().encode())
    return any(form in content for form in (*forms, *(_in_base64(raw, at) for at in range(3))))


def _in_base64(raw: bytes, at: int) -> bytes:
    """What every encoding has in common in which ``raw`` begins at a place of this remainder."""
    return base64.b64encode(bytes(at) + raw)[4:-4]


@pytest.fixture(scope="module")
def canaries() -> Iterator[Canaries]:
    """A cluster with a secret of its own in each place, in which everything has happened once."""
    with cluster_folder() as cluster:
        known = {
            "OpenAI's key": f"sk-{secrets.token_hex(16)}", "Gemini's key": secrets.token_hex(16),
            "signing secret": secrets.token_hex(32), "unknown key": _key(), "malformed key":
            f"sk-{secrets.token_hex(20)}", "words": f"the word is {secrets.token_hex(8)}",
            "database key": (cluster.folder / "db.key").read_text(),
        }  # fmt: skip
        for name in ("OpenAI's key", "Gemini's key", "signing secret"):
            write_private(_file_of(cluster, name), known[name])
        del cluster.env["OPENAI_API_KEY"]
        cluster.env |= {
            "LOG_LEVEL": "DEBUG", "PYTHONASYNCIODEBUG": "1", "GATEWAY_PAGE": "yes",
            "GATEWAY_STORE_CONVERSATIONS": "yes",
            "OPENAI_API_KEY_FILE": str(_file_of(cluster, "OpenAI's key")),
            "GEMINI_API_KEY_FILE": str(_file_of(cluster, "Gemini's key")),
            "GATEWAY_EPHEMERAL_SECRET_FILE": str(_file_of(cluster, "signing secret")),
        }  # fmt: skip
        cluster.start_accountd()
        simulator = cluster.start_simulator()
        cluster.env["GEMINI_BASE_URL"] = f"http://{simulator.field('listen')}"
        _allow_core_dumps(cluster)
        known["account's key"] = cluster.create_account("canary")
        answer = ask(cluster.address, "POST", MINTING, key=known["account's key"], body="{}")
        known["ephemeral key"] = answer.json["value"]
        everything = Canaries(cluster, known)
        _live(everything)
        yield everything


def _key() -> str:
    return f"rslive_v1_{secrets.token_hex(24)}"


def _file_of(cluster: Cluster, name: str) -> Path:
    return cluster.folder / f"secret {name}"


def _allow_core_dumps(cluster: Cluster) -> None:
    """Start the gateway as on a machine that writes them."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        cluster.start_gateway()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)


def _live(canaries: Canaries) -> None:
    """Every key in every place, right and wrong ones; words in both protocols; trouble."""
    known, words = canaries.secrets, canaries.secrets["words"]
    account_key = known["account's key"]
    for name in ("account's key", "ephemeral key", "unknown key", "malformed key"):
        for open_path in (OPENAI, GEMINI):
            _talk_everywhere(canaries.cluster, open_path, known[name], words)
        for path in ("/api/account", MINTING, OPENAI):
            ask(canaries.cluster.address, "POST", path, key=known[name], body="{}")
        for mangled in (b"Upgrade: websocket\r\n", b"X: \x01\r\n", b"Content-Length: x\r\n"):
            _mangle(canaries.cluster, known[name], mangled)
    for trouble in ("refuse=401", "account=invalid_api_key", "close=1006", "redirect=away"):
        _talk(canaries.cluster, f"{OPENAI}&{trouble}", words, Authorization=f"Bearer {account_key}")
    for path, heard in ((f"{OPENAI}&rs_sessid=kept", words), (GEMINI, "turnComplete")):
        said = _talk(canaries.cluster, path, words, Authorization=f"Bearer {account_key}")
        assert heard in said


def _talk_everywhere(cluster: Cluster, path: str, key: str, words: str) -> None:
    _talk(cluster, path, words, Authorization=f"Bearer {key}")
    _talk(cluster, path, words, **{"x-goog-api-key": key})
    _talk(cluster, f"{path}&key={key}", words)
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
    _talk(cluster, path, words, subprotocols=offered)


def _talk(
    cluster: Cluster,
    path: str,
    words: str,
    subprotocols: list[Subprotocol] | None = None,
    **headers: str,
) -> str:
    """Say ``words``; everything that is heard, which repeats them at OpenAI."""
    heard = ""
    url = f"ws://{cluster.address}{path}"
    with (
        contextlib.suppress(WebSocketException, OSError, TimeoutError),
        connect(url, additional_headers=headers, subprotocols=subprotocols) as client,
    ):
        for message in _spoken(path, words):
            client.send(json.dumps(message))
        while not any(last in heard for last in ENDS):
            message = client.recv(timeout=10)
            heard += message.decode() if isinstance(message, bytes) else message
    return heard


def _spoken(path: str, words: str) -> list[dict[str, Any]]:
    if path.startswith(OPENAI):
        return [write(words), {"type": "response.create"}]
    turn = {"turns": [{"role": "user", "parts": [{"text": words}]}], "turnComplete": True}
    model = "models/gemini-3.1-flash-live-preview"
    return [{"setup": {"model": model, "outputAudioTranscription": {}}}, {"clientContent": turn}]


def _mangle(cluster: Cluster, key: str, line: bytes) -> None:
    """A request that is none, with a key in each place."""
    host, port = cluster.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        head = f"GET {OPENAI}&key={key} HTTP/1.1\r\nHost: x\r\napi-key: {key}\r\n".encode()
        client.sendall(head + line + b"\r\n")
        while client.recv(65_536):
            pass


def test_no_log_file_or_database_holds_a_secret_or_a_word(canaries: Canaries) -> None:
    """Logs, standard output, the database, its WAL, the spool: whatever was written, also by a
    gateway that is killed by its own abort, whose memory holds all of it.
    """
    folder = canaries.cluster.folder
    assert b"session opened" in canaries.cluster.gateways[0].log.read_bytes()
    eventually(lambda: canaries.cluster.ask("sessions.list", account_id="canary")["sessions"])
    canaries.cluster.gateways[0].stop(signal.SIGABRT)
    written = [path for path in folder.rglob("*") if path.is_file() and _is_daemons_own(path)]
    kinds = {path.suffix for path in written} | {path.name for path in written}
    assert {".log", ".out", "accounts.db", "accounts.db-wal"} <= kinds
    assert any("spool" in path.parts for path in written)
    found = {str(path): canaries.found_in(path.read_bytes()) for path in written}
    assert {path: names for path, names in found.items() if names} == {}


def _is_daemons_own(path: Path) -> bool:
    """Not the secrets themselves, and not what the provider's stand-in has written."""
    is_secret = path.name.startswith("secret ") or path.name == "db.key"
    is_provider = "simulator" in path.name or "audio" in path.parts or path.name == "usage.jsonl"
    return not (is_secret or is_provider)


def test_no_process_shows_a_secret_to_others(canaries: Canaries) -> None:
    """Neither the daemons nor their children have one in their environment or command line: files
    hold them.
    """
    cluster = canaries.cluster
    assert cluster.accountd is not None
    gateway = cluster.start_gateway()
    for pid in _with_children({cluster.accountd.process.pid, gateway.process.pid}):
        for name in ("environ", "cmdline"):
            assert canaries.found_in(Path(f"/proc/{pid}/{name}").read_bytes()) == []


def _with_children(pids: set[int]) -> set[int]:
    found = set(pids)
    for pid in pids:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found |= _with_children({int(child) for child in children.read_text().split()})
    return found


@pytest.mark.parametrize("name", ["accountd", "rts-gateway"])
def test_a_daemon_that_crashes_leaves_no_core_dump(name: str) -> None:
    """Whatever limit it was started with: a dump would hold every key and every word."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    with cluster_folder() as cluster:
        resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
        try:
            accountd = cluster.start_accountd()
            daemon = accountd if name == "accountd" else cluster.start_gateway()
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, limits)
        assert max(resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE)) <= 1
        os.kill(daemon.process.pid, signal.SIGABRT)
        _, status = os.waitpid(daemon.process.pid, 0)
        daemon.process.returncode = -os.WTERMSIG(status)
        assert os.WTERMSIG(status) == signal.SIGABRT
        assert not os.WCOREDUMP(status)
        assert list(cluster.folder.glob("core*")) == []


def test_a_process_that_does_not_forbid_it_dumps_its_memory(tmp_path: Path) -> None:
    """What the test above would see, on a machine that writes core dumps."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != resource.RLIM_INFINITY:
        pytest.skip("this machine writes none")
    crashing = "import os, resource as r; r.setrlimit(r.RLIMIT_CORE, (-1, -1)); os.abort()"
    crash = subprocess.Popen([sys.executable, "-c", crashing], cwd=tmp_path)
    _, status = os.waitpid(crash.pid, 0)
    crash.returncode = -os.WTERMSIG(status)
    assert os.WCOREDUMP(status)
