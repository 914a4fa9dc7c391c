"""The adapter of Gemini Live."""

import pytest
from websockets.datastructures import Headers

from gateway.metering.gemini.meter import GeminiMeter
from gateway.providers.base import Target
from gateway.providers.gemini import Gemini

BIDI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
GEMINI = Gemini(base_url="wss://g", api_key="ours")


def target(model: str | None = None) -> Target:
    """A session of Gemini Live, which names its model in its first message."""
    return Target("gemini", model, "sess_1", BIDI, "alt=json")


def test_our_key_is_shown_in_a_header() -> None:
    """A key in the URL could be logged; the client's goes nowhere."""
    client_headers = Headers({"x-goog-api-key": "rslive_v1_x", "Authorization": "Bearer x"})
    assert GEMINI.headers(client_headers) == {"x-goog-api-key": "ours"}
    assert GEMINI.url(target()) == f"wss://g{BIDI}?alt=json"


@pytest.mark.parametrize(("model", "metered"), [(None, ""), ("models/g", "models/g")])
def test_its_meter_learns_the_model_from_the_first_message(model: str | None, metered: str) -> None:
    """Until then there is none to charge."""
    meter = GEMINI.meter(target(model))
    assert isinstance(meter, GeminiMeter)
    assert meter.model == metered


def test_it_gets_no_message_of_ours() -> None:
    """Its client's setup has to come first, and its SDK fails on messages that it does not know."""
    assert GEMINI.configuring(target(), {"type": "realtime"}) is None
    assert GEMINI.calls is None
