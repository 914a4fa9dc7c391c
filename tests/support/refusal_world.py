"""Gateways in every state in which they refuse, keys in every state in which they are refused.

``KEYS`` says how each is made, ``sweep`` asks everything of a table of ``Row`` at once. The scenes
are where a row is asked: most at the gateway that is as ``usual``.
"""

import asyncio
import secrets
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher
from websockets.asyncio.client import connect

from gateway.door.client_key import hash_key
from gateway.door.ephemeral import Claims, mint
from gateway.handles.handle import Handle, HandleKind
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.private_files import write_private
from tests.support.refused import (
    REALTIME,
    SECONDS,
    SERVICE,
    SESSIONS,
    Answer,
    Connection,
    CountingProvider,
    Way,
    ask,
    counting_provider,
    new_place,
)
from tests.support.tuned import SOON_AWAY, Constants

SECRET: Final = "s" * 64
ORIGIN: Final = "https://app.example.org"
CROWD: Final = 3
LONG_S: Final = 600
AT_ONCE: Final = 48
ROOM: Final = AT_ONCE + 1  # sessions of the narrow gateway: what is asked at once does not fill it
GATEWAYS: Final = ("usual", "narrow", "unsigned", "alone")
LATE: Final = ("paused", "full", "draining")  # one after the other, in this order
_GATEWAY_BY_SCENE: Final = {
    "usual": "usual", "crowded": "usual", "guessing": "usual", "again": "usual",
    "unsigned": "unsigned", "narrow": "narrow", "paused": "narrow", "full": "narrow",
    "alone": "alone", "busy": "alone",
}  # fmt: skip
# The last two lead Gemini's clients elsewhere: no provider is dialled before they name their model.
MODELS: Final = """
    [models."house"]
    provider = "openai"
    model = "gpt-realtime"
    [models."gemini-elsewhere"]
    provider = "openai"
    model = "gpt-realtime"
    [models."gemini-away"]
    provider = "xai"
    model = "grok-voice"
    [accounts.held]
    models = ["gpt-realtime-mini"]
"""
# One wrong key of an address, and one session of a name, for as long as the test takes.
LIMITS: Final[Constants] = {
    "gateway.limits.WRONG_KEYS_BURST": 1, "gateway.limits.WRONG_KEY_S": float(LONG_S),
    "gateway.limits.SAME_SESSION_BURST": 1, "gateway.limits.SAME_SESSION_S": float(LONG_S),
}  # fmt: skip


# A lease of a gateway that is gone, and a session of a minute, count for as long.
COUNTS: Final[Constants] = {
    "accountd.accounts.leases.LEASE_S": float(LONG_S),
    "accountd.accounts.session_rates.MINUTE_S": float(LONG_S),
}


@dataclass(frozen=True)
class Row:
    """A refusal, and the ways by which it is asked for. ``path`` is in place of the ways' own; one
    that begins with ``?`` is added. ``retry_s``: the bounds of ``Retry-After``, None: it has none.
    """

    name: str
    status: int
    code: str
    key: str = "good"
    ways: Sequence[Way] = tuple(SESSIONS)
    path: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    scene: str = "usual"
    retry_s: tuple[int, int] | None = None


@dataclass
class World:
    """What the requests meet, and what they heard, by the names of row and way."""

    cluster: Cluster
    provider: CountingProvider
    gateways: dict[str, Daemon] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    early: list[Connection] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """HOST:PORT of a gateway."""
        return self.gateways[name].field("listen")

    def key(self, name: str) -> str:
        """A key that there is."""
        key = self.keys[name]
        assert key is not None
        return key


# --- keys ----------------------------------------------------------------------------------------


def _unknown() -> str:
    return f"rslive_v1_{secrets.token_hex(24)}"


def _revoked(world: World) -> str:
    made = world.cluster.ask("key.create", account_id="good", label="r", expires_at=None)
    world.cluster.ask(
        "key.revoke", key=made["key_indicator"], account_id="good", keeps_sessions=False
    )
    return str(made["key"])


