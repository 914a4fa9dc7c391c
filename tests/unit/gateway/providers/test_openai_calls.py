"""Where the calls of OpenAI's family are, and who meters them."""

import pytest

from gateway.metering.openai.call_meter import OpenAICallMeter
from gateway.metering.openai.observer import ObserverMeter
from gateway.providers.base import AZURE_GA, REALTIME, Target
from gateway.providers.openai_calls import OpenAICalls

URLS = [
    # base URL and path of the sessions, segments, query; where the request goes
    ("wss://h/v1", REALTIME, (), "", "https://h/v1/realtime/calls"),
    ("ws://h:1/v1", REALTIME, (), "model=m", "http://h:1/v1/realtime/calls?model=m"),
    ("wss://h", AZURE_GA, ("rtc_1", "hangup"), "", "https://h/openai/v1/realtime/calls/rtc_1/hangup"),
    ("wss://h/v1", REALTIME, ("a/../b?c", "refer"), "", "https://h/v1/realtime/calls/a%2F..%2Fb%3Fc/refer"),
    ("wss://ws.h/v1", REALTIME, (), "", "https://ws.h/v1/realtime/calls"),
]  # fmt: skip


@pytest.mark.parametrize(("base_url", "path", "segments", "query", "url"), URLS)
def test_requests_about_calls_go_behind_the_sessions(
    base_url: str, path: str, segments: tuple[str, ...], query: str, url: str
) -> None:
    """In plain HTTP, and an id is one segment whatever it holds."""
    assert OpenAICalls(base_url, path).url(*segments, query=query) == url


SIDEBANDS = [
    ("/realtime", "call_id=rtc_1", True),
    ("/realtime", "call_id=", False),
    ("/realtime", "model=m", False),
    ("/realtime/translations", "call_id=rtc_1", False),
]


@pytest.mark.parametrize(("path", "query", "is_sideband"), SIDEBANDS)
def test_a_sideband_names_its_call_on_the_path_of_sessions(
    path: str, query: str, is_sideband: bool
) -> None:
    """Anything else is a session of its own, and charged."""
    asked = Target("openai", "", "sess_1", path, query)
    assert OpenAICalls("wss://h/v1", REALTIME).has(asked) is is_sideband


def test_a_call_is_charged_by_its_own_meter_alone() -> None:
    """Two gateways may hear the same call: what both report is one row."""
    calls = OpenAICalls("wss://h/v1", REALTIME)
    meter = calls.meter("m")
    assert type(meter) is OpenAICallMeter
    assert (meter.model, meter.is_shared) == ("m", True)
    assert type(calls.observer("m")) is ObserverMeter
