"""Where parameters are read, which provider a URL is for, and what a usage should be charged."""

import json
from typing import Any

import pytest

from simulator import charges
from simulator.audio import Resampler
from simulator.faults import PARAMETERS, Faults, parameters
from simulator.gemini_client import camel
from simulator.generation import QUOTE
from simulator.routing import route, with_model
from simulator.wire import oddly
from tests.support.paths import ROOT

OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
ROUTES = [
    ("/v1/realtime?model=m", "openai", "ga", "m"),
    ("//t//acme/realtime", "openai", "ga", "gpt-realtime"),
    ("/v1/realtime?dialect=beta", "openai", "beta", "gpt-realtime"),
    ("/openai/v1/realtime?model=dep", "azure", "ga", "dep"),
    ("/t/openai/realtime?api-version=a&deployment=dep", "azure", "beta", "dep"),
    ("/openai/realtime?api-version=a&deployment=dep&dialect=ga", "azure", "ga", "dep"),
    ("/t/voice-live/realtime?api-version=a&model=gpt-4o", "azure", "beta", "gpt-4o"),
    ("/voice-live/realtime?api-version=a&agent-name=n", "azure", "beta", "gpt-realtime"),
    ("/voice-agent/realtime?api-version=a", "azure", "beta", "gpt-realtime"),
    (
        "/t/agents/n/endpoint/protocols/voice/live/sessions?api-version=a",
        "azure",
        "beta",
        "gpt-realtime",
    ),
    ("/v1/realtime?intent=transcription", "openai", "ga", ""),
    ("/xai/v1/realtime?model=grok-voice-1", "xai", "xai", "grok-voice-1"),
    ("/xai/realtime", "xai", "xai", "grok-voice-latest"),
    (f"/{GEMINI}?key=k", "gemini", "developer", ""),
    (GEMINI + "Constrained", "gemini", "developer", ""),
    ("/v1/live/sessions", "gpt-live", "live", ""),
]


@pytest.mark.parametrize(("target", "provider", "dialect", "model"), ROUTES)
def test_the_url_names_the_provider(target: str, provider: str, dialect: str, model: str) -> None:
    """Any prefix, repeated slashes."""
    found = route(target)
    assert found is not None
    assert (found.provider, found.dialect, found.model) == (provider, dialect, model)


UNKNOWN = ["/", "/v1/chat", "/realtime/x", GEMINI.replace("v1beta", "v3"), GEMINI[3:], "/live/x"]


@pytest.mark.parametrize("target", UNKNOWN)
def test_other_paths_are_unknown(target: str) -> None:
    """They are 404."""
    assert route(target) is None


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/realtime?usage=null", {"usage": "null"}),
    ("/v1/realtime?model=sim-usage-null", {"usage": "null"}),
    ("/v1/realtime?model=models%2Fsim-usage-null", {"usage": "null"}),
    ("/v1/realtime?model=sim-close-1006,usage-zero", {"close_code": 1006, "usage": "zero"}),
    ("/v1/realtime?model=sim-stall", {"stall": "reply"}),
    (f"/sim-usage_at-standalone_after{GEMINI}", {"usage_at": "standalone_after"}),
    (f"/sim-fragment/sim-spelling/{GEMINI}", {"fragments": 3, "is_oddly_spelt": True}),
    ("/sim-usage-null/v1/realtime?usage=zero", {"usage": "zero"}),
    ("/openai/realtime?api-version=a&deployment=sim-refuse", {"refuse": 503}),
    (
        "/v1/realtime?model=sim-redirect,account-invalid_api_key,transcribed",
        {"redirect": "same", "account": "invalid_api_key", "transcribed": "missing"},
    ),
]


