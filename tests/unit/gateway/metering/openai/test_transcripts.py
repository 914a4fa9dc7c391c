"""What is owed for transcriptions, and to which transcriber."""

import base64
import json
from typing import Any

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering.base import Metered
from gateway.metering.openai.cancel import COMMIT_ID
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.transcripts import Transcripts
from gateway.providers.base import Target
from gateway.providers.openai import Azure
from shared.usage import Kind
from tests.support.metering import SECOND, frame, hear, say

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def configure(meter: OpenAIMeter, model: str, **audio_input: Any) -> None:
    """The server says who transcribes."""
    spoken = {"transcription": {"model": model}, **audio_input}
    hear(meter, "session.updated", session={"model": "gpt-realtime", "audio": {"input": spoken}})


def session(model: str = "gpt-live-transcribe", *, is_xai: bool = False) -> OpenAIMeter:
    """A session that is transcribed."""
    meter = OpenAIMeter(model="gpt-realtime", bills_seconds=is_xai)
    configure(meter, model)
    return meter


def estimates(found: list[Any]) -> list[tuple[str, int]]:
    """Model and whole seconds of the estimates of transcriptions."""
    assert all(one.kind == Kind.ESTIMATED_TRANSCRIPTION for one in found)
    return [(one.model, round(one.usage.billed_ms / 1000)) for one in found]


def test_words_that_are_never_committed_are_owed() -> None:
    """A client of a streaming transcriber that only listens has heard what it said, in words."""
    meter = session()
    say(meter, 7)
    assert not meter.in_flight, "no word was delivered: nothing is owed"
    hear(meter, f"{TRANSCRIPTION}.delta", item_id="item_T1", delta="good morning")
    assert meter.in_flight
    assert estimates(meter.finish()) == [("gpt-live-transcribe", 7)]


def test_what_is_uncommitted_is_committed_when_the_client_is_gone() -> None:
    """The provider reports only then; the cancel goes along, as always."""
    meter = session()
    say(meter, 3)
    hear(meter, f"{TRANSCRIPTION}.delta", item_id="item_T1", delta="good")
    commit, cancel = map(json.loads, meter.cancel_events())
    assert (commit["type"], commit["event_id"]) == ("input_audio_buffer.commit", COMMIT_ID)
    assert cancel["type"] == "response.cancel"
    hear(meter, "input_audio_buffer.committed", item_id="item_T1")
    assert meter.in_flight == {"item_T1"}
    (found,) = hear(
        meter, f"{TRANSCRIPTION}.completed", item_id="item_T1", event_id="e1",
        usage={"type": "duration", "seconds": 3},
    )  # fmt: skip
    assert isinstance(found, Metered)
    assert (found.kind, found.usage.billed_ms) == (Kind.TRANSCRIPTION, 3_000)
    assert not meter.in_flight
    assert meter.finish() == []


def test_audio_before_the_transcriber_is_confirmed_is_heard() -> None:
    """Clients send it behind their session.update at once; the server's answer comes later."""
    meter = OpenAIMeter(model="gpt-realtime")
    say(meter, 4)
    configure(meter, "azure-speech")
    say(meter, 2)
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    done = {"item_id": "item_1", "transcript": "hello"}
    assert estimates(hear(meter, f"{TRANSCRIPTION}.completed", **done)) == [("azure-speech", 6)]


def test_words_of_audio_that_the_client_clears_are_owed() -> None:
    """Clearing throws away the audio, not what was heard of it."""
    meter = session()
    say(meter, 5)
    hear(meter, f"{TRANSCRIPTION}.delta", item_id="item_T1", delta="good")
    found = hear(meter, "input_audio_buffer.cleared")
    assert estimates(found) == [("gpt-live-transcribe", 5)]
    say(meter, 2)
    assert hear(meter, "input_audio_buffer.cleared") == [], "nobody heard it"
    assert meter.finish() == []


def test_words_of_audio_that_is_committed_for_nobody_are_owed() -> None:
    """A client that ends its transcription before the commit has heard what it said."""
    meter = session()
    say(meter, 5)
    hear(meter, f"{TRANSCRIPTION}.delta", item_id="item_T1", delta="good")
    hear(meter, "session.updated", session={"audio": {"input": {"transcription": None}}})
    found = hear(meter, "input_audio_buffer.committed", item_id="item_T1")
    assert estimates(found) == [("gpt-live-transcribe", 5)]
    assert not meter.in_flight
    say(meter, 5)
    assert hear(meter, "input_audio_buffer.committed", item_id="item_T2") == []
    assert meter.finish() == []


