"""What a session is given to act with: its connection and its logs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from simulator.openai_events import Event


@dataclass(frozen=True, slots=True)
class Outside:
    """Its connection (``hang_up`` takes a code and perhaps a reason) and the logs.

    ``is_open`` says whether the connection still is.
    """

    send: Callable[[Any], Awaitable[None]]
    hang_up: Callable[..., Awaitable[None]]
    is_open: Callable[[], bool]
    log_usage: Callable[[Event], None]
    log_abandoned: Callable[[Event], None]
    on_audio: Callable[[bytes], None]
