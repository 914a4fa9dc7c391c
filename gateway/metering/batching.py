"""Collects the usage of one session into batches. Pure.

A batch is complete after ``BATCH_RESPONSES`` responses, ``BATCH_S`` seconds after its first one,
or when the session ends: 20 responses make 4 batches. A batch holds one model and one kind, so a
session that transcribes has two open ones. A response that another socket may report as well is
sent by itself, at once: when it turns out to be charged already, it could not be taken out of a
sum.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from gateway.limits import BATCH_RESPONSES, BATCH_S
from gateway.metering.base import Metered
from shared.usage import Usage, UsageBatch

# Called with the producer and the sequence of a message once it is sealed.
OnSealed = Callable[[bytes, int], None]


def ignore_sealed(_producer: bytes, _sequence: int) -> None:
    """For messages whose sequence does not matter to the caller."""


# What the responses of one batch have in common.
Key = tuple[str, str, str, str, str, str, bool]


class Sealable(NamedTuple):
    """A batch, the journal's numbers of its responses (none without a journal), and what they cost
    together, in nano-credits.
    """

    batch: UsageBatch
    covers: tuple[int, ...]
    cost: int


class MeteredResponse(NamedTuple):
    """One metered response, its number in the journal (0: not noted there), and its cost in
    nano-credits.
    """

    batch: UsageBatch
    number: int
    cost: int = 0


@dataclass(frozen=True, slots=True)
class BillingContext:
    """The fields that all batches of a session share: account, session, provider, and the key where
    what it spends is counted.
    """

    account_id: str
    session_id: str
    provider: str
    key_hash: str = ""

    def as_batch(self, metered: Metered, *, wall_ms: int, is_shared: bool = False) -> UsageBatch:
        """One metered response as a batch of its own. ``wall_ms`` is Unix time; ``is_shared``:
        another socket may report it, too.
        """
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
            is_shared=is_shared,
            key_hash=self.key_hash,
        )


class Batcher:
    """The open batches of one session. ``now`` is monotonic seconds."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Key, _Open] = {}

    def add(self, single: MeteredResponse, *, now: float) -> list[Sealable]:
        """Take one metered response; the batch that it completes, if there is one."""
        if single.batch.is_shared:
            return [_merged([single])]
        key = _key(single)
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Open(deadline=now + BATCH_S)
        batch.singles.append(single)
        if len(batch.singles) < BATCH_RESPONSES:
            return []
        del self._open[key]
        return [_merged(batch.singles)]

    def take_due(self, now: float) -> list[Sealable]:
        """The open batches that have waited ``BATCH_S``."""
        due = [key for key, batch in self._open.items() if now >= batch.deadline]
        return [_merged(self._open.pop(key).singles) for key in due]

    def flush(self) -> list[Sealable]:
        """All open batches."""
        batches, self._open = self._open, {}
        return [_merged(batch.singles) for batch in batches.values()]


@dataclass(slots=True)
class _Open:
    """A batch that is not complete yet."""

    deadline: float
    singles: list[MeteredResponse] = field(default_factory=list)


def merge(singles: Iterable[MeteredResponse]) -> list[Sealable]:
    """Single responses as batches of at most ``BATCH_RESPONSES``.

    Responses share a batch when they share session, key, model and kind, and whether they stand in
    the journal. One that other sockets may report has a batch of its own.
    """
    groups: dict[Key, list[MeteredResponse]] = {}
    alone: list[Sealable] = []
    for single in singles:
        if single.batch.is_shared:
            alone.append(_merged([single]))
        else:
            groups.setdefault(_key(single), []).append(single)
    return alone + [
        _merged(group[start : start + BATCH_RESPONSES])
        for group in groups.values()
        for start in range(0, len(group), BATCH_RESPONSES)
    ]


def _key(single: MeteredResponse) -> Key:
    batch = single.batch
    return (
        batch.account_id, batch.session_id, batch.provider, batch.model, batch.kind,
        batch.key_hash, single.number > 0,
    )  # fmt: skip


def _merged(group: list[MeteredResponse]) -> Sealable:
    batches = [single.batch for single in group]
    merged = replace(
        batches[0],
        responses=sum(batch.responses for batch in batches),
        response_ids=tuple(name for batch in batches for name in batch.response_ids),
        usage=sum((batch.usage for batch in batches), start=Usage()),
        metered_at_ms=batches[-1].metered_at_ms,
        raw=tuple(part for batch in batches for part in batch.raw),
    )
    covers = tuple(single.number for single in group if single.number)
    return Sealable(merged, covers, sum(single.cost for single in group))