def test_more_words_than_a_row_may_hold_are_several_rows() -> None:
    """Three hours that nobody committed, and as many that were and are not reported."""
    for is_committed in (False, True):
        meter = session("whisper-1" if is_committed else "gpt-live-transcribe")
        second = frame({"type": "input_audio_buffer.append", "audio": SECOND}, mask=True)
        for _ in range(3 * 3_600):
            meter.observe_client(second)
        if is_committed:
            hear(meter, "input_audio_buffer.committed", item_id="item_T1")
        else:
            hear(meter, f"{TRANSCRIPTION}.delta", item_id="item_T1", delta="good")
        rows: list[Any] = meter.finish()
        assert len({row.response_id for row in rows}) == len(rows)
        assert [seconds for _, seconds in estimates(rows)] == [10_000, 800]


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {}}])
def test_a_transcription_without_usage_is_estimated(usage: dict[str, Any]) -> None:
    """By the audio of its item, once, whoever repeats its end."""
    meter = session("azure-speech")
    say(meter, 4)
    hear(meter, "input_audio_buffer.committed", item_id="item_U1")
    say(meter, 9)
    done = {"item_id": "item_U1", "transcript": "hello", **usage}
    assert estimates(hear(meter, f"{TRANSCRIPTION}.completed", **done)) == [("azure-speech", 4)]
    assert hear(meter, f"{TRANSCRIPTION}.completed", **done) == []


def test_a_price_that_holds_transcriptions_has_no_estimates_beside_it() -> None:
    """xAI bills the minutes of audio; what it transcribes of them is part of that."""
    meter = session("grok-transcribe", is_xai=True)
    say(meter, 4)
    hear(meter, f"{TRANSCRIPTION}.completed", item_id="item_1", transcript="hello")
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    assert not meter.in_flight
    assert [row.kind for row in meter.finish() if isinstance(row, Metered)] == [
        Kind.ESTIMATED_DURATION
    ]


def test_the_transcriber_at_the_commit_is_billed() -> None:
    """A session.update in between changes nothing for what was said before."""
    meter = session("whisper-1")
    say(meter, 1)
    hear(meter, "input_audio_buffer.committed", item_id="item_V1")
    configure(meter, "gpt-4o-transcribe")
    hear(meter, "input_audio_buffer.committed", item_id="item_V2")
    models = [
        found.model
        for item in ("item_V1", "item_V2")
        for found in hear(
            meter, f"{TRANSCRIPTION}.completed", item_id=item, event_id=f"event_{item}",
            usage={"type": "duration", "seconds": 1},
        )
    ]  # fmt: skip
    assert models == ["whisper-1", "gpt-4o-transcribe"]


FORMATS = [
    # format; how many bytes a second of it has
    ({"type": "audio/pcm", "rate": 24_000}, 48_000),
    ({"type": "audio/pcm", "rate": 16_000}, 32_000),
    ({"type": "audio/pcmu"}, 8_000),
    ({"type": "audio/pcma"}, 8_000),
]


