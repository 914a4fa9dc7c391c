"""A sender of usage that writes down what it is called with, in the order of everything else."""

from collections.abc import Sequence
from typing import Any

from gateway.metering.batching import OnSealed, ignore_sealed
from shared.usage import InvalidUsage, UsageBatch, UsageMessage

# Everything that happens, in order.
Happened = list[tuple[Any, ...]]


class NotingSender:
    """Numbers what it is asked to note from 1 on; ``unsealed`` are called when the test seals."""

    def __init__(self, happened: Happened, *, sends_at_once: bool = False) -> None:
        self._happened = happened
        self._noted = 0
        self.sends_at_once = sends_at_once
        self.covered: list[tuple[int, ...]] = []
        self.unsealed: list[OnSealed] = []
        self.quarantined: list[InvalidUsage] = []

    def note(self, single: UsageBatch) -> int:
        """See ``Sender``."""
        self._happened.append(("noted", *single.response_ids))
        self._noted += 1
        return self._noted

    def send(
        self,
        message: UsageMessage,
        covers: Sequence[int] = (),
        on_sealed: OnSealed = ignore_sealed,
    ) -> None:
        """See ``Sender``."""
        if isinstance(message, InvalidUsage):
            self._happened.append(("quarantined", message.response_id))
            self.quarantined.append(message)
            return
        assert isinstance(message, UsageBatch)
        self._happened.append(("sent", *message.response_ids))
        self.covered.append(tuple(covers))
        self.unsealed.append(on_sealed)