def _after(world: World, account: str, method: str, **params: Any) -> str:
    key = world.cluster.create_account(account)
    world.cluster.ask(method, account_id=account, **params)
    return key


def _limited(world: World, account: str, *limits: str) -> str:
    key = world.cluster.create_account(account)
    world.cluster.accountctl("account", "limit", account, *limits)
    return key


def _begun(world: World, account: str, *limits: str) -> str:
    """Of an account that has begun a session at another gateway, which is not heard of again."""
    key = _limited(world, account, *limits)
    world.cluster.ask("authorize", key_hash=hash_key(key), gateway="0" * 16, lease=account)
    return key


def _spent(world: World, account: str, cap: str) -> str:
    """A key that has spent its cap today: as the ledger counts it, without a message of usage."""
    key = world.cluster.create_account(account)
    world.cluster.accountctl("key", "limit", hash_key(key), "--spending", cap)
    folder, day = world.cluster.folder, int(time.time() // 86_400)
    connection = sqlcipher.connect(str(folder / "accounts.db"), timeout=LONG_S)
    with closing(connection), connection:
        connection.execute(f"PRAGMA key = \"x'{(folder / 'db.key').read_text()}'\"")
        connection.execute("INSERT INTO usage_keys (key_hash) VALUES (?)", (hash_key(key),))
        connection.execute(
            "INSERT INTO key_spending SELECT number, ?, 5 FROM usage_keys WHERE key_hash = ?",
            (day, hash_key(key)),
        )
    return key


def _ephemeral(
    world: World, of: str = "good", *, account: str = "", secret: str = SECRET,
    ends_s: int = LONG_S, **claims: Any,
) -> str:  # fmt: skip
    """A key made for the key ``of``, whose account has the same name where none is given."""
    ends = int(time.time()) + ends_s
    return mint(Claims(account or of, hash_key(world.key(of)), ends, **claims), secret.encode())


KEYS: Final[Mapping[str, Callable[[World], str | None]]] = {
    "good": lambda w: w.cluster.create_account("good"),
    "none": lambda _: None,
    "unknown": lambda _: _unknown(),
    "malformed": lambda _: "sk-proj-abc",
    "in capitals": lambda _: _unknown().upper(),
    "revoked": _revoked,
    "expired": lambda w: w.cluster.expired_key("good"),
    "disabled": lambda w: _after(w, "disabled", "account.disable", keeps_sessions=False),
    "deleted": lambda w: _after(w, "deleted", "account.delete"),
    "broke": lambda w: w.cluster.create_account("broke", tokens=0),
    "held": lambda w: w.cluster.create_account("held"),
    "only Gemini": lambda w: _limited(w, "only-gemini", "--providers", "gemini"),
    "one model": lambda w: _limited(w, "one-model", "--models", "gpt-realtime-mini"),
    "one at a time": lambda w: _begun(w, "one-at-a-time", "--sessions", "1"),
    "one a minute": lambda w: _begun(w, "one-a-minute", "--new-sessions", "1"),
    "spent this month": lambda w: _spent(w, "spent-month", "5/month"),
    "spent in all": lambda w: _spent(w, "spent-all", "5/total"),
    "busy": lambda w: w.cluster.create_account("busy"),
    "twin": lambda w: w.cluster.create_account("twin"),
    "other": lambda w: w.cluster.create_account("other"),
    "ek_, nothing": lambda _: "ek_",
    "ek_, noise": lambda _: "ek_" + "A" * 300,
    "ek_, another secret": lambda w: _ephemeral(w, secret="t" * 64),
    "ek_, another account": lambda w: _ephemeral(w, account="other"),
    "ek_, expired": lambda w: _ephemeral(w, ends_s=-1),
    "ek_": _ephemeral,
    "ek_ of an origin": lambda w: _ephemeral(w, origin=ORIGIN),
    "ek_ of a model": lambda w: _ephemeral(w, model="gpt-realtime-mini"),
    "ek_ of a transcription": lambda w: _ephemeral(w, configuration={"type": "transcription"}),
    "ek_ of a revoked key": lambda w: _ephemeral(w, "revoked", account="good"),
    "ek_ of an expired key": lambda w: _ephemeral(w, "expired", account="good"),
    "ek_ of a disabled account": lambda w: _ephemeral(w, "disabled"),
    "ek_ of a key with one session": lambda w: _ephemeral(
        w, "one at a time", account="one-at-a-time"
    ),
    "ek_ of a spent key": lambda w: _ephemeral(w, "spent in all", account="spent-all"),
    "ek_ of a key with one model": lambda w: _ephemeral(w, "one model", account="one-model"),
    "ek_ of an account without credit": lambda w: _ephemeral(w, "broke"),
}
# They open nothing, and no two of them may be told apart.
INDISTINCT: Final = (
    "unknown", "malformed", "in capitals", "revoked", "deleted", "ek_, nothing", "ek_, noise",
    "ek_, another secret", "ek_, another account", "ek_ of a revoked key",
)  # fmt: skip


# --- gateways ------------------------------------------------------------------------------------


def _start(world: World, name: str) -> None:
    folder = world.cluster.folder
    settings = {
        **world.provider.settings("openai", "azure", "gemini"),
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_OPS_LISTEN": "127.0.0.1:0",
        "GATEWAY_PAGE": "yes",
        "GATEWAY_MODELS_FILE": str(folder / "models.toml"),
        "GATEWAY_EPHEMERAL_SECRET_FILE": str(folder / "ephemeral.secret"),
        "GATEWAY_SPOOL_DIR": str(folder / f"spool-{name}"),
    }
    match name:
        case "usual":
            tuned = LIMITS
            settings["GATEWAY_CONNECTIONS_PER_ADDRESS"] = str(CROWD)
            settings["GATEWAY_STORE_CONVERSATIONS"] = "yes"
            settings["GATEWAY_DEMO_KEY_FILE"] = str(folder / "demo.key")
        case "narrow":
            tuned = SOON_AWAY
            settings["GATEWAY_KEYS_IN_URLS"] = "refuse"
            settings["GATEWAY_CONNECTIONS_MAX"] = str(ROOM)
            settings["GATEWAY_GRANT_CACHE_S"] = "0"
        case "unsigned":
            tuned = SOON_AWAY
            settings["GATEWAY_EPHEMERAL_SECRET_FILE"] = ""
        case "alone":
            tuned = SOON_AWAY
            settings["ACCOUNTD_RPC_ENDPOINT"] = f"ipc://{folder}/run/nobody.sock"
            settings["GATEWAY_SESSIONS_PER_KEY_S"] = "0.001"
    gateway = Daemon.start(
        "rts-gateway", "serve", env=world.cluster.env | settings, folder=folder, tuned=tuned
    )
    world.gateways[name] = gateway
    world.cluster.gateways.append(gateway)
    if name != "alone":
        eventually(lambda: "accountd reachable" in gateway.log.read_text())


@contextmanager
def refusing_world() -> Iterator[World]:
    """Gateways: as ``usual``, a ``narrow`` one, one without a secret to sign with, and one
    ``alone``, without an accountd.
    """
    with cluster_folder() as cluster, counting_provider() as provider:
        world = World(cluster, provider)
        write_private(cluster.folder / "ephemeral.secret", SECRET)
        (cluster.folder / "models.toml").write_text(MODELS)
        cluster.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
        cluster.start_accountd(tuned=COUNTS)
        with ThreadPoolExecutor() as pool:
            started = [pool.submit(_start, world, name) for name in GATEWAYS]
            for name, make in KEYS.items():
                world.keys[name] = make(world)
            for each in started:
                each.result()
        handles = [
            Handle("openai", HandleKind.CALL, "rtc_other"),
            Handle("openai", HandleKind.CONVERSATION, "conv_other"),
        ]
        cluster.ask(
            "handles.learn", names=[each.digest for each in handles], accounts=["other", "other"]
        )
        yield world


# --- asking --------------------------------------------------------------------------------------


async def sweep(world: World, rows: Sequence[Row]) -> None:
    """Ask everything; ``world.answers`` has what was heard."""
    early = [row for row in rows if row.scene not in LATE]
    for name, key, more in (("alone", "busy", ""), ("usual", "twin", "&rs_sessid=twin")):
        await ask(world.address(name), _plain(world.key(key), more))
    await _ask_all(world, early)
    late = {scene: [row for row in rows if row.scene == scene] for scene in LATE}
    early = sum(len(row.ways) for row in late["draining"])
    for scene, around in zip(
        LATE, (_paused(world), _full(world), _draining(world, early)), strict=True
    ):
        async with around:
            await _ask_all(world, late[scene])


def _plain(key: str, more: str = "") -> bytes:
    return Way("", REALTIME, {"api-key": "{}"}).request(key, REALTIME + more, {})


async def _ask_all(world: World, rows: Sequence[Row]) -> None:
    # One for each gateway: nobody waits for those that wait for an accountd.
    some = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(AT_ONCE))

    async def one(row: Row, way: Way) -> None:
        async with some[_GATEWAY_BY_SCENE.get(row.scene, "narrow")]:
            try:
                world.answers[row.name, way.name] = await _ask_one(world, row, way)
            except (OSError, EOFError) as exc:  # of one row alone: its test says so
                world.answers[row.name, way.name] = Answer(0, {}, repr(exc).encode())

    await asyncio.gather(*(one(row, way) for row in rows for way in row.ways))


