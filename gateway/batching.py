"""Collects the usage of one session into batches. Pure.

A batch is complete after ``BATCH_RESPONSES`` responses, ``BATCH_S`` seconds after its first one,
when the billed model changes, or when the session ends. 20 responses make 4 batches.
"""

from dataclasses import dataclass

from gateway.limits import BATCH_RESPONSES, BATCH_S
from gateway.metering import Metered
from shared.wire import Usage, UsageBatch


@dataclass(frozen=True, slots=True)
class Party:
    """Who is charged, and for what: the fields that every batch of a session shares."""

    account_id: str
    session_id: str
    provider: str


class Batcher:
    """The open batch of one session. ``now`` is monotonic seconds, ``wall_ms`` Unix time."""

    __slots__ = ("_deadline", "_party", "_responses", "_wall_ms")

    def __init__(self, party: Party) -> None:
        self._party = party
        self._responses: list[Metered] = []
        self._deadline = 0.0
        self._wall_ms = 0

    def add(self, metered: Metered, *, now: float, wall_ms: int) -> list[UsageBatch]:
        """Take one metered response; the batches that are complete with it."""
        complete: list[UsageBatch] = []
        if self._responses and self._responses[0].model != metered.model:
            complete += self.flush()
        if not self._responses:
            self._deadline = now + BATCH_S
        self._responses.append(metered)
        self._wall_ms = wall_ms
        if len(self._responses) >= BATCH_RESPONSES:
            complete += self.flush()
        return complete

    def take_due(self, now: float) -> list[UsageBatch]:
        """The open batch when it has waited ``BATCH_S``."""
        return self.flush() if self._responses and now >= self._deadline else []

    def flush(self) -> list[UsageBatch]:
        """The open batch, whatever is in it; an empty list when there is none."""
        responses, self._responses = self._responses, []
        if not responses:
            return []
        return [
            UsageBatch(
                account_id=self._party.account_id,
                session_id=self._party.session_id,
                provider=self._party.provider,
                model=responses[0].model,
                kind="response",
                responses=len(responses),
                response_ids=tuple(metered.response_id for metered in responses),
                usage=sum((metered.usage for metered in responses), start=Usage()),
                metered_at_ms=self._wall_ms,
            )
        ]
