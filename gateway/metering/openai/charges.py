"""How a usage object becomes a charge, and what a session was charged for already. Pure.

An event may come twice, and one response may have several events with a usage. So each charge has a
name by which it is made once: of a response its id, of a transcription the id of its event.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.metering.base import Metered, MeterResult, RecentIds, Unreadable
from gateway.metering.openai.images import KNOWN_BESIDE, images_of
from gateway.metering.openai.usage import (
    KNOWN_TOKENS,
    NO_PIECES,
    other_units_of_tools,
    read_pieces,
    read_usage,
    tells_tools,
)
from gateway.metering.parsing import (
    Known,
    UnreadableUsageError,
    as_json,
    clean_text,
    unknown_parts,
)
from shared.usage import Kind, Usage


class Charges:
    """The charges of one session. ``counts_calls``: each call of a tool is billed (xAI)."""

    __slots__ = ("_counts_calls", "_quarantined", "_seen")

    def __init__(self, *, counts_calls: bool) -> None:
        self._counts_calls = counts_calls
        self._seen = RecentIds()
        self._quarantined: RecentIds | None = None  # hardly a session has any

    def is_repeated(self, kind: Kind, name: str) -> bool:
        """Whether ``name`` was charged before; from now on it was."""
        return self._seen.is_repeated(_key(kind, name))

    def is_quarantined(self, kind: Kind, name: str) -> bool:
        """Whether ``name`` was quarantined before; from now on it was."""
        return self._is_repeated_quarantine(_key(kind, name))

    def usage(
        self,
        response_id: str,
        usage: Any,
        model: str,
        *,
        name: str = "",
        kind: Kind = Kind.RESPONSE,
        read: Callable[[Mapping[str, Any]], Usage] = read_usage,
        known: Known = KNOWN_TOKENS,
        holder: object = None,
    ) -> MeterResult | None:
        """The charge of ``usage``, once for each ``name``, which is ``response_id`` by default.

        ``holder`` is the object in which ``usage`` stands, where it may tell of tools as well. A
        usage that cannot be read is quarantined, and a readable one may still follow it.
        """
        if is_nothing(usage):
            if not tells_tools(holder):
                return None
            usage = {}
        key = _key(kind, name or response_id)
        try:
            if not isinstance(usage, dict):
                found = type(usage).__name__
                raise UnreadableUsageError(f"usage: found a {found}, expected an object")
            counts, pieces = read(usage), read_pieces(holder, counts_calls=self._counts_calls)
        except UnreadableUsageError as exc:
            if key in self._seen or self._is_repeated_quarantine(key):
                return None
            return Unreadable(response_id or name, model, str(exc), as_json(usage))
        if self._seen.is_repeated(key):
            return None
        if pieces is not NO_PIECES:
            counts += pieces
        told = {**usage, **other_units_of_tools(holder)}
        raw = unknown_parts(told, {**known, **KNOWN_BESIDE})
        return Metered(response_id, model, counts, kind=kind, raw=raw)

    def images(self, name: str, holder: object) -> MeterResult | None:
        """The charge of the images that tools made for a response, once for each ``name``."""
        found = images_of(name, holder)
        key = f"{type(found).__name__} {name}" if name else ""
        return None if found is None or self._seen.is_repeated(key) else found

    def _is_repeated_quarantine(self, key: str) -> bool:
        if self._quarantined is None:
            self._quarantined = RecentIds()
        return self._quarantined.is_repeated(key)


def is_nothing(usage: object) -> bool:
    """Whether ``usage`` is absent, null or empty. Any other value is charged or quarantined."""
    return usage is None or usage == {}


def _key(kind: Kind, name: str) -> str:
    """By which a charge is made once. Names of different kinds are different; a charge without a
    name has no key, and is made each time.
    """
    return f"{kind}:{name}" if name else ""


def id_of(response: object) -> str:
    """A response's id; empty where there is none."""
    return clean_text(response.get("id")) if isinstance(response, dict) else ""
