"""What a client of Gemini has asked for, message by message."""

import base64
import json
from typing import Any

import pytest

from gateway.metering.gemini.client import RESOURCE_PATH, GeminiClient
from gateway.metering.parsing import without_prefix
from tests.support.metering import in_pieces, said

ZEROS = base64.b64encode(bytes(640)).decode()
SOUND = base64.b64encode(bytes(600) + b"\x01" * 40).decode()


def client_of(model: str = "models/m", **setup: Any) -> GeminiClient:
    """A client that has set its session up."""
    client = GeminiClient()
    client.observe(said({"setup": {"model": model, **setup}}), is_answering=False)
    return client


def audio(data: str, *, mime: str = "audio/pcm;rate=16000") -> dict[str, Any]:
    """A piece of what the microphone hears."""
    return {"realtimeInput": {"audio": {"data": data, "mimeType": mime}}}


TURN = {"turns": [{"role": "user", "parts": [{"text": "hi"}]}]}
ASKED = [
    # a message; the answers that are certain while the model is silent, and while it answers
    ({"clientContent": {**TURN, "turnComplete": True}}, 1, 1),
    ({"client_content": {**TURN, "turn_complete": True}}, 1, 1),
    ({"clientContent": {"turnComplete": True}}, 1, 1),
    ({"clientContent": {**TURN, "turnComplete": False}}, 0, 0),
    ({"clientContent": {**TURN, "turnComplete": "true"}}, 0, 0),
    ({"clientContent": TURN}, 0, 0),
    ({"realtimeInput": {"text": "hi"}}, 1, 1),
    ({"realtime_input": {"text": "hi"}}, 1, 1),
    ({"realtimeInput": {"text": ""}}, 0, 0),
    ({"realtimeInput": {"activityEnd": {}}}, 1, 1),
    ({"realtimeInput": {"activity_end": {}}}, 1, 1),
    ({"realtimeInput": {"activityStart": {}}}, 0, 0),
    ({"realtimeInput": {"audioStreamEnd": True}}, 0, 0),
    ({"toolResponse": {"functionResponses": []}}, 1, 0),
    ({"tool_response": {"functionResponses": []}}, 1, 0),
    (audio(SOUND), 0, 0),
    # What no provider takes asks for nothing.
    (b'{"clientContent": {"turnComplete": true', 0, 0),
    (b'["clientContent"]', 0, 0),
    ({"clientContent": [{"turnComplete": True}]}, 0, 0),
    # Names that are spelled with an escape are the same names.
    (rb'{"client\u0043ontent": {"turn\u0043omplete": true}}', 1, 1),
    (rb'{"realtimeInput": {"te\u0078t": "hi"}}', 1, 1),
]


@pytest.mark.parametrize(("message", "when_silent", "when_answering"), ASKED)
def test_what_asks_for_an_answer_for_certain(
    message: dict[str, Any] | bytes, when_silent: int, when_answering: int
) -> None:
    """A tool's answer belongs to the turn that is going on, where there is one."""
    for is_answering, asked in ((False, when_silent), (True, when_answering)):
        client = client_of()
        assert client.observe(said(message), is_answering=is_answering) is bool(asked)
        assert client.asked == asked


MAY_FOLLOW = [
    # messages; whether an answer may follow
    ([audio(SOUND)], True),
    ([audio(ZEROS)], False),
    ([audio(ZEROS), audio(SOUND), audio(ZEROS)], True),
    ([audio("")], False),
    ([{"realtimeInput": {"mediaChunks": [{"data": SOUND, "mimeType": "audio/pcm"}]}}], True),
    (
        [{"realtimeInput": {"mediaChunks": [
            {"data": ZEROS, "mimeType": "audio/pcm"}, {"data": SOUND, "mimeType": "audio/pcm"},
        ]}}],
        True,
    ),
    ([{"realtimeInput": {"video": {"data": SOUND, "mimeType": "image/jpeg"}}}], False),
    ([{"realtimeInput": {"activityStart": {}}}], False),
    ([{"clientContent": {**TURN, "turnComplete": True}}], False),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "may_follow"), MAY_FOLLOW)
def test_any_sound_may_be_speech(messages: list[dict[str, Any]], may_follow: bool) -> None:
    """A muted microphone's zeros are none, and neither are pictures."""
    client = client_of()
    for message in messages:
        client.observe(said(message), is_answering=False)
    assert client.may_follow is may_follow