@pytest.mark.parametrize(("spoken", "bytes_per_s"), FORMATS)
def test_audio_is_measured_by_its_format(spoken: dict[str, Any], bytes_per_s: int) -> None:
    """To a twentieth: names and quotes around it are not known exactly."""
    meter = OpenAIMeter(model="gpt-realtime")
    configure(meter, "whisper-1", format=spoken)
    chunk = base64.b64encode(bytes(bytes_per_s // 10)).decode()
    for _ in range(100):
        event = {"type": "input_audio_buffer.append", "audio": chunk}
        meter.observe_client(frame(event, mask=True))
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    (found,) = meter.finish()
    assert isinstance(found, Metered)
    assert found.usage.billed_ms == pytest.approx(10_000, rel=0.05)


def test_what_is_no_audio_is_not_measured() -> None:
    """A long prompt is not a minute of speech."""
    meter = session("whisper-1")
    event = {"type": "session.update", "session": {"instructions": "Be kind. " * 9_000}}
    meter.observe_client(frame(event, mask=True))
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    assert meter.finish() == []


def fragments(event: dict[str, Any], size: int) -> list[Frame]:
    """A message of the client's in several frames."""
    data = json.dumps(event).encode()
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    wire = b"".join(
        WireFrame(Opcode.CONT if at else Opcode.TEXT, part, fin=at == len(parts) - 1).serialize(
            mask=True
        )
        for at, part in enumerate(parts)
    )
    return FrameScanner(expects_mask=True).feed(wire)


@pytest.mark.parametrize("size", [100, 4_000])
def test_later_fragments_are_what_the_first_one_is(size: int) -> None:
    """An image in pieces is no speech, and speech in pieces is as long as in one."""
    meter = session("whisper-1")
    image = {"type": "conversation.item.create", "item": {"image_url": "A" * 90_000}}
    for piece in fragments(image, size):
        meter.observe_client(piece)
    for _ in range(5):
        for piece in fragments({"type": "input_audio_buffer.append", "audio": SECOND}, size):
            meter.observe_client(piece)
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    assert estimates(meter.finish()) == [("whisper-1", 5)]


def test_raw_audio_is_as_long_as_it_is_in_base64() -> None:
    """xAI's transport may be binary."""
    meter = session("whisper-1")
    wire = WireFrame(Opcode.BINARY, bytes(480_000)).serialize(mask=True)
    for piece in FrameScanner(expects_mask=True).feed(wire):
        meter.observe_client(piece)
    hear(meter, "input_audio_buffer.committed", item_id="item_1")
    assert estimates(meter.finish()) == [("whisper-1", 10)]


def test_what_waits_too_long_is_estimated_and_not_forgotten() -> None:
    """Beyond so many items that nobody transcribed the oldest is given up, not dropped."""
    meter = session("whisper-1")
    found: list[Any] = []
    for number in range(RESPONSE_IDS_MAX + 1):
        if not number:
            say(meter, 3)
        found += hear(meter, "input_audio_buffer.committed", item_id=f"item_{number}")
    assert estimates(found) == [("whisper-1", 3)]
    assert len(meter.in_flight) == RESPONSE_IDS_MAX


def test_words_are_noticed_wherever_the_type_stands() -> None:
    """JSON has no order."""
    meter = session()
    say(meter, 3)
    event = {"event_id": "e1", "delta": "good", "type": f"{TRANSCRIPTION}.delta"}
    meter.observe(frame(event, mask=False))
    assert estimates(meter.finish()) == [("gpt-live-transcribe", 3)]


@pytest.mark.parametrize("path", ["/voice-live/realtime", "/voice-agent/realtime"])
def test_what_voice_live_transcribes_is_part_of_its_price(path: str) -> None:
    """Azure OpenAI's transcribers have one of their own."""
    azure = Azure(base_url="wss://example.org", api_key="k")

    def estimated(path: str) -> list[Any]:
        meter = azure.meter(Target("azure", "gpt-4o", "s", path, ""))
        hear(meter, "session.created", session={"input_audio_transcription": {"model": "a"}})
        say(meter, 4)
        hear(meter, "input_audio_buffer.committed", item_id="item_1")
        return meter.finish()

    assert estimated(path) == []
    assert estimates(estimated("/openai/v1/realtime")) == [("a", 4)]


def test_an_item_that_was_reported_before_its_commit_is_awaited_no_more() -> None:
    """xAI transcribes it first; the audio of the next item is its own."""
    meter = session("grok-transcribe")
    say(meter, 4)
    usage = {"type": "duration", "seconds": 4}
    (row,) = hear(meter, f"{TRANSCRIPTION}.completed", item_id="i", event_id="e1", usage=usage)
    assert isinstance(row, Metered)
    assert row.usage.billed_ms == 4_000
    assert hear(meter, "input_audio_buffer.committed", item_id="i") == []
    assert not meter.in_flight
    say(meter, 2)
    hear(meter, "input_audio_buffer.committed", item_id="j")
    assert estimates(meter.finish()) == [("grok-transcribe", 2)]


def test_remembered_items_are_bounded() -> None:
    """A transcript that comes again after so many others is one of an item that is unknown."""
    transcripts = Transcripts(is_billed=True)
    for number in range(RESPONSE_IDS_MAX + 1):
        transcripts.ended(f"item_{number}")
    transcripts.audio.add(64_000)
    heard = [transcripts.ended(name).ms for name in ("item_1", "item_0")]
    assert heard == [0, 1_000]
