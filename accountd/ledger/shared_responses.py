"""Deduplicates responses that several sockets report: each is charged once. Pure.

A call is heard by every gateway that one of its sidebands came to, and a conversation that was
resumed on its former connection until that is closed. Gateways mark such usage as *shared* and send
it response by response, because a batch holds sums, which cannot be split.

What was charged is known by a name: the provider, the account, what was counted (the response, its
seconds, a transcription) and the provider's own id. An estimate counts as what it stands for, once
it has taken something; a waived one does not keep the real usage from being charged.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from accountd.ledger.cascade import Deduction
from shared.usage import ESTIMATES, Kind, UsageBatch

NAME_BYTES: Final = 16
# How long it is known what was charged: a gateway's spool may keep usage for 30 days, and the next
# gateway of its host sends it.
DAYS: Final = 35
_NAMES_SHOWN_MAX: Final = 10
_COUNTED_BY_ESTIMATE: Final = {
    Kind.ESTIMATE: Kind.RESPONSE,
    Kind.ESTIMATED_TRANSCRIPTION: Kind.TRANSCRIPTION,
    Kind.ESTIMATED_DURATION: Kind.DURATION,
}
assert set(_COUNTED_BY_ESTIMATE) == ESTIMATES


@dataclass(frozen=True, slots=True)
class RepeatedResponse:
    """A message whose response another one has charged: applied without a charge."""

    producer: bytes
    sequence: int
    digest: int
    batch: UsageBatch


@dataclass(frozen=True, slots=True)
class AlreadyCharged:
    """Why a batch must not be charged: some of its responses are in rows of other messages."""

    response_ids: tuple[str, ...]
    responses: int

    @property
    def detail(self) -> str:
        """One line that names them."""
        named = ", ".join(self.response_ids[:_NAMES_SHOWN_MAX])
        more = " …" if len(self.response_ids) > _NAMES_SHOWN_MAX else ""
        return f"{len(self.response_ids)} of {self.responses} responses are charged: {named}{more}"


class Deduplicator:
    """Says, batch by batch in their order, which of a group's shared ones were charged before."""

    def __init__(self, charged: Iterable[bytes]) -> None:
        self._charged = set(charged)

    def is_repeated(self, batch: UsageBatch) -> bool:
        """Whether another message has charged what ``batch`` is about."""
        return batch.is_shared and name_of(batch) in self._charged

    def charged(self, batch: UsageBatch, deduction: Deduction) -> None:
        """Remember that ``batch`` was charged, so that a later one of the group is a repetition."""
        name = charged_name(batch, deduction)
        if name is not None:
            self._charged.add(name)


def deduplicator_for(
    batches: Iterable[UsageBatch], ask: Callable[[Iterable[bytes]], set[bytes]]
) -> Deduplicator:
    """What is known of a group. ``ask`` is asked which names were charged: of most groups none."""
    names = {name_of(batch) for batch in batches if batch.is_shared}
    return Deduplicator(ask(names) if names else ())


def name_of(batch: UsageBatch) -> bytes:
    """What a shared batch is known by, ``NAME_BYTES`` long."""
    (response_id,) = batch.response_ids
    counted = _COUNTED_BY_ESTIMATE.get(Kind(batch.kind), batch.kind)
    parts = (batch.provider, batch.account_id, counted, response_id)
    # Lengths first, so that no two lists of parts are one text.
    text = ",".join(str(len(part)) for part in parts) + ":" + "".join(parts)
    return hashlib.blake2b(text.encode(), digest_size=NAME_BYTES).digest()


def charged_name(batch: UsageBatch, deduction: Deduction) -> bytes | None:
    """The name that a charge is to be known by; None where nothing can repeat it."""
    is_waived = batch.kind in ESTIMATES and not (deduction.topup or deduction.tokens)
    return name_of(batch) if batch.is_shared and not is_waived else None
