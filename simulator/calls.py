"""Calls (WebRTC, SIP) of the simulated OpenAI, with a simulated caller and clients' sidebands.

No audio is transmitted: generated speech is put into the session as the caller's, and the audio of
responses is dropped. Every sideband gets the same events, without audio deltas.

A call whose id begins with ``rtc_incoming`` is an incoming SIP call that waits to be accepted.
"""

import asyncio
import contextlib
import http
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from simulator import openai_events as events
from simulator.audio import chime
from simulator.faults import ABNORMAL, Faults
from simulator.openai_events import Event, make_id
from simulator.session import Session

INCOMING: Final = "rtc_incoming"
OVER: Final = 1000
SPEECH_MS: Final = 600
PAUSE_S: Final = 5.0  # a caller begins to speak when a sideband listens, or after this time
ANSWER: Final = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
_PATH: Final = re.compile(r"/realtime/calls(?:/([^/]+)/(accept|refer|reject|hangup))?$")


class Wire(Protocol):
    """What a session speaks to."""

    async def send(self, message: Any) -> None:
        """Send an event; raises ``ConnectionError``."""

    async def hang_up(self, code: int, reason: str = "") -> None:
        """Close it."""

    def is_open(self) -> bool:
        """Whether neither side has closed it yet."""


class Listener(Wire, Protocol):
    """A sideband's connection, that can say whether somebody listens."""

    async def answered(self) -> None:
        """Wait until the peer has read what was sent; raises ``ConnectionError``."""


Make = Callable[["Call"], Session]


def call_path(path: str) -> tuple[str, str] | None:
    """The call id and the verb in a path, e.g. ``rtc_1`` and ``hangup``; both empty for a new call.

    None when the path is not about calls.
    """
    found = _PATH.search(path.partition("?")[0].rstrip("/"))
    return None if found is None else (found[1] or "", found[2] or "")


@dataclass(eq=False)
class Call:
    """One call."""

    faults: Faults
    call_id: str = field(default_factory=lambda: make_id("rtc"))
    session: Session = field(init=False)
    _sidebands: set[Listener] = field(default_factory=set)
    _is_heard: asyncio.Event = field(default_factory=asyncio.Event)
    _is_answered: asyncio.Event = field(default_factory=asyncio.Event)
    _caller: "asyncio.Task[None] | None" = None
    _drops: bool = False

    def __post_init__(self) -> None:
        self._drops = self.faults.call == "dropping"

    async def join(self, wire: Listener) -> None:
        """A sideband begins to listen."""
        self._sidebands.add(wire)
        for message in self.session.greeting():
            await wire.send(message)
        self._is_heard.set()

    def leave(self, wire: Listener) -> None:
        """A sideband is gone; the call goes on."""
        self._sidebands.discard(wire)

    async def send(self, message: Any) -> None:
        """Send an event to all sidebands."""
        if isinstance(message, bytes) or message["type"] == "response.output_audio.delta":
            return  # audio goes to the caller, not to sidebands
        for wire in list(self._sidebands):
            with contextlib.suppress(ConnectionError):
                await wire.send(message)
        if message["type"] == "response.created" and self._drops:
            self._drops = False
            await self.hang_up(ABNORMAL)
        if message["type"] == "response.done":
            self._is_answered.set()

    def is_open(self) -> bool:
        """Always true: the switchboard removes a call when it ends."""
        return True

    async def hang_up(self, code: int, reason: str = "as asked for") -> None:
        """Close every sideband."""
        for wire in list(self._sidebands):
            await wire.hang_up(code, reason)

    def speak(self, on_over: Callable[[], Awaitable[None]]) -> None:
        """Let the caller speak ``caller_turns`` times, then call ``on_over`` (it hangs up)."""
        if self.faults.caller_turns:
            self._caller = asyncio.get_running_loop().create_task(self._speak(on_over))

    async def end(self) -> None:
        """End the session and close every sideband."""
        if self._caller is not None and self._caller is not asyncio.current_task():
            self._caller.cancel()
        await self.session.close()
        await self.hang_up(OVER, "call ended")

    async def _speak(self, on_over: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(PAUSE_S):
                await self._is_heard.wait()
                await asyncio.gather(*(wire.answered() for wire in self._sidebands))
        for _ in range(self.faults.caller_turns):
            self._is_answered.clear()
            await self.session.hear(chime(SPEECH_MS, "audio/pcm") + bytes(48 * SPEECH_MS))
            await self._is_answered.wait()
        await on_over()


class Sideband:
    """A client's socket that gets the events of a call and may send events to its session."""

    def __init__(self, call: Call, wire: Listener) -> None:
        self._call = call
        self._wire = wire

    async def open(self) -> None:
        """Begin to listen."""
        await self._call.join(self._wire)

    async def receive(self, data: str | bytes) -> None:
        """Serve one message of the client."""
        await self._call.session.receive(data)

    async def expire(self) -> tuple[int, str]:
        """End the call, which has lasted too long; returns the close code and reason."""
        return await self._call.session.expire()

    async def close(self) -> None:
        """Its client is gone; the call goes on."""
        self._call.leave(self._wire)


class Switchboard:
    """The calls of one simulator."""

    def __init__(self) -> None:
        self._by_id: dict[str, Call] = {}
        self._taken: set[str] = set()  # ids of incoming calls that were accepted or rejected

    def find(self, call_id: str) -> Call | None:
        """The call of this id; None when there is none or it has ended."""
        return self._by_id.get(call_id)

    def refusal(self, call_id: str | None) -> http.HTTPStatus | None:
        """The status that refuses a sideband; None: upgrade it."""
        if call_id is None:
            return None
        call = self.find(call_id)
        if call is None:
            return http.HTTPStatus.NOT_FOUND
        return http.HTTPStatus.SERVICE_UNAVAILABLE if call.faults.call == "deaf" else None

    def is_ringing(self, call_id: str) -> bool:
        """Whether this is an incoming call that was neither accepted nor rejected."""
        return call_id.startswith(INCOMING) and call_id not in self._taken

    def turn_away(self, call_id: str) -> None:
        """Reject an incoming call."""
        self._taken.add(call_id)

    def begin(self, call: Call, make: Make) -> None:
        """Start a call with the session that ``make`` creates."""
        self._taken.add(call.call_id)
        call.session = make(call)
        self._by_id[call.call_id] = call
        call.speak(lambda: self.end(call))

    async def end(self, call: Call) -> None:
        """End a call and forget it."""
        if self._by_id.pop(call.call_id, None) is not None:
            await call.end()


def configured(session: Event) -> Event:
    """The ``session.update`` that has the same effect as the ``session`` of a call's request."""
    asked = {name: value for name, value in session.items() if name != "model"}
    return events.event("session.update", session={"type": "realtime", **asked})
