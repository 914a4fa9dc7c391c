"""Callers by address: how many connections, how many wrong keys."""

from gateway.callers.callers import PROXY, Callers
from gateway.callers.client_address import TrustedProxies, read_networks
from gateway.limits import (
    CALLERS_KNOWN_MAX,
    CROWDED_ANSWERS_MAX,
    CROWDED_RETRY_S,
    WRONG_KEYS_BURST,
)


def never() -> bool:
    """No key is known."""
    return False


async def test_an_address_has_so_many_connections() -> None:
    """One more is told so, many more are cut; when some have left there is a place again."""
    callers = Callers(TrustedProxies(), each_max=2)
    assert [callers.arrive("192.0.2.1") for _ in range(2)] == ["192.0.2.1"] * 2
    assert callers.refusal_if_crowded("192.0.2.1") is None
    for _ in range(CROWDED_ANSWERS_MAX):
        assert callers.arrive("192.0.2.1") == "192.0.2.1"
        refusal = callers.refusal_if_crowded("192.0.2.1")
        assert refusal is not None
        assert (refusal.status, refusal.retry_after_s) == (429, CROWDED_RETRY_S)
    assert callers.arrive("192.0.2.1") is None
    assert callers.arrive("192.0.2.2") == "192.0.2.2"
    for _ in range(CROWDED_ANSWERS_MAX):
        callers.leave("192.0.2.1")
    assert callers.refusal_if_crowded("192.0.2.1") is None
    numbers = {metric.name: metric for metric in callers.metrics()}
    assert numbers["rts_gateway_callers_cut"].read() == 1


async def test_a_trusted_proxy_is_no_caller() -> None:
    """Its clients are; it may have any number of connections, and wrong keys are not its own."""
    callers = Callers(TrustedProxies(read_networks("10.0.0.0/8")), each_max=1)
    assert {callers.arrive("10.1.1.1") for _ in range(100)} == {PROXY}
    callers.leave(PROXY)
    for _ in range(WRONG_KEYS_BURST + 1):
        callers.wrong_key(PROXY)
    assert callers.refusal_if_crowded(PROXY) is None
    assert callers.refusal_if_guessing(PROXY, never) is None


async def test_wrong_keys_are_forgiven_to_a_known_key() -> None:
    """Others of the address wait; other addresses notice nothing."""
    callers = Callers(TrustedProxies(), each_max=0)
    for _ in range(WRONG_KEYS_BURST):
        assert callers.refusal_if_guessing("a", never) is None
        callers.wrong_key("a")
    refusal = callers.refusal_if_guessing("a", never)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "rate_limit_exceeded", 1)
    assert callers.refusal_if_guessing("a", lambda: True) is None
    assert callers.refusal_if_guessing("b", never) is None


async def test_few_callers_are_remembered() -> None:
    """The one that was heard of longest ago is forgotten."""
    callers = Callers(TrustedProxies(), each_max=0)
    for _ in range(WRONG_KEYS_BURST):
        callers.wrong_key("first")
    assert callers.refusal_if_guessing("first", never) is not None
    for number in range(CALLERS_KNOWN_MAX):
        callers.wrong_key(str(number))
    assert callers.refusal_if_guessing("first", never) is None
