"""The real ``accountd serve``, slowed down: few messages at a time, and a pause for each group.

A consumer that keeps up loses nothing when it is killed, whatever the protocol: ZeroMQ's queues are
empty. So it must lag. It pauses before the transaction, where a kill loses what was received, and
after it, where a kill loses the announcement of what is durable.
"""

import os
import random
import time
from collections.abc import Sequence

from accountd import app, cli
from accountd.ledger.decision_types import Decision
from accountd.ledger.group_commit import Ledger

GROUP = int(os.environ["CHAOS_GROUP"])
PAUSE_S = float(os.environ["CHAOS_PAUSE_S"])

_apply = Ledger.apply


def pause() -> None:
    """Half of the pause, on average."""
    time.sleep(random.uniform(0, PAUSE_S))


def slow_apply(ledger: Ledger, messages: Sequence[Sequence[bytes]], *, now: str) -> Decision:
    """``Ledger.apply`` between two pauses."""
    pause()
    decision = _apply(ledger, messages, now=now)
    pause()
    return decision


if __name__ == "__main__":
    app.GROUP_MESSAGES_MAX = GROUP  # type: ignore[misc]
    Ledger.apply = slow_apply  # type: ignore[method-assign]
    cli.main()
