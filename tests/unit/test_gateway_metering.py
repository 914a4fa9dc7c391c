"""What the meter reads from OpenAI's events: usage shapes with the charge beside each."""

import json
from typing import Any

import pytest

from gateway.frames import Frame
from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering import Metered, Unreadable
from gateway.providers.gemini_meter import GeminiMeter
from gateway.providers.openai_meter import OpenAIMeter
from shared.wire import TOKENS_PER_RESPONSE_MAX, Usage

DETAILED = {
    "total_tokens": 230,
    "input_tokens": 52,
    "output_tokens": 178,
    "input_token_details": {
        "text_tokens": 20,
        "audio_tokens": 32,
        "image_tokens": 0,
        "cached_tokens": 16,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 5, "image_tokens": 1},
    },
    "output_token_details": {"text_tokens": 34, "audio_tokens": 144, "reasoning_tokens": 3},
}


def text(event: object) -> Frame:
    """A text message of the provider as one frame."""
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Frame(1, True, 2, b"\x81\x00" + payload)


def done(usage: Any, *, response_id: str = "resp_1", status: str = "completed") -> Frame:
    """A response.done with the given usage."""
    response = {"id": response_id, "status": status, "usage": usage}
    return text({"type": "response.done", "response": response})


def meter() -> OpenAIMeter:
    """A meter of a session that asked for gpt-realtime."""
    return OpenAIMeter(model="gpt-realtime")


def test_keeps_which_modality_gemini_had_cached() -> None:
    """Video counts as images; a modality alone is zero; what is not known is kept beside it."""
    watch = GeminiMeter(model="gemini-live")
    usage = {
        "promptTokenCount": 30,
        "cachedContentTokenCount": 22,
        "cacheTokensDetails": [
            {"modality": "TEXT", "tokenCount": 4},
            {"modality": "AUDIO", "tokenCount": 7},
            {"modality": "VIDEO", "tokenCount": 8},
            {"modality": "IMAGE"},
            {"modality": "SMELL", "tokenCount": 3},
        ],
    }
    found = watch.observe(text({"serverContent": {"turnComplete": True}, "usageMetadata": usage}))
    assert isinstance(found, Metered)
    assert found.usage == Usage(
        input_tokens=30,
        total_tokens=30,
        input_cached_tokens=22,
        input_cached_text_tokens=4,
        input_cached_audio_tokens=7,
        input_cached_image_tokens=8,
    )
    assert "SMELL" in found.raw


def test_keeps_the_split_of_text_audio_and_cached() -> None:
    """Every count that the provider reports is kept; cached input is a subset, never added."""
    found = meter().observe(done(DETAILED))
    assert found == Metered(
        "resp_1",
        "gpt-realtime",
        Usage(
            input_tokens=52,
            output_tokens=178,
            total_tokens=230,
            input_text_tokens=20,
            input_audio_tokens=32,
            input_cached_tokens=16,
            output_text_tokens=34,
            output_audio_tokens=144,
            output_thought_tokens=3,
            input_cached_text_tokens=10,
            input_cached_audio_tokens=5,
            input_cached_image_tokens=1,
        ),
    )


CHARGES = [
    # usage as reported -> (input, output, charged)
    ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}, (3, 4, 7)),
    ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, (0, 0, 0)),
    ({"input_tokens": 3, "output_tokens": 4}, (3, 4, 7)),
    ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 9}, (3, 4, 7)),
    ({"input_tokens": 3, "total_tokens": 7}, (3, 4, 7)),
    ({"output_tokens": 4, "total_tokens": 7}, (3, 4, 7)),
    ({"total_tokens": 7}, (0, 0, 7)),
    ({"input_tokens": 3}, (3, 0, 3)),
    ({"input_tokens": 3, "output_tokens": None}, (3, 0, 3)),
    ({"input_tokens": 3, "input_token_details": None}, (3, 0, 3)),
    ({"unknown_unit": 9}, (0, 0, 0)),
]


@pytest.mark.parametrize(("usage", "expected"), CHARGES)
def test_partial_usage_counts_what_is_there(
    usage: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    """All fields are optional: an absent one is zero, or the rest of the total."""
    found = meter().observe(done(usage))
    assert isinstance(found, Metered)
    counts = found.usage
    assert (counts.input_tokens, counts.output_tokens, counts.total_tokens) == expected


@pytest.mark.parametrize("usage", [None, {}])
def test_no_usage_is_no_charge(usage: Any) -> None:
    """A response without usage ends the flight but is not metered."""
    watch = meter()
    watch.observe(text({"type": "response.created", "response": {"id": "resp_1"}}))
    assert watch.observe(done(usage)) is None
    assert watch.in_flight == frozenset()


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "incomplete", "new"])
def test_every_status_is_charged(status: str) -> None:
    """A cancelled or incomplete response is billed for what was generated."""
    found = meter().observe(done({"input_tokens": 1, "output_tokens": 2}, status=status))
    assert isinstance(found, Metered)
    assert found.usage.total_tokens == 3


