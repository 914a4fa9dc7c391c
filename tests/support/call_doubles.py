"""A call with a provider that a test controls; its meter and its recorder are real."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from gateway.calls.call import Call, CallInfo, CallState
from gateway.connections.close import CloseEvent
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.sink import Sink
from gateway.connections.upstream import Upstream
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.credit.purses import Purse
from gateway.frames import Frame
from gateway.metering.batching import BillingContext
from gateway.metering.openai.call_meter import OpenAICallMeter
from gateway.metering.usage_recorder import Recorder
from gateway.providers.lifetimes import Lifetimes
from shared.usage import UsageBatch, UsageMessage

USAGE = {"input_tokens": 30, "output_tokens": 20, "total_tokens": 50}


def created(name: str) -> dict[str, Any]:
    """A response begins."""
    return {"type": "response.created", "response": {"id": name}}


def done(name: str) -> dict[str, Any]:
    """It ends."""
    return {"type": "response.done", "response": {"id": name, "usage": USAGE}}


class Sideband:
    """A connection to the provider, as the call uses it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.sent: list[dict[str, Any]] = []
        self.on_cancel: Callable[[], None] = lambda: None

    def say(self, *events: dict[str, Any]) -> None:
        """The provider says something."""
        messages = [json.dumps(event).encode() for event in events]
        self.sink.frames_received(
            [Frame(1, True, 2, b"\x81\x00" + message) for message in messages]
        )

    def close(self, code: int, reason: str = "") -> None:
        """The provider closes it."""
        self.sink.connection_closed(CloseEvent(code, reason))

    def send_event(self, text: bytes) -> bool:
        """The call says something."""
        self.sent.append(json.loads(text))
        self.on_cancel()
        return True

    def check(self, now: float) -> None:
        """Called every second."""

    def abort(self) -> None:
        """Cut it."""


class Provider:
    """The control: how dials and hang-ups go, each in its turn; after that they succeed."""

    def __init__(self) -> None:
        self.dials: list[ProviderUnavailableError | None] = []
        self.hang_ups: list[ProviderUnavailableError | None] = []
        self.hung_up = 0
        self.sidebands: list[Sideband] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def dial(self, sink: Sink, on_open: Callable[[Upstream], None]) -> Upstream:
        """See ``CallControl``."""
        await self.gate.wait()
        failure = self.dials.pop(0) if self.dials else None
        if failure is not None:
            raise failure
        sideband = Sideband(sink)
        self.sidebands.append(sideband)
        connection = cast(Upstream, sideband)
        on_open(connection)
        return connection

    async def hang_up(self) -> None:
        """See ``CallControl``."""
        failure = self.hang_ups.pop(0) if self.hang_ups else None
        if failure is not None:
            raise failure
        self.hung_up += 1
        self.sidebands[-1].close(1000) if self.sidebands else None

    @property
    def newest(self) -> Sideband:
        """The sideband that was opened last."""
        return self.sidebands[-1]


class Credit:
    """What the account has left, as the test says."""

    def __init__(self) -> None:
        self.status = CreditStatus.AVAILABLE
        self.is_near_empty = False
        self.is_crowded = False
        self.used_up = Purse.CREDIT
        self.is_closed = False
        self.listener: Any = None

    def spend(self, _single: UsageBatch) -> int:
        """Nothing is counted."""
        return 0

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """Nor here."""

    def report(self) -> None:
        """Nor is it looked at which responses are under way."""

    def close(self) -> None:
        """The call has ended."""
        self.is_closed = True

    def becomes(self, status: CreditStatus) -> None:
        """It changes, and the call is notified."""
        self.status = status
        self.listener.credit_changed()


class Sender:
    """Takes usage."""

    sends_at_once = True

    def __init__(self) -> None:
        self.batches: list[UsageBatch] = []

    def note(self, _single: UsageBatch) -> int:
        """There is no journal."""
        return 0

    def send(self, message: UsageMessage, *_: Any) -> None:
        """A batch."""
        assert isinstance(message, UsageBatch)
        self.batches.append(message)


class CallSetting:
    """A call and what is around it."""

    def __init__(self) -> None:
        self.control, self.credit, self.sender = Provider(), Credit(), Sender()
        self.ended: list[Call] = []
        meter = OpenAICallMeter(model="gpt-realtime", is_shared=True)
        credit = cast(SessionCredit, self.credit)
        recorder = Recorder(BillingContext("acct", "s", "openai"), meter, self.sender, credit)
        self.call = Call(
            CallInfo("rtc_1", "s", "acct", "openai"),
            control=self.control,
            meter=meter,
            recorder=recorder,
            credit=credit,
            lifetimes=Lifetimes(),
            on_ended=self.ended.append,
        )

    def kinds(self) -> list[tuple[str, str]]:
        """What was charged: kind and response."""
        return [(batch.kind, batch.response_ids[0]) for batch in self.sender.batches]

    async def over(self) -> None:
        """The call is over, and its credit is closed."""
        async with asyncio.timeout(10):
            await self.call.ended.wait()
        assert self.call.state is CallState.ENDED
        assert self.credit.is_closed
        assert self.ended == [self.call]
