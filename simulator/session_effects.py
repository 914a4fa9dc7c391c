"""The effects that a session may have: on its connection and in the logs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from simulator.openai_events import Event


@dataclass(frozen=True, slots=True)
class Outside:
    """The connection of a session and the logs.

    ``hang_up`` closes the connection with a code and optionally a reason; ``is_open`` says whether
    it is open.
    """

    send: Callable[[Any], Awaitable[None]]
    hang_up: Callable[..., Awaitable[None]]
    is_open: Callable[[], bool]
    log_usage: Callable[[Event], None]
    log_abandoned: Callable[[Event], None]
    on_audio: Callable[[bytes], None]
