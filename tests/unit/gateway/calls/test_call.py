"""The life of a call, with a provider that a test controls; meter and recorder are real."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.calls import call as call_module
from gateway.calls import retrying
from gateway.calls.call import TRANSITIONS, Call, CallInfo, CallState
from gateway.connections.close import CloseEvent
from gateway.connections.connection import Sink
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.upstream import Upstream
from gateway.credit.balances import SessionCredit
from gateway.credit.credit import CreditStatus
from gateway.frames import Frame
from gateway.limits import CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S
from gateway.metering.batching import BillingContext
from gateway.metering.openai.call import CallMeter
from gateway.metering.recorder import Recorder
from gateway.providers.lifetimes import Lifetimes
from shared.usage import UsageBatch, UsageMessage
from tests.support.peers import until

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
        self.is_closed = False
        self.listener: Any = None

    def spend(self, _single: UsageBatch) -> int:
        """Nothing is counted."""
        return 0

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """Nor here."""

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


class Setting:
    """A call and what is around it."""

    def __init__(self) -> None:
        self.control, self.credit, self.sender = Provider(), Credit(), Sender()
        self.ended: list[Call] = []
        meter = CallMeter(model="gpt-realtime", is_shared=True)
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
        """The call is over, and everything was let go."""
        async with asyncio.timeout(10):
            await self.call.ended.wait()
        assert self.call.state is CallState.ENDED
        assert self.credit.is_closed
        assert self.ended == [self.call]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that fail are repeated at once, and few of them."""
    for name, seconds in (
        ("CALL_RETRY_S", 0.001), ("CALL_RETRY_S_MAX", 0.002), ("CALL_UNHEARD_S", 0.1),
        ("CALL_STUCK_S", 0.01), ("CLOSE_S", 0.05),
    ):  # fmt: skip
        for module in (call_module, retrying):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, seconds)


pytestmark = pytest.mark.usefixtures("soon")
BUSY = ProviderUnavailableError("busy", status=503)
UNKNOWN = ProviderUnavailableError("unknown", status=404)


def test_the_transition_table_is_complete() -> None:
    """Every state has an entry, every state can end, and the end is final."""
    assert set(TRANSITIONS) == set(CallState)
    assert TRANSITIONS[CallState.ENDED] == set()
    assert all(
        CallState.ENDED in TRANSITIONS[state] for state in CallState if state is not CallState.ENDED
    )
    assert TRANSITIONS[CallState.ENDING] == {CallState.ENDED}, "who is hung up is heard no more"


async def test_a_call_that_is_heard_is_charged_and_hung_up() -> None:
    """The response in flight is cancelled, and its usage is metered before the hang-up."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("a"), done("a"), created("b"))
    setting.control.newest.on_cancel = lambda: setting.control.newest.say(done("b"))
    setting.call.hang_up("test")
    setting.call.hang_up("test")
    await setting.over()
    assert setting.kinds() == [("response", "a"), ("response", "b")]
    assert [event["type"] for event in setting.control.newest.sent] == ["response.cancel"]
    assert setting.control.hung_up == 1


async def test_a_caller_who_goes_on_talking_does_not_keep_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what was in flight is waited for: the next response begins with the end of the last."""
    monkeypatch.setattr(call_module, "CLOSE_S", 60.0)  # waiting for it would take so long
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    sideband = setting.control.newest
    sideband.say(created("b"))
    sideband.on_cancel = lambda: sideband.say(done("b"), created("c"))
    setting.call.hang_up("test")
    await setting.over()
    assert setting.kinds() == [("response", "b"), ("estimate", "c")]
    assert setting.control.hung_up == 1


async def test_who_cannot_hear_a_call_says_so() -> None:
    """After the retries; that alone hangs nothing up."""
    setting = Setting()
    setting.control.dials = [BUSY] * 1_000
    with pytest.raises(ProviderUnavailableError):
        await setting.call.open(retry_for_s=0.05)
    await setting.over()
    assert setting.control.hung_up == 0


@pytest.mark.parametrize(("status", "errors"), [(401, 1), (402, 1), (429, 1), (503, 0), (404, 0)])
async def test_a_sideband_that_our_account_is_refused_is_counted(status: int, errors: int) -> None:
    """Once for the call, however often it was dialled."""
    setting = Setting()
    setting.control.dials = [ProviderUnavailableError("refused", status=status)] * 1_000
    with pytest.raises(ProviderUnavailableError):
        await setting.call.open(retry_for_s=0.05)
    await setting.over()
    assert setting.call.recorder.account_errors == errors


async def test_a_call_may_be_hung_up_while_it_is_opened() -> None:
    """Whoever waits for it hears that it is no more, and a dial that wins changes nothing."""
    setting = Setting()
    setting.control.gate.clear()
    opening = asyncio.create_task(setting.call.open(retry_for_s=1))
    await until(lambda: setting.call.state is CallState.OPENING)
    setting.call.hang_up("test")
    await until(lambda: setting.control.hung_up)
    setting.control.gate.set()
    with pytest.raises(ProviderUnavailableError):
        await opening
    await setting.over()