async def _ask_one(world: World, row: Row, way: Way) -> Answer:
    key = _unknown() if row.key == "never seen" else world.keys[row.key]
    request = way.request(key, row.path, row.headers)
    if row.scene == "draining":
        return await world.early.pop().ask(request)
    address, place = world.address(_GATEWAY_BY_SCENE[row.scene]), new_place()
    if row.scene == "guessing":
        assert (await ask(address, _plain(_unknown()), place)).status == 401
    crowd = CROWD if row.scene == "crowded" else 0
    others = [await Connection.open(address, place) for _ in range(crowd)]
    try:
        return await ask(address, request, place)
    finally:
        for each in others:
            each.close()


@asynccontextmanager
async def _paused(world: World) -> AsyncIterator[None]:
    """accountd answers no more, and has let the key in before."""
    assert world.cluster.accountd is not None
    assert (await ask(world.address("narrow"), _plain(world.key("good")))).status == 426
    accountd = world.cluster.accountd.process
    accountd.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        accountd.send_signal(signal.SIGCONT)
    async with asyncio.timeout(SECONDS):
        while (await ask(world.address("narrow"), _plain(world.key("good")))).status != 426:
            pass


@asynccontextmanager
async def _full(world: World) -> AsyncIterator[None]:
    """All the sessions that there may be are of clients that have not named their model yet."""
    url, headers = f"ws://{world.address('narrow')}{SERVICE}", {"api-key": world.key("good")}
    async with AsyncExitStack() as stack:
        for _ in range(ROOM):
            await stack.enter_async_context(connect(url, additional_headers=headers))
        yield


@asynccontextmanager
async def _draining(world: World, early: int) -> AsyncIterator[None]:
    """It takes no connections any more, but answers the ``early`` ones."""
    gateway = world.gateways["narrow"]
    world.early = [await Connection.open(gateway.field("listen")) for _ in range(early)]
    world.metrics["narrow"] = gateway.metrics()
    gateway.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(eventually, lambda: "event=stopping" in gateway.log.read_text())
    try:
        yield
    finally:
        for each in world.early:
            each.close()
    assert await asyncio.to_thread(gateway.process.wait, SECONDS) == 0
