"""Whether the time of a refusal tells which keys there were: unknown, revoked, malformed, forged.

Run it from the root of the project: ``.venv/bin/python -m bench refusals``. A real gateway asks a
real accountd with an encrypted database. Keys of each kind take turns, in an order drawn anew for
each round, one request at a time, each on a connection and from an address of its own. What is
measured is the time from the request's first byte to the answer's last.

Each kind is compared with another one by the rank test of Mann and Whitney: the share of pairs in
which it took longer is 0.5 where nobody can tell them apart. Anybody sees which keys are ephemeral,
so those are compared with each other. ``unknown, again`` is the noise of the test itself, and ``no
key``, for which accountd is not asked, shows that the test would notice a difference.
"""

import itertools
import math
import random
import secrets
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.report import Bar, Cell, Check, Outcome, Scale, Table, at_most
from bench.scenarios import end_with
from gateway.door.client_key import hash_key
from gateway.door.ephemeral import Claims, mint
from tests.support.harness import Cluster, cluster_folder
from tests.support.private_files import write_private

SECRET: Final = "s" * 64
PATH: Final = "/v1/realtime?model=gpt-realtime"
DISTANCE_MAX: Final = 0.03  # of the share of pairs from one half
UNKNOWN, FORGED = "unknown", "ephemeral, forged"
# Each kind, what it is compared with, and whether nobody may tell the two apart.
KINDS: Final = {
    UNKNOWN: ("", False),
    "unknown, again": (UNKNOWN, True),
    "revoked": (UNKNOWN, True),
    "malformed": (UNKNOWN, True),
    FORGED: ("", False),
    "ephemeral, of a revoked key": (FORGED, True),
    "no key": (UNKNOWN, False),
}

Maker = Callable[[], str]


def unknown() -> str:
    """A key that there never was."""
    return f"rslive_v1_{secrets.token_hex(24)}"


def makers(cluster: Cluster, *, revoked: int) -> Mapping[str, Maker]:
    """What makes the next key of each kind; ``revoked`` keys were revoked before."""
    cluster.create_account("acct")
    lost = [_revoked(cluster) for _ in range(revoked)]
    ends = int(time.time()) + 7_200
    of_lost = [mint(Claims("acct", hash_key(key), ends), SECRET.encode()) for key in lost]
    forged = [mint(Claims("acct", hash_key(key), ends), b"t" * 64) for key in lost]
    return {
        UNKNOWN: unknown,
        "unknown, again": unknown,
        "revoked": itertools.cycle(lost).__next__,
        "malformed": lambda: f"sk-{secrets.token_hex(27)}x",
        FORGED: itertools.cycle(forged).__next__,
        "ephemeral, of a revoked key": itertools.cycle(of_lost).__next__,
        "no key": str,
    }


def _revoked(cluster: Cluster) -> str:
    made = cluster.ask("key.create", account_id="acct", label="lost", expires_at=None)
    cluster.ask("key.revoke", key=made["key_hash"], account_id="acct", keeps_sessions=False)
    return str(made["key"])


def timed(address: tuple[str, int], place: str, key: str) -> tuple[float, bool]:
    """How long a request takes, in µs, and whether it was refused as it should be."""
    carried = f"Authorization: Bearer {key}\r\n" if key else ""
    request = f"GET {PATH} HTTP/1.1\r\nHost: gateway\r\n{carried}\r\n".encode()
    with socket.create_connection(address, 20, source_address=(place, 0)) as client:
        began = time.perf_counter()
        client.sendall(request)
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
        took_s = time.perf_counter() - began
    return took_s * 1e6, answer.startswith(b"HTTP/1.1 401 ")


def share_longer(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """The share of pairs in which ``one`` took longer, and how probable a share as far from one
    half is by chance (Mann and Whitney's U, by its normal approximation; ties are rare).
    """
    ranked = sorted([(value, True) for value in one] + [(value, False) for value in other])
    ranks = sum(rank for rank, (_, is_one) in enumerate(ranked, start=1) if is_one)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return u / (n * m), math.erfc(abs(z) / math.sqrt(2))


def measure(scale: Scale) -> Outcome:
    """Time refusals of every kind."""
    rounds = scale.pick(5_000, quick=20)
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    right = 0
    with cluster_folder() as cluster:
        write_private(cluster.folder / "ephemeral.secret", SECRET)
        cluster.start_accountd()
        gateway = cluster.start_gateway(
            GATEWAY_EPHEMERAL_SECRET_FILE=str(cluster.folder / "ephemeral.secret"),
            GATEWAY_SESSIONS_PER_KEY_S="0",
        )
        host, port = gateway.field("listen").split(":")
        make = makers(cluster, revoked=scale.pick(200, quick=5))
        for number in range(rounds):
            if number % 1_000 == 0:
                scale.tell(f"round {number + 1} of {rounds}")
            for at, kind in enumerate(random.sample(list(KINDS), len(KINDS))):
                place = f"127.{10 + at}.{number // 250}.{number % 250 + 1}"
                took_us, is_right = timed((host, int(port)), place, make[kind]())
                taken[kind].append(took_us)
                right += is_right
    return _outcome(taken, right)


def _outcome(taken: Mapping[str, Sequence[float]], right: int) -> Outcome:
    rows: list[tuple[Cell, ...]] = []
    bars: list[Bar] = []
    for kind, (other, is_alike) in KINDS.items():
        quartiles = statistics.quantiles(taken[kind], n=4)
        compared = share_longer(taken[kind], taken[other]) if other else None
        longer, chance = (f"{compared[0]:.3f}", f"{compared[1]:.2g}") if compared else ("", "")
        rows.append((kind, len(taken[kind]), *quartiles, other, longer, chance))
        if is_alike and compared is not None:
            bars.append(
                at_most(f"{kind} / {other}, from one half", abs(compared[0] - 0.5), DISTANCE_MAX)
            )
    columns = (
        "key", "asked", "lower quartile", "median", "upper quartile", "compared with",
        "took longer in", "by chance",
    )  # fmt: skip
    return Outcome(
        tables=(Table("Time of a refusal, µs", columns, tuple(rows)),),
        bars=tuple(bars),
        checks=(Check("refused", found=right, expected=sum(map(len, taken.values()))),),
    )


if __name__ == "__main__":
    end_with(measure(Scale(is_quick=False, tell=print)))