@pytest.mark.parametrize("code", [1000, 1001, 1006, 4000])
async def test_a_sideband_that_closes_is_opened_again(code: int) -> None:
    """Whatever the provider says by it: only a call that it does not know is over."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.dials = [BUSY]
    setting.control.newest.close(code)
    await until(lambda: len(setting.control.sidebands) == 2)
    setting.control.newest.say(created("a"), done("a"))
    assert setting.kinds() == [("response", "a")]
    setting.control.dials = [UNKNOWN]
    setting.control.newest.close(code)
    await setting.over()
    assert setting.control.hung_up == 0


async def test_a_sideband_that_never_lasts_is_none() -> None:
    """It is opened and closed again and again: the call is hung up."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    while setting.call.state is not CallState.ENDED:
        if setting.call.state is CallState.LISTENING:
            setting.control.newest.close(1000)
        await asyncio.sleep(0.001)
    assert setting.control.hung_up == 1
    assert len(setting.control.sidebands) > 2


async def test_an_end_that_went_by_does_not_keep_a_call_alive() -> None:
    """The next response says that the one before it is over: an estimate, and credit counts."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("lost"))
    setting.control.newest.close(1006)
    await until(lambda: len(setting.control.sidebands) == 2)
    setting.credit.becomes(CreditStatus.EXHAUSTED)
    assert setting.call.state is CallState.LISTENING, "perhaps it is still being said"
    setting.control.newest.say(created("next"))
    assert setting.kinds() == [("estimate", "lost")]
    await setting.over()


async def test_what_was_only_held_up_is_reported() -> None:
    """Its end comes over the next sideband: no estimate."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("a"))
    setting.control.newest.close(1006)
    await until(lambda: len(setting.control.sidebands) == 2)
    setting.control.newest.say(done("a"), created("b"), done("b"))
    assert setting.kinds() == [("response", "a"), ("response", "b")]


async def test_a_response_that_never_ends_does_not_outlive_the_credit() -> None:
    """It is waited for, and not for ever."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("endless"))
    setting.credit.becomes(CreditStatus.EXHAUSTED)
    now = asyncio.get_running_loop().time()
    setting.call.check(now + 1)
    assert setting.call.state is CallState.LISTENING
    loop_time = now + CREDIT_WAIT_STREAMING_S + 1
    call_module_time = asyncio.get_running_loop().time
    asyncio.get_running_loop().time = lambda: loop_time  # type: ignore[method-assign]
    try:
        setting.call.check(loop_time)
    finally:
        asyncio.get_running_loop().time = call_module_time  # type: ignore[method-assign]
    await setting.over()
    assert setting.call.was_cut_off


async def test_a_call_is_told_what_the_credit_allowed_before_it() -> None:
    """Nothing: it is hung up at once."""
    setting = Setting()
    setting.credit.status = CreditStatus.EXHAUSTED
    await setting.call.open(retry_for_s=0.1)
    await setting.over()
    assert setting.control.hung_up == 1


async def test_a_credit_that_is_not_confirmed_ends_the_call() -> None:
    """It may go on for a moment, and on if the answer comes in time."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    now = asyncio.get_running_loop().time()
    setting.credit.becomes(CreditStatus.ALLOTMENT_SPENT)
    setting.call.check(now + CREDIT_WAIT_S / 2)
    setting.credit.becomes(CreditStatus.AVAILABLE)
    setting.call.check(now + 2 * CREDIT_WAIT_S)
    assert setting.call.state is CallState.LISTENING
    setting.credit.becomes(CreditStatus.ALLOTMENT_SPENT)
    setting.call.check(asyncio.get_running_loop().time() + CREDIT_WAIT_S + 1)
    await setting.over()


async def test_a_provider_that_does_not_hang_up_is_asked_again_and_heard() -> None:
    """What is said until it does is charged."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.on_cancel = lambda: setting.control.newest.say(done("x"))
    setting.control.hang_ups = [BUSY, BUSY, BUSY]
    setting.call.hang_up("test")
    await until(lambda: len(setting.control.hang_ups) < 3)
    setting.control.newest.say(created("still"), done("still"))
    await setting.over()
    assert ("response", "still") in setting.kinds()
    assert setting.control.hung_up == 1


async def test_a_gateway_that_stops_waits_for_what_is_being_said() -> None:
    """Not longer than it may; a quiet call is hung up at once."""
    for is_talking in (True, False):
        setting = Setting()
        await setting.call.open(retry_for_s=0.1)
        if is_talking:
            setting.control.newest.say(created("a"))
        setting.call.leave(asyncio.get_running_loop().time() + 5)
        assert (setting.call.state is CallState.LISTENING) == is_talking
        if is_talking:
            setting.control.newest.say(done("a"))
            setting.call.check(asyncio.get_running_loop().time())
        await setting.over()
        assert setting.control.hung_up == 1


async def test_what_is_abandoned_is_charged_as_far_as_it_is_known() -> None:
    """And nothing more happens to it."""
    setting = Setting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("a"), done("a"), created("b"))
    setting.control.hang_ups = [BUSY] * 1_000
    setting.call.hang_up("test")
    await asyncio.sleep(0)
    setting.call.abandon()
    await setting.over()
    assert setting.kinds() == [("response", "a"), ("estimate", "b")]
