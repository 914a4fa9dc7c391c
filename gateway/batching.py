"""Collects the usage of one session into batches. Pure.

A batch is complete after ``BATCH_RESPONSES`` responses, ``BATCH_S`` seconds after its first one,
or when the session ends. 20 responses make 4 batches. What differs in model or kind (a
transcription is not a response) has a batch of its own beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gateway.limits import BATCH_RESPONSES, BATCH_S
from gateway.metering import Metered
from shared.wire import Usage, UsageBatch

# A batch and the numbers that its responses have in the journal; no numbers without a journal.
Sealable = tuple[UsageBatch, tuple[int, ...]]
# What the responses of one batch have in common.
Key = tuple[str, str, str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Party:
    """Who is charged, and for what: the fields that every batch of a session shares."""

    account_id: str
    session_id: str
    provider: str

    def single(self, metered: Metered, *, wall_ms: int) -> UsageBatch:
        """One metered response as a batch of its own. ``wall_ms`` is Unix time."""
        return UsageBatch(
            account_id=self.account_id,
            session_id=self.session_id,
            provider=self.provider,
            model=metered.model,
            kind=metered.kind,
            responses=1,
            response_ids=(metered.response_id,),
            usage=metered.usage,
            metered_at_ms=wall_ms,
            raw=(metered.raw,) if metered.raw else (),
        )


class Batcher:
    """The open batches of one session. ``now`` is monotonic seconds."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Key, _Open] = {}

    def add(self, single: UsageBatch, number: int, *, now: float) -> list[Sealable]:
        """Take one metered response and its number in the journal (0: it is not there).

        The answer is the batch that is complete with it, if one is.
        """
        key = _key(single, number)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Open(deadline=now + BATCH_S)
        batch.singles.append((single, number))
        if len(batch.singles) < BATCH_RESPONSES:
            return []
        del self._open[key]
        return [_merged(batch.singles)]

    def take_due(self, now: float) -> list[Sealable]:
        """The open batches that have waited ``BATCH_S``."""
        due = [key for key, batch in self._open.items() if now >= batch.deadline]
        return [_merged(self._open.pop(key).singles) for key in due]

    def flush(self) -> list[Sealable]:
        """The open batches, whatever is in them."""
        batches, self._open = self._open, {}
        return [_merged(batch.singles) for batch in batches.values()]


@dataclass(slots=True)
class _Open:
    """A batch that is not complete yet."""

    deadline: float
    singles: list[tuple[UsageBatch, int]] = field(default_factory=list)


def merge(singles: Iterable[tuple[UsageBatch, int]]) -> list[Sealable]:
    """Single responses (with their numbers) as batches of at most ``BATCH_RESPONSES``.

    Responses share a batch when they share session, model and kind, and whether they stand in the
    journal.
    """
    groups: dict[Key, list[tuple[UsageBatch, int]]] = {}
    for single, number in singles:
        groups.setdefault(_key(single, number), []).append((single, number))
    return [
        _merged(group[start : start + BATCH_RESPONSES])
        for group in groups.values()
        for start in range(0, len(group), BATCH_RESPONSES)
    ]


def _key(single: UsageBatch, number: int) -> Key:
    return (
        single.account_id, single.session_id, single.provider, single.model, single.kind,
        number > 0,
    )  # fmt: skip


def _merged(group: list[tuple[UsageBatch, int]]) -> Sealable:
    batches = [single for single, _ in group]
    merged = replace(
        batches[0],
        responses=sum(batch.responses for batch in batches),
        response_ids=tuple(name for batch in batches for name in batch.response_ids),
        usage=sum((batch.usage for batch in batches), start=Usage()),
        metered_at_ms=batches[-1].metered_at_ms,
        raw=tuple(part for batch in batches for part in batch.raw),
    )
    return merged, tuple(number for _, number in group if number)
