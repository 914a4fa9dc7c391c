"""Every kind of abuse: how many, for how long, with which settings, and by what it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.limits import CLOSE_S, DIAL_S, HANDSHAKE_S
from shared.ops_server import REQUEST_TIMEOUT_S
from tests.support.tuned import Constants

# The deadlines that are longer than an attack may last, shortened. What holds a peer to them is the
# same.
STALLED_S = 6.0  # 30 s
PING_S = 3.0  # 30 s
IDLE_S = 9.0  # 120 s
SHORT_STALLS: Constants = {"gateway.limits.STALLED_S": STALLED_S}
# Five tries to reach a provider again, within 4 s; a client that does not answer the close then.
GIVEN_UP_S = 4.0
SHORT_TRIES: Constants = {
    "gateway.relay.replacement.TRIES_MAX": 5,
    "gateway.limits.CATCH_UP_S": 6.0,  # 30 s
}
SHORT_SILENCE: Constants = {
    **SHORT_STALLS,
    "gateway.limits.PING_S": PING_S,
    "gateway.limits.IDLE_S": IDLE_S,
}


class Fault(Enum):
    """What happens once all abusers have begun."""

    NOTHING = auto()
    NETWORK_GONE = auto()  # theirs: not a packet comes or goes
    PROVIDER_GONE = auto()  # theirs: killed, for good


@dataclass(frozen=True)
class Kind:
    """One attack. ``script`` is in ``scripts``."""

    name: str
    count: int
    script: str
    deadline_s: float | None
    """By when one has to be gone; None: it does what it may."""
    memory_mib: int
    """What the gateway may take more than before."""
    lasts_s: float = 28.0
    """At most: it ends when no abuser is left."""
    is_repeated: bool = False
    """They come again."""
    beside: str = ""
    """What as many others do, who may: they come first, and stay."""
    beside_count: int = 0
    tuned: Constants | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    is_tls: bool = False
    fault: Fault = Fault.NOTHING
    open_files: int = 0
    """The gateway's limit of open files; 0: the usual one."""
    cpu_max: float | None = None
    """What share of a core the gateway may use."""
    rows: int = 0
    """The charges that their account has from before."""
    port: str = "listen"
    """Which of the gateway's ports is watched."""
    is_told: str = ""
    """The event of the log lines that have to be there, and are no complaint."""


PAGE = {"GATEWAY_PAGE": "yes"}
NOT_THERE = "provider unavailable"
FULL = "no room for more sessions"
KINDS = [
    Kind("slow handshakes", 2_000, "slow_handshake", HANDSHAKE_S, 64),
    Kind("slow handshakes, TLS", 2_000, "slow_tls", HANDSHAKE_S, 192, is_tls=True, port="tls"),
    Kind("header bombs", 100, "header_bomb", CLOSE_S, 64, lasts_s=10, is_repeated=True),
    Kind("9 kB URIs", 100, "long_uri", CLOSE_S, 64, lasts_s=10, is_repeated=True),
    Kind(
        "answers not read", 500, "unread_answer", STALLED_S, 64, tuned=SHORT_STALLS, settings=PAGE,
    ),
    Kind(
        "files not read", 64, "unread_file", STALLED_S, 64, tuned=SHORT_STALLS, settings=PAGE,
        rows=30_000,
    ),
    Kind("one-byte chunks", 50, "tiny_chunks", CLOSE_S, 64, lasts_s=10, is_repeated=True),
    Kind("metrics not read", 200, "unread_metrics", REQUEST_TIMEOUT_S, 64, port="ops"),
    Kind("audio not read", 50, "deaf", STALLED_S, 128, tuned=SHORT_STALLS),
    Kind("one-byte fragments", 20, "fragments", None, 64),
    Kind("ping floods", 20, "pings", None, 64, tuned=SHORT_STALLS),
    Kind("10,000 tiny messages/s", 10, "tiny", None, 64),
    Kind(
        "16 MiB before a provider", 50, "before_provider", DIAL_S + CLOSE_S, 192,
        is_told=NOT_THERE,
    ),
    Kind("16 MiB unfinished", 50, "unfinished", None, 320),
    Kind(
        "speech between providers", 400, "between_providers", GIVEN_UP_S + 6.0, 320,
        fault=Fault.PROVIDER_GONE, tuned=SHORT_TRIES, is_told=NOT_THERE,
    ),
    Kind(
        "half-open", 200, "vanishing", IDLE_S, 64, fault=Fault.NETWORK_GONE, tuned=SHORT_SILENCE,
        settings=PAGE,
    ),
    Kind(
        "all sessions taken", 1, "slow_handshake", HANDSHAKE_S, 64, beside="sessions",
        beside_count=250, open_files=400, cpu_max=0.5, is_told=FULL,
    ),
    Kind(
        "no descriptors", 100, "slow_handshake", HANDSHAKE_S, 64, beside="sessions",
        beside_count=250, open_files=400, cpu_max=0.5, is_told=FULL,
    ),
]  # fmt: skip
