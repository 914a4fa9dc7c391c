"""Collects the usage of one session into batches. Pure.

A batch is complete after ``BATCH_RESPONSES`` responses, ``BATCH_S`` seconds after its first one,
when the billed model changes, or when the session ends. 20 responses make 4 batches.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.limits import BATCH_RESPONSES, BATCH_S
from gateway.metering import Metered
from shared.wire import Kind, Usage, UsageBatch

# A batch and the numbers that its responses have in the journal; no numbers without a journal.
Sealable = tuple[UsageBatch, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Party:
    """Who is charged, and for what: the fields that every batch of a session shares."""

    account_id: str
    session_id: str
    provider: str

    def single(self, metered: Metered, *, wall_ms: int, kind: Kind = Kind.RESPONSE) -> UsageBatch:
        """One metered response as a batch of its own. ``wall_ms`` is Unix time."""
        return UsageBatch(
            account_id=self.account_id,
            session_id=self.session_id,
            provider=self.provider,
            model=metered.model,
            kind=kind,
            responses=1,
            response_ids=(metered.response_id,),
            usage=metered.usage,
            metered_at_ms=wall_ms,
        )


class Batcher:
    """The open batch of one session. ``now`` is monotonic seconds."""

    __slots__ = ("_deadline", "_singles")

    def __init__(self) -> None:
        self._singles: list[tuple[UsageBatch, int]] = []
        self._deadline = 0.0

    def add(self, single: UsageBatch, number: int, *, now: float) -> list[Sealable]:
        """Take one metered response and its number in the journal (0: it is not there).

        The answer is the batches that are complete with it.
        """
        complete: list[Sealable] = []
        if self._singles and _key(*self._singles[0]) != _key(single, number):
            complete += self.flush()
        if not self._singles:
            self._deadline = now + BATCH_S
        self._singles.append((single, number))
        if len(self._singles) >= BATCH_RESPONSES:
            complete += self.flush()
        return complete

    def take_due(self, now: float) -> list[Sealable]:
        """The open batch when it has waited ``BATCH_S``."""
        return self.flush() if self._singles and now >= self._deadline else []

    def flush(self) -> list[Sealable]:
        """The open batch, whatever is in it; an empty list when there is none."""
        singles, self._singles = self._singles, []
        return merge(singles)


def merge(singles: Iterable[tuple[UsageBatch, int]]) -> list[Sealable]:
    """Single responses (with their numbers) as batches of at most ``BATCH_RESPONSES``.

    Responses share a batch when they share session, model and kind, and whether they stand in the
    journal.
    """
    groups: dict[tuple[object, ...], list[tuple[UsageBatch, int]]] = {}
    for single, number in singles:
        groups.setdefault(_key(single, number), []).append((single, number))
    return [
        _merged(group[start : start + BATCH_RESPONSES])
        for group in groups.values()
        for start in range(0, len(group), BATCH_RESPONSES)
    ]


def _key(single: UsageBatch, number: int) -> tuple[object, ...]:
    """What responses of one batch have in common."""
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
    )
    return merged, tuple(number for _, number in group if number)
