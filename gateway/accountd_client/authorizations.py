"""Who may talk: what accountd allows or denies, and what it allowed in the last minute. Pure.

Read from answers by ``rpc_client``; a ``Authorization`` goes with its session through ``door``,
``calls`` and ``credit``.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.limits import CACHED_AUTHORIZATIONS_MAX
from shared.announcements import RecallCause
from shared.errors import UnreachableError
from shared.fields import WireError
from shared.limits import SessionLimits, decode_session_limits

UNLIMITED: Final = SessionLimits()
# Denials of a session by which the key may go on with those that it has, and begin others later.
TOO_MANY: Final = frozenset({"too_many_sessions", "too_many_new_sessions"})


@dataclass(frozen=True, slots=True)
class Authorization:
    """The right to open a session, with the credits that the account had then.

    It was given to the key with ``key_hash``. Whatever accountd takes back after it has a number
    above ``mark`` (``shared.announcements.Recall``). ``expires_at`` is when the key does, in
    monotonic seconds; None: never. Its sessions end then, unless it ``keeps_sessions``. A session
    has ``limits``; where it ``is_leased`` accountd counts it among those that may live at a time.
    Where the key has a spending cap, ``spending_left`` is what it had left of that, in credits.
    """

    account_id: str
    key_indicator: str
    token_remaining: int
    topup_remaining: int
    key_hash: str = ""
    mark: int = 0
    expires_at: float | None = None
    keeps_sessions: bool = False
    limits: SessionLimits = UNLIMITED
    is_leased: bool = False
    spending_left: int | None = None

    @property
    def counted_key(self) -> str:
        """The hash of the key where what it spends is counted, else empty."""
        return "" if self.spending_left is None else self.key_hash


@dataclass(frozen=True, slots=True)
class Denial:
    """accountd said no: ``code`` as in its RPC interface. ``retry_after_s``: when to ask again."""

    code: str
    message: str
    retry_after_s: int | None = None


# What a key that was authorized lately is refused with while accountd is away.
DENIALS: Final[Mapping[str, Denial]] = {
    RecallCause.KEY_REVOKED: Denial("invalid_api_key", "the API key was revoked"),
    RecallCause.KEY_EXPIRED: Denial("expired_api_key", "the API key has expired"),
    RecallCause.ACCOUNT_DISABLED: Denial("account_disabled", "the account is disabled"),
}


def read_authorization(result: object, key_hash: str = "", *, now: float = 0.0) -> Authorization:
    """The authorization in an answer of accountd, of ``now`` (monotonic seconds). Raises
    ``UnreachableError`` when it holds none. An older accountd names no mark, expiry or limits.
    """
    match result:
        case {
            "account_id": str(account_id),
            "key_indicator": str(key_indicator),
            "token_remaining": int(tokens),
            "topup_remaining": int(topup),
            **others,
        }:
            mark, expires_in_ms = others.get("mark"), others.get("expires_in_ms")
            spending_left = others.get("spending_left")
            try:
                limits = decode_session_limits(others.get("limits", {}))
            except WireError as exc:
                raise UnreachableError(f"accountd answered nonsense to authorize: {exc}") from None
            return Authorization(
                account_id, key_indicator, tokens, topup, key_hash,
                mark if isinstance(mark, int) else 0,
                now + expires_in_ms / 1000 if isinstance(expires_in_ms, int) else None,
                others.get("keeps_sessions") is True,
                limits,
                others.get("is_leased") is True,
                spending_left if isinstance(spending_left, int) else None,
            )  # fmt: skip
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

    def has(self, key_hash: str) -> bool:
        """Whether the newest answer about this key was an authorization, however long ago."""
        return key_hash in self._allowed

    def remove(self, key_hash: str) -> None:
        """accountd denied it: an earlier authorization counts no more."""
        self._allowed.pop(key_hash, None)
