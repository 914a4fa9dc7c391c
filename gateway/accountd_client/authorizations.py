"""Who may talk: what accountd allows or denies, and what it allowed in the last minute. Pure.

Read from answers by ``rpc_client``; a ``Authorization`` goes with its session through ``door``,
``calls`` and ``credit``.
"""

from collections import OrderedDict
from dataclasses import dataclass

from gateway.limits import CACHED_AUTHORIZATIONS_MAX
from shared.errors import UnreachableError


@dataclass(frozen=True, slots=True)
class Authorization:
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


def read_authorization(result: object) -> Authorization:
    """The authorization in an answer of accountd. Raises ``UnreachableError`` when it holds
    none.
    """
    match result:
        case {
            "account_id": str(account_id),
            "key_indicator": str(key_indicator),
            "token_remaining": int(tokens),
            "topup_remaining": int(topup),
        }:
            return Authorization(account_id, key_indicator, tokens, topup)
    raise UnreachableError("accountd answered nonsense to authorize")


class AuthorizationCache:
    """The newest authorizations by the hash of their key, at most ``CACHED_AUTHORIZATIONS_MAX``.
    ``now`` is monotonic.
    """

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long one counts, from 0, which is never."""
        self.seconds = seconds
        self._allowed: OrderedDict[str, tuple[float, Authorization]] = OrderedDict()

    def put(self, key_hash: str, authorization: Authorization, *, now: float) -> None:
        """accountd allowed this; the oldest entry goes when there are too many."""
        self._allowed[key_hash] = (now, authorization)
        self._allowed.move_to_end(key_hash)
        if len(self._allowed) > CACHED_AUTHORIZATIONS_MAX:
            self._allowed.popitem(last=False)

    def get(self, key_hash: str, *, now: float) -> Authorization | None:
        """The authorization that still counts; None when there is none."""
        allowed_at, authorization = self._allowed.get(key_hash, (float("-inf"), None))
        return authorization if now - allowed_at < self.seconds else None

    def remove(self, key_hash: str) -> None:
        """accountd denied it: an earlier authorization counts no more."""
        self._allowed.pop(key_hash, None)
