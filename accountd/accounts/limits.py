"""What limits hold for a key and for an account: those stored with it over the defaults. Pure.

Stored is a JSON object by the names of ``Limits``, with what an operator has set there alone: null
stands for no limit, whatever the default is; what is absent is as the default says.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from shared.limits import Limits, encode_session_limits, of_session

NOTHING_STORED: Final = "{}"
UNLIMITED: Final = Limits()
# Of keys with accounts: nearly all store nothing, so one entry serves them.
CACHED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class LimitDefaults:
    """What holds for a key, and for an account, where nothing is stored with it."""

    key: Limits = UNLIMITED
    account: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """What holds for a key and for its account, and for each of their sessions, as it travels."""

    key: Limits
    account: Limits
    session: Mapping[str, Any]
    counts_sessions: bool  # whether it matters how many live, or how many begin


class LimitReader:
    """Reads what is stored over the defaults. May be used by several threads."""

    def __init__(self, defaults: LimitDefaults | None = None) -> None:
        self.defaults = defaults or LimitDefaults()
        # By what is stored with a key and with its account.
        self.effective: Callable[[str, str], EffectiveLimits] = lru_cache(CACHED_MAX)(self._read)

    def _read(self, of_key: str, of_account: str) -> EffectiveLimits:
        key = over(self.defaults.key, of_key)
        account = over(self.defaults.account, of_account)
        return EffectiveLimits(
            key,
            account,
            encode_session_limits(of_session(key, account)),
            _counts_sessions(key) or _counts_sessions(account),
        )


def _counts_sessions(limits: Limits) -> bool:
    return limits.sessions is not None or limits.new_sessions_per_minute is not None


def read_stored(stored: str) -> dict[str, Any]:
    """What was set, by the names of ``Limits``."""
    found = json.loads(stored)
    assert isinstance(found, dict)
    return found


def changed(stored: str, *, dropped: Iterable[str], values: Mapping[str, Any]) -> str:
    """What is to be stored once some fields are dropped, and ``values`` are set."""
    names = frozenset(dropped)
    kept = {name: value for name, value in read_stored(stored).items() if name not in names}
    return json.dumps({**kept, **values})


def over(default: Limits, stored: str) -> Limits:
    """The limits that hold. What a later release has stored is passed over."""
    return msgspec.convert({**msgspec.to_builtins(default), **read_stored(stored)}, Limits)