@pytest.mark.parametrize(
    ("config", "may_follow"),
    [
        ({"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}, False),
        ({"realtime_input_config": {"automatic_activity_detection": {"disabled": True}}}, False),
        ({"realtimeInputConfig": {"automaticActivityDetection": {"disabled": False}}}, True),
        ({"realtimeInputConfig": {"automaticActivityDetection": {}}}, True),
        ({"realtimeInputConfig": {}}, True),
        ({}, True),
    ],
)
def test_who_detects_activity_decides_whether_sound_may_be_answered(
    config: dict[str, Any], may_follow: bool
) -> None:
    """A client that does so itself says where its activity ends."""
    client = client_of(**config)
    client.observe(said(audio(SOUND)), is_answering=False)
    assert client.may_follow is may_follow


def test_a_beginning_answers_what_was_asked_and_leaves_the_rest_open() -> None:
    """Two questions have one answer or two: nobody says."""
    client = client_of()
    for answers_that_may_follow in (1, 2):
        for _ in range(answers_that_may_follow):
            client.observe(said({"realtimeInput": {"text": "hi"}}), is_answering=False)
        client.begun()
        assert client.asked == 0
        client.ended(was_begun=True)
        assert client.may_follow is (answers_that_may_follow == 2)


def test_an_end_without_a_beginning_is_the_answer() -> None:
    """The turn was interrupted before the model's first word."""
    client = client_of()
    client.observe(said({"realtimeInput": {"text": "hi"}}), is_answering=False)
    client.ended(was_begun=False)
    assert (client.asked, client.may_follow) == (0, False)


def test_what_is_asked_during_a_turn_is_still_to_be_answered() -> None:
    """The end of that turn leaves it."""
    client = client_of()
    client.begun()
    client.observe(said({"realtimeInput": {"text": "hi"}}), is_answering=True)
    client.ended(was_begun=True)
    assert client.asked == 1


PATHS = [
    ("models/m", "m"),
    ("m", "m"),
    ("publishers/google/models/m", "m"),
    ("projects/p/locations/l/publishers/google/models/m", "m"),
    ("projects/p/locations/l/models/m", "projects/p/locations/l/models/m"),
    ("models/a/b", "models/a/b"),
]


@pytest.mark.parametrize(("path", "model"), PATHS)
def test_the_model_is_the_end_of_its_path(path: str, model: str) -> None:
    """What is no path of a model stays as it is."""
    assert client_of(path).model == model
    assert without_prefix(RESOURCE_PATH, path) == model


@pytest.mark.parametrize("first", [{"realtimeInput": {"text": "hi"}}, b"{", {"setup": {}}, b"[]"])
def test_a_session_without_a_setup_has_no_model(first: dict[str, Any] | bytes) -> None:
    """The first message decides, and a later setup changes nothing: the provider refuses both."""
    client = GeminiClient()
    client.observe(said(first), is_answering=False)
    client.observe(said({"setup": {"model": "models/late"}}), is_answering=False)
    assert client.model == ""


RATES = [
    ("audio/pcm;rate=24000", 24_000),
    ("audio/pcm; rate=8000", 8_000),
    ("AUDIO/pcm;rate=48000", 48_000),
    ("audio/pcm", 16_000),
    ("audio/pcm;rate=fast", 16_000),
    ("audio/pcm;rate=3999", 16_000),
    ("audio/pcm;rate=192001", 16_000),
    ("audio/pcm;rate=192000", 192_000),
]


@pytest.mark.parametrize(("mime", "rate_hz"), RATES)
def test_the_rate_of_audio_is_in_its_mime_type(mime: str, rate_hz: int) -> None:
    """Where it says none, or none that may be, it is 16 kHz; an escape hides nothing."""
    client = client_of()
    client.wants_rate = True
    plain = json.dumps(audio(SOUND, mime=mime))
    for spelled in (
        plain,
        plain.replace('"audio/', r'"\u0061udio/').replace("AUDIO", r"\u0041UDIO"),
    ):
        client.observe(said(spelled.encode()), is_answering=False)
        assert client.rate_hz == rate_hz


def test_of_several_rates_the_lowest_counts() -> None:
    """A high one would make the same bytes shorter, and cheaper."""
    client = client_of()
    client.wants_rate = True
    chunks = [{"data": ZEROS, "mimeType": f"audio/pcm;rate={n}"} for n in (48_000, 8_000, 24_000)]
    client.observe(said({"realtimeInput": {"mediaChunks": chunks}}), is_answering=False)
    assert client.rate_hz == 8_000


@pytest.mark.parametrize("size", [7, 30, 1_000])
def test_a_message_in_fragments_is_read_when_it_is_whole(size: int) -> None:
    """Until then it asks for nothing and has no length."""
    client = client_of()
    before = client.bytes_in
    message = json.dumps({"clientContent": {**TURN, "turnComplete": True}}).encode()
    *earlier, last = in_pieces(message, size, mask=True)
    for piece in earlier:
        assert not client.observe(piece, is_answering=False)
        assert client.message_bytes == 0
    assert client.observe(last, is_answering=False)
    assert client.message_bytes == len(message)
    assert client.bytes_in == before + len(message)
