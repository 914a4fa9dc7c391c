"""Who may talk: what accountd grants or denies, and the grants of the last moments. Pure.

Read from answers by ``rpc_client``; a ``Grant`` goes with its session through ``door``, ``calls``
and ``credit``.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.limits import GRANTS_MAX
from shared.errors import UnreachableError


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to open a session, with the credits that the account had then."""

    account_id: str
    key_indicator: str
    token_remaining: int
    topup_remaining: int


@dataclass(frozen=True, slots=True)
class Denial:
    """accountd said no: ``code`` as in its RPC interface."""

    code: str
    message: str


def read_grant(result: object) -> Grant:
    """The grant in an answer of accountd. Raises ``UnreachableError`` when it holds none."""
    values: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
    match values:
        case {
            "account_id": str(account_id),
            "key_indicator": str(key_indicator),
            "token_remaining": int(tokens),
            "topup_remaining": int(topup),
        }:
            return Grant(account_id, key_indicator, tokens, topup)
    raise UnreachableError("accountd answered nonsense to authorize")


class GrantCache:
    """The newest grants by the hash of their key, at most ``GRANTS_MAX``. ``now`` is monotonic."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long a grant counts, from 0, which is never."""
        self.seconds = seconds
        self._granted: OrderedDict[str, tuple[float, Grant]] = OrderedDict()

    def put(self, key_hash: str, grant: Grant, *, now: float) -> None:
        """accountd granted this; the oldest entry goes when there are too many."""
        self._granted[key_hash] = (now, grant)
        self._granted.move_to_end(key_hash)
        if len(self._granted) > GRANTS_MAX:
            self._granted.popitem(last=False)

    def get(self, key_hash: str, *, now: float) -> Grant | None:
        """The grant that still counts; None when there is none."""
        granted_at, grant = self._granted.get(key_hash, (float("-inf"), None))
        return grant if now - granted_at < self.seconds else None

    def remove(self, key_hash: str) -> None:
        """accountd denied it: an earlier grant counts no more."""
        self._granted.pop(key_hash, None)
