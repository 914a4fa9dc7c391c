"""The life of a call, with a provider that a test controls; meter and recorder are real."""

import asyncio

import pytest

from gateway.calls import call as call_module
from gateway.calls import retrying
from gateway.calls.call import TRANSITIONS, CallState
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.credit.credit import CreditStatus
from gateway.limits import CREDIT_WAIT_S, CREDIT_WAIT_STREAMING_S
from tests.support.call_doubles import CallSetting, created, done
from tests.support.peers import until


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
    setting = CallSetting()
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
    setting = CallSetting()
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
    setting = CallSetting()
    setting.control.dials = [BUSY] * 1_000
    with pytest.raises(ProviderUnavailableError):
        await setting.call.open(retry_for_s=0.05)
    await setting.over()
    assert setting.control.hung_up == 0


@pytest.mark.parametrize(("status", "errors"), [(401, 1), (402, 1), (429, 1), (503, 0), (404, 0)])
async def test_a_sideband_that_our_account_is_refused_is_counted(status: int, errors: int) -> None:
    """Once for the call, however often it was dialled."""
    setting = CallSetting()
    setting.control.dials = [ProviderUnavailableError("refused", status=status)] * 1_000
    with pytest.raises(ProviderUnavailableError):
        await setting.call.open(retry_for_s=0.05)
    await setting.over()
    assert setting.call.recorder.account_errors == errors


async def test_a_call_may_be_hung_up_while_it_is_opened() -> None:
    """Whoever waits for it hears that it is no more, and a dial that wins changes nothing."""
    setting = CallSetting()
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
async def test_a_sideband_that_closes_is_opened_again(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the provider says by it: only a call that it does not know is over."""
    monkeypatch.setattr(call_module, "CALL_UNHEARD_S", 10)  # a busy machine may lose 0.1 s
    setting = CallSetting()
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
    setting = CallSetting()
    await setting.call.open(retry_for_s=0.1)
    while setting.call.state is not CallState.ENDED:
        if setting.call.state is CallState.LISTENING:
            setting.control.newest.close(1000)
        await asyncio.sleep(0.001)
    assert setting.control.hung_up == 1
    assert len(setting.control.sidebands) > 2


async def test_an_end_that_went_by_does_not_keep_a_call_alive() -> None:
    """The next response says that the one before it is over: an estimate, and credit counts."""
    setting = CallSetting()
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
    setting = CallSetting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("a"))
    setting.control.newest.close(1006)
    await until(lambda: len(setting.control.sidebands) == 2)
    setting.control.newest.say(done("a"), created("b"), done("b"))
    assert setting.kinds() == [("response", "a"), ("response", "b")]


async def test_a_response_that_never_ends_does_not_outlive_the_credit() -> None:
    """It is waited for, and not for ever."""
    setting = CallSetting()
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
    setting = CallSetting()
    setting.credit.status = CreditStatus.EXHAUSTED
    await setting.call.open(retry_for_s=0.1)
    await setting.over()
    assert setting.control.hung_up == 1


async def test_a_credit_that_is_not_confirmed_ends_the_call() -> None:
    """It may go on for a moment, and on if the answer comes in time."""
    setting = CallSetting()
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
    setting = CallSetting()
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
        setting = CallSetting()
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
    setting = CallSetting()
    await setting.call.open(retry_for_s=0.1)
    setting.control.newest.say(created("a"), done("a"), created("b"))
    setting.control.hang_ups = [BUSY] * 1_000
    setting.call.hang_up("test")
    await asyncio.sleep(0)
    setting.call.abandon()
    await setting.over()
    assert setting.kinds() == [("response", "a"), ("estimate", "b")]
