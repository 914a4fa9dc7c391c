"""What of a session was charged already, and what a usage object is charged as. Pure.

An event may come twice, and one usage may be told under several names. What is counted once is
counted once by its own id: a response by the response's, a transcription by its event's.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.metering.base import Metered, MeterResult, RecentIds, Unreadable
from gateway.metering.openai.images import KNOWN_BESIDE, images_of
from gateway.metering.openai.usage import (
    KNOWN_TOKENS,
    other_units_of_tools,
    read_pieces,
    read_usage,
    tells_tools,
)
from gateway.metering.reading import (
    Known,
    UnreadableUsageError,
    as_json,
    clean_text,
    unknown_parts,
)
from shared.usage import Kind, Usage


class Charges:
    """The charges of one session. ``counts_calls``: tool calls are billed by the piece (xAI)."""

    __slots__ = ("_counts_calls", "_quarantined", "_seen")

    def __init__(self, *, counts_calls: bool) -> None:
        self._counts_calls = counts_calls
        self._seen, self._quarantined = RecentIds(), RecentIds()

    def is_repeated(self, kind: Kind, name: str) -> bool:
        """Whether what ``name`` stands for was charged; it counts as charged from now on."""
        return self._seen.is_repeated(_key(kind, name))

    def is_quarantined(self, kind: Kind, name: str) -> bool:
        """Whether what ``name`` stands for was quarantined; it counts as that from now on."""
        return self._quarantined.is_repeated(_key(kind, name))

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
        """What ``usage`` costs, once for each ``name``, which is ``response_id`` when not given.

        ``holder`` is the object that ``usage`` stands in, where it tells of tools as well.
        One that cannot be read does not stand in the way of one that can and comes later.
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
            counts = read(usage) + read_pieces(holder, counts_calls=self._counts_calls)
        except UnreadableUsageError as exc:
            if key in self._seen or self._quarantined.is_repeated(key):
                return None
            return Unreadable(response_id or name, model, str(exc), as_json(usage))
        if self._seen.is_repeated(key):
            return None
        told = {**usage, **other_units_of_tools(holder)}
        raw = unknown_parts(told, {**known, **KNOWN_BESIDE})
        return Metered(response_id, model, counts, kind=kind, raw=raw)

    def images(self, name: str, holder: object) -> MeterResult | None:
        """What the images cost that tools made for a response, once for each ``name``."""
        found = images_of(name, holder)
        key = f"{type(found).__name__} {name}" if name else ""
        return None if found is None or self._seen.is_repeated(key) else found


def is_nothing(usage: object) -> bool:
    """Absent, null or empty: nothing was used. Any other value means something."""
    return usage is None or usage == {}


def _key(kind: Kind, name: str) -> str:
    """What is counted once. Kinds have names of their own; what has none has no key either."""
    return f"{kind}:{name}" if name else ""


def id_of(response: object) -> str:
    """A response's id; empty where there is none."""
    return clean_text(response.get("id")) if isinstance(response, dict) else ""