ABSURD = [
    {"input_tokens": -1},
    {"input_tokens": 1.5},
    {"input_tokens": "12"},
    {"input_tokens": True},
    {"input_tokens": []},
    {"input_tokens": TOKENS_PER_RESPONSE_MAX + 1},
    {"input_tokens": TOKENS_PER_RESPONSE_MAX, "output_tokens": 1},
    {"input_tokens": 5, "total_tokens": 4},
    {"input_tokens": 5, "input_token_details": {"audio_tokens": -1}},
    {"input_tokens": 5, "output_token_details": 7},
    [5],
    "many",
    7,
]


@pytest.mark.parametrize("usage", ABSURD)
def test_absurd_usage_goes_to_quarantine_whole(usage: Any) -> None:
    """Nothing is clamped or guessed: what the provider wrote is kept for a person to look at."""
    found = meter().observe(done(usage))
    assert isinstance(found, Unreadable)
    assert found.response_id == "resp_1"
    assert json.loads(found.raw) == usage
    assert "found" in found.detail or "is less than" in found.detail or "tokens" in found.detail


def test_a_broken_response_done_goes_to_quarantine() -> None:
    """An event that says it carries usage and is no JSON is not silently lost."""
    found = meter().observe(text(b'{"type":"response.done","response":{"id":'))
    assert isinstance(found, Unreadable)
    assert found.raw.startswith('{"type":"response.done"')


def test_a_repeated_response_is_counted_once() -> None:
    """The provider may send an event twice; the response was made once."""
    watch = meter()
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert isinstance(watch.observe(done(usage)), Metered)
    assert watch.observe(done(usage)) is None
    assert isinstance(watch.observe(done(usage, response_id="resp_2")), Metered)


def test_remembered_response_ids_are_bounded() -> None:
    """A session that never ends does not fill the memory."""
    watch = meter()
    for number in range(RESPONSE_IDS_MAX + 10):
        watch.observe(done({"total_tokens": 1}, response_id=f"resp_{number}"))
    assert len(watch._seen._ids) == RESPONSE_IDS_MAX


def test_the_server_names_the_billed_model() -> None:
    """What session.created and session.updated say is billed, not what the client asked for."""
    watch = meter()
    watch.observe(text({"type": "session.created", "session": {"model": "gpt-realtime-2025"}}))
    found = watch.observe(done({"total_tokens": 1}))
    assert isinstance(found, Metered)
    assert found.model == "gpt-realtime-2025"


def test_in_flight_responses_are_known() -> None:
    """A response is in flight from response.created to response.done."""
    watch = meter()
    watch.observe(text({"type": "response.created", "response": {"id": "resp_1"}}))
    assert watch.in_flight == {"resp_1"}
    watch.observe(done({"total_tokens": 1}))
    assert watch.in_flight == frozenset()


def test_audio_is_not_parsed() -> None:
    """The type is read from the first bytes: a delta with broken JSON behind it is passed over."""
    delta = b'{"type":"response.output_audio.delta","delta":"response.done' + b"A" * 16_000
    assert meter().observe(text(delta)) is None


def test_fragments_are_joined_and_pings_do_not_count() -> None:
    """A response.done in three fragments is read when its last one is here."""
    whole = done({"total_tokens": 9}).raw[2:]
    watch = meter()
    assert watch.observe(Frame(1, False, 2, b"\x01\x00" + whole[:9])) is None
    assert watch.observe(Frame(0, False, 2, b"\x00\x00" + whole[9:40])) is None
    found = watch.observe(Frame(0, True, 2, b"\x80\x00" + whole[40:]))
    assert isinstance(found, Metered)
    assert found.usage.total_tokens == 9


def test_a_report_between_two_gemini_turns_is_a_record_of_its_own() -> None:
    """It is neither taken for the turn before nor overwritten by the one after."""
    watch = GeminiMeter(model="gemini")

    def say(**message: object) -> Frame:
        payload = json.dumps(message, indent=2).encode()
        return Frame(2, True, 2, b"\x82\x00" + payload)

    def usage(prompt: int) -> dict[str, int]:
        return {"promptTokenCount": prompt, "responseTokenCount": 20}

    turn = {"serverContent": {"modelTurn": {"parts": []}}}
    end = {"serverContent": {"turnComplete": True}}
    messages = [
        turn, {**end, "usageMetadata": usage(100)}, {"usageMetadata": usage(220)},
        turn, {**end, "usageMetadata": usage(310)},
    ]  # fmt: skip
    found = [x for m in messages if isinstance(x := watch.observe(say(**m)), Metered)]
    assert [x.usage.total_tokens for x in found] == [120, 240, 330]
