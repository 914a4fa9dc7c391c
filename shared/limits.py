"""What a key or an account may do at most, as values and as maps. Pure.

An operator sets limits for a key or an account; accountd has defaults for both. ``Limits`` is what
holds for one of them. What a gateway has to hold a session to, ``SessionLimits``, is the tighter of
the key's and the account's; accountd alone counts sessions over all gateways.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from shared.fields import RejectReason, WireError
from shared.provider_kinds import kind_of
from shared.usage import ID_CHARS_MAX

NAMES_MAX: Final = 100  # providers, or models, in one list


class Period(StrEnum):
    """In which time a spending cap counts. Days and months are those of UTC."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class SessionLimits(Struct, frozen=True, omit_defaults=True):
    """What one session may do at most. None: as much as it likes.

    ``session_s`` is its length in seconds, ``session_tokens`` and ``session_credits`` what it may
    use and cost. ``providers`` and ``models`` are the only ones that it may have, by the names that
    clients use; an empty tuple allows none. The name of a kind (``azure``) allows every provider of
    it.
    """

    session_s: int | None = None
    session_tokens: int | None = None
    session_credits: int | None = None
    providers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None


class Limits(SessionLimits, frozen=True, omit_defaults=True):
    """What a key, or an account, may do at most. None: as much as it likes.

    ``sessions`` may live at a time, and ``new_sessions_per_minute`` begin, over all gateways.
    ``spending_credits`` may be charged in each ``spending_period``.
    """

    sessions: int | None = None
    new_sessions_per_minute: int | None = None
    spending_credits: int | None = None
    spending_period: Period = Period.MONTH


def of_session(of_key: SessionLimits, of_account: SessionLimits) -> SessionLimits:
    """What holds for a session: the tighter of what its key and its account may do."""
    return SessionLimits(
        session_s=_less(of_key.session_s, of_account.session_s),
        session_tokens=_less(of_key.session_tokens, of_account.session_tokens),
        session_credits=_less(of_key.session_credits, of_account.session_credits),
        providers=_both_providers(of_key.providers, of_account.providers),
        models=_both(of_key.models, of_account.models),
    )


def allows_provider(providers: tuple[str, ...] | None, name: str) -> bool:
    """Whether these ``providers`` allow the one with this name: ``azure`` allows ``azure-eu``, too,
    and not the other way round.
    """
    return providers is None or name in providers or kind_of(name) in providers


def encode_session_limits(limits: SessionLimits) -> Mapping[str, Any]:
    """The map that travels; empty where nothing is limited."""
    encoded = msgspec.to_builtins(limits)
    assert isinstance(encoded, dict)
    return encoded


def decode_session_limits(found: object) -> SessionLimits:
    """Read the map of a newer or an older accountd; raises ``WireError``."""
    try:
        limits = msgspec.convert(found, SessionLimits)
    except msgspec.ValidationError as exc:
        raise WireError(RejectReason.BAD_FIELD, f"limits: {exc}") from None
    for names in (limits.providers or (), limits.models or ()):
        if len(names) > NAMES_MAX or any(len(name) > ID_CHARS_MAX for name in names):
            raise WireError(RejectReason.BAD_FIELD, "limits: too many names, or too long ones")
    return limits


def _less(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _both(some: tuple[str, ...] | None, others: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if some is None or others is None:
        return others if some is None else some
    return tuple(name for name in some if name in others)


def _both_providers(
    some: tuple[str, ...] | None, others: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    if some is None or others is None:
        return _both(some, others)
    narrower = (name for name in others if name not in some and allows_provider(some, name))
    return (*(name for name in some if allows_provider(others, name)), *narrower)