@pytest.mark.parametrize(("target", "expected"), ASKED)
def test_where_wishes_are_read(target: str, expected: dict[str, Any]) -> None:
    """Query, model, deployment and path; the query counts most."""
    found = route(target)
    assert found is not None
    faults = Faults.of(found.parameters)
    assert {name: getattr(faults, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["sim-", "sim-fly", "sim-usage-null,fly-1", "models/sim-tag-x"])
def test_a_name_that_is_misspelt_is_refused(name: str) -> None:
    """So that no test passes because its fault was not there."""
    with pytest.raises(ValueError, match="expected"):
        parameters({}, name)


NOT_THERE = [
    "/v1/realtime?usage_at=twice", f"{GEMINI}?duplicate=done", "/xai/realtime?transcription=after",
    "/sim-end-failed/live/sessions", "/xai/v1/realtime?dialect=beta",
    "/xai/v1/realtime?transcribed=null", "/voice-live/realtime?api-version=a",
    "/voice-agent/realtime", "/openai/realtime?api-version=a&model=m",
    "/openai/v1/realtime?model=gpt-realtime-whisper",
]  # fmt: skip


@pytest.mark.parametrize("target", NOT_THERE)
def test_what_a_provider_cannot_do_is_refused(target: str) -> None:
    """As if it were misspelt."""
    with pytest.raises(ValueError, match="expected"):
        route(target)


@pytest.mark.parametrize("model", ["sim-refuse-503", "models/sim-stall-read", "sim-cancel"])
def test_what_a_model_cannot_ask_for_any_more_is_refused(model: str) -> None:
    """It is named after the upgrade."""
    found = route(GEMINI)
    assert found is not None
    assert with_model(found, "models/sim-stall")["stall"] == "reply"
    with pytest.raises(ValueError, match="expected"):
        with_model(found, model)


def test_operations_names_every_wish() -> None:
    """Whoever cannot find it will not use it."""
    page = OPERATIONS.read_text()
    assert [name for name in PARAMETERS if f"`{name}=" not in page] == []


RESPONSES: list[tuple[Any, Any]] = [
    (None, (0, 0)),
    ({}, (0, 0)),
    ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 9}, (3, 4)),
    ({"input_tokens": 3, "output_tokens": None}, (3, 0)),
    ({"input_tokens": -3, "output_tokens": 4}, None),
    ({"input_tokens": 3.5, "output_tokens": 4}, None),
    ({"input_tokens": True, "output_tokens": 4}, None),
    ({"input_tokens": "3", "output_tokens": 4}, None),
    ({"input_tokens": 10**12, "output_tokens": 4}, None),
    ({"input_tokens": 3, "output_tokens": 4, "output_audio_seconds": 3.4}, (3, 4)),
]


@pytest.mark.parametrize(("usage", "expected"), RESPONSES)
def test_what_a_response_costs(usage: Any, expected: Any) -> None:
    """Input and output; None: nobody can say."""
    found = charges.for_response(usage)
    assert found == (None if expected is None else charges.charge(*expected))


TURNS: list[tuple[Any, Any]] = [
    ({"promptTokenCount": 10, "responseTokenCount": 5, "totalTokenCount": 15}, (10, 5)),
    ({"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 2}, (10, 7)),
    ({"promptTokenCount": 10, "toolUsePromptTokenCount": 4, "totalTokenCount": 14}, (14, 0)),
    ({"promptTokenCount": 10, "cachedContentTokenCount": 8, "trafficType": "ON_DEMAND"}, (10, 0)),
    (None, (0, 0)),
    ({"promptTokenCount": "10"}, None),
]


@pytest.mark.parametrize(("usage", "expected"), TURNS)
def test_what_a_turn_costs(usage: Any, expected: Any) -> None:
    """Tools count as input, thoughts as output, the cache not at all."""
    found = charges.for_turn(usage)
    assert found == (None if expected is None else charges.charge(*expected))


def test_what_is_billed_beside_tokens_is_in_the_charge() -> None:
    """Cache writes, searches, and each query once."""
    usage = {"input_tokens": 9, "input_tokens_details": {"cache_write_tokens": 5}}
    assert charges.for_response(usage, tools={"web_search": {"num_requests": 3}}) == {
        **charges.charge(9, 0), "input_cache_write_tokens": 5, "web_searches": 3,
    }  # fmt: skip
    turn = charges.for_turn({"promptTokenCount": 9}, queries=["a", "b", "a"])
    assert turn == {**charges.charge(9, 0), "grounding_queries": 2}


def test_seconds_are_charged_once() -> None:
    """They are cumulative."""
    assert charges.for_seconds({"seconds": 7.5}, already_ms=5_000) == charges.charge(
        0, 0, billed_ms=2_500
    )
    assert charges.for_seconds({"seconds": 1}, already_ms=5_000) == charges.charge(0, 0)
    assert charges.for_seconds({"seconds": 10**12}, already_ms=0) is None


def test_odd_spelling_is_the_same_json() -> None:
    """And does not look like it: no key or name that matters can be read in it."""
    message = {
        "type": "response.done",
        "response": {"usage": {"input_tokens": 1}, "output": [{"b": QUOTE, "a": 'x\\"y"'}]},
        "usageMetadata": {"promptTokenCount": 5},
    }
    text = oddly(message)
    assert json.loads(text) == message
    assert list(json.loads(text)) != list(message)
    assert not any(f'"{name}"' in text for name in ("type", "response.done", "usageMetadata"))


def test_camel_case_at_every_depth_but_the_applications() -> None:
    """A tool's own names are left alone."""
    client = {"a_b": [{"c_d": {"e_f2": 1}}], "response": {"my_key": 1}, "topK": 1}
    assert camel(client) == {"aB": [{"cD": {"eF2": 1}}], "response": {"my_key": 1}, "topK": 1}


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("size", [1, 3, 320, 641])
def test_resampling_in_pieces_is_resampling_at_once(rate: int, size: int) -> None:
    """Whatever the pieces, odd bytes included."""
    data = bytes(n * 7 % 256 for n in range(6_400))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    in_pieces, whole = Resampler(rate), Resampler(rate).feed(data)
    assert b"".join(in_pieces.feed(piece) for piece in pieces) == whole
    assert len(whole) == -(-3_200 * 24_000 // rate) * 2
