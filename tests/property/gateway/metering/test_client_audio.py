"""How much audio a client sent, however it spells, orders, repeats and cuts its messages.

What is estimated is at most 2 % off what was sent, and what stands around the audio of a message.
"""

import base64
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.metering.base import Meter, Metered, MeterResult
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.translation import TranslationMeter
from tests.support.metering import hear

ENVELOPE_BYTES = 80  # that may be missing of a message

Pairs = list[tuple[str, Any]]


class Sent(NamedTuple):
    """A message in its fragments, so often, and what is in it: audio, and bytes around that."""

    fragments: list[bytes]
    count: int
    audio_bytes: int
    around_bytes: int


class Client(NamedTuple):
    """A kind of session: its meter, how long a row says it was, and how it says audio."""

    begin: Callable[[], Meter]
    spoke: Callable[[Meter], Iterable[MeterResult]]
    bytes_per_s: int
    append: Callable[[str], Pairs]


def append(kind: str) -> Callable[[str], Pairs]:
    """An event of the OpenAI family."""
    return lambda audio: [("type", kind), ("audio", audio)]


def realtime_input(audio: str) -> Pairs:
    """Gemini's."""
    return [("realtimeInput", [("audio", [("data", audio), ("mimeType", "audio/pcm;rate=16000")])])]


def transcribed(audio_format: dict[str, Any]) -> Callable[[], Meter]:
    """A session whose transcriber delivers words before a commit."""

    def begin() -> Meter:
        meter = OpenAIMeter(model="")
        spoken = {"transcription": {"model": "gpt-live-transcribe"}, "format": audio_format}
        hear(meter, "session.updated", session={"audio": {"input": spoken}})
        return meter

    return begin


def live() -> Meter:
    """A session of GPT-Live that was begun."""
    meter = LiveMeter()
    hear(meter, "session.started", session={"id": "live_1", "model": "gpt-live-1"})
    return meter


def gemini() -> Meter:
    """A session of a Gemini model that only transcribes."""
    meter = GeminiMeter(model="")
    say(meter, [b'{"setup":{"model":"models/gemini-3.5-transcribe-live"}}'])
    tell(meter, b'{"setupComplete":{}}')
    return meter


def with_words(meter: Meter) -> Iterable[MeterResult]:
    """The end of a session in which words were delivered."""
    assert isinstance(meter, OpenAIMeter)
    hear(meter, "conversation.item.input_audio_transcription.delta", item_id="i", delta="a")
    return meter.finish()


def with_gemini_words(meter: Meter) -> Iterable[MeterResult]:
    """The same, of Gemini."""
    return [
        *tell(meter, b'{"serverContent":{"inputTranscription":{"text":"a"}}}'),
        *meter.finish(),
    ]


def ended(meter: Meter) -> Iterable[MeterResult]:
    """The end of a session."""
    return meter.finish()


PCM, G711 = {"type": "audio/pcm", "rate": 24_000}, {"type": "audio/pcmu"}
PLAIN = append("input_audio_buffer.append")
CLIENTS = {
    "OpenAI, streaming transcription": Client(transcribed(PCM), with_words, 48_000, PLAIN),
    "OpenAI, G.711": Client(transcribed(G711), with_words, 8_000, PLAIN),
    "OpenAI, translation": Client(
        lambda: TranslationMeter(model="t"), ended, 48_000,
        append("session.input_audio_buffer.append"),
    ),
    "OpenAI, GPT-Live": Client(live, ended, 48_000, append("session.input_audio.append")),
    "xAI": Client(lambda: OpenAIMeter(model="g", bills_seconds=True), ended, 48_000, PLAIN),
    "Gemini": Client(gemini, with_gemini_words, 32_000, realtime_input),
}  # fmt: skip


def escaped(text: str, where: set[int]) -> str:
    """JSON of ``text`` with some of its letters escaped."""
    return '"' + "".join(f"\\u{ord(c):04x}" if i in where else c for i, c in enumerate(text)) + '"'


@st.composite
def spelled(draw: st.DrawFn, pairs: Pairs, *, audio: str, may_repeat: bool) -> str:
    """JSON of ``pairs`` in any order, with decoys before what counts, spaces and escapes."""
    space = draw(st.sampled_from(["", " ", "\n  ", " " * 50]))

    def text(value: str) -> str:
        if value == audio:
            return f'"{value}"'
        return escaped(
            value, draw(st.one_of(st.just(set()), st.sets(st.integers(0, 30), max_size=2)))
        )

    parts = []
    for name, value in draw(st.permutations(pairs)):
        if may_repeat and draw(st.booleans()):
            decoy = draw(st.sampled_from(['"y"', '""', '{"type":"response.create"}', "null"]))
            parts.append(f"{text(name)}:{space}{decoy}")
        inner = (
            draw(spelled(value, audio=audio, may_repeat=False))
            if isinstance(value, list)
            else text(value)
        )
        parts.append(f"{space}{text(name)}{space}:{space}{inner}")
    if may_repeat and draw(st.booleans()):
        parts.insert(0, draw(st.sampled_from(['"x":{"type":"y"}', '"event_id":"event_1"'])))
    return "{" + f",{space}".join(parts) + space + "}"


@st.composite
def sent(draw: st.DrawFn, client: Client) -> Sent:
    """A second or more of audio, in messages of one size."""
    is_gemini = client.append is realtime_input
    size = draw(st.sampled_from([80, 160, 320, 480, 960, 3_200, 48_000]))
    audio = base64.b64encode(bytes(range(256)) * (size // 256 + 1))[: -(-size // 3) * 4].decode()
    message = draw(spelled(client.append(audio), audio=audio, may_repeat=not is_gemini)).encode()
    step = draw(st.sampled_from([0, 0, 61, 190, 1_000]))
    cuts = [*range(0, len(message), step or len(message)), len(message)]
    fragments = [message[a:b] for a, b in itertools.pairwise(cuts)]
    count = -(-client.bytes_per_s // size)
    return Sent(fragments, count, size, len(message) - len(audio))


def say(meter: Meter, fragments: list[bytes], opcode: Opcode = Opcode.TEXT) -> None:
    """One message of the client's."""
    frames = [
        WireFrame(Opcode.CONT if n else opcode, part, fin=n == len(fragments) - 1)
        for n, part in enumerate(fragments)
    ]
    stream = b"".join(frame.serialize(mask=True) for frame in frames)
    for frame in FrameScanner(expects_mask=True).feed(stream):
        meter.observe_client(frame)


def tell(meter: Meter, message: bytes) -> list[MeterResult]:
    """One message of Gemini's."""
    wire = WireFrame(Opcode.BINARY, message).serialize(mask=False)
    return [found for frame in FrameScanner(expects_mask=False).feed(wire)
            for found in meter.observe(frame)]  # fmt: skip


def seconds(rows: Iterable[MeterResult]) -> float:
    """What the rows say."""
    found = [row for row in rows if isinstance(row, Metered)]
    return sum(row.usage.billed_ms for row in found) / 1000


@pytest.mark.parametrize("name", CLIENTS)
@given(data=st.data())
def test_audio_counts_however_it_is_written(name: str, data: st.DataObject) -> None:
    """No spelling is free, and none counts twice."""
    client = CLIENTS[name]
    said = data.draw(sent(client))
    meter = client.begin()
    for _ in range(said.count):
        say(meter, said.fragments)
    length_s = said.count * said.audio_bytes / client.bytes_per_s
    per_byte_s = said.count * 3 / 4 / client.bytes_per_s
    missing_s = ENVELOPE_BYTES * per_byte_s if name == "Gemini" else 0.002
    around_s = said.around_bytes * per_byte_s
    found_s = seconds(client.spoke(meter))
    assert length_s * 0.98 - missing_s <= found_s <= length_s * 1.02 + around_s


@pytest.mark.parametrize("size", [160, 480, 960, 4_800])
@pytest.mark.parametrize("before", [[], [("event_id", "event_0123456789abcdef01234")]])
@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "Gemini"])
def test_audio_as_sdks_write_it_is_measured(name: str, before: Pairs, size: int) -> None:
    """To a thousandth, in pieces of any length."""
    client = CLIENTS[name]
    audio = base64.b64encode(bytes(size)).decode()
    meter = client.begin()
    for _ in range(200):
        say(meter, [json.dumps(dict([*before, *client.append(audio)])).encode()])
    expected = 200 * len(audio) * 3 / 4 / client.bytes_per_s
    assert seconds(client.spoke(meter)) == pytest.approx(expected, rel=1e-3)


@given(cut=st.integers(1, 400), size=st.integers(1, 2_000))
@example(cut=1, size=100)
def test_raw_audio_counts_in_fragments_of_any_size(cut: int, size: int) -> None:
    """xAI takes it in binary messages."""
    meter = OpenAIMeter(model="g", bills_seconds=True)
    parts = [bytes(min(cut, size - at)) for at in range(0, size, cut)]
    count = -(-4_800 // size)
    for _ in range(count):
        say(meter, parts, Opcode.BINARY)
    assert seconds(meter.finish()) == pytest.approx(count * size / 48_000, rel=0.02, abs=0.001)


PLAINLY_OTHER = [
    {"type": "response.create"},
    {"type": "session.update", "session": {"audio": {"input": {"transcription": None}}}},
    {"event_id": "event_1", "type": "conversation.item.create", "item": {"text": "x" * 5_000}},
    {"type": "conversation.item.create", "item": {"text": 'say "audio"\n' * 500}},
    {"type": "conversation.item.create", "item": {"image_url": "data:" + "A" * 50_000}},
    {"item": {"type": "message", "text": "x" * 5_000}, "type": "conversation.item.create"},
]


@pytest.mark.parametrize("event", PLAINLY_OTHER)
def test_what_is_no_audio_counts_nothing(event: dict[str, Any]) -> None:
    """Text, tools and images are told by their messages, whole or in fragments."""
    meter = TranslationMeter(model="t")
    message = json.dumps(event).encode()
    say(meter, [message])
    say(meter, [message[at : at + 100] for at in range(0, len(message), 100)])
    assert meter.finish() == []


def test_the_lowest_rate_that_a_message_of_gemini_says_counts() -> None:
    """A higher one beside it, or one behind an escape, does not make the audio shorter."""
    audio = base64.b64encode(bytes(32_000)).decode()
    for mime in (
        r'"audio\/pcm;rate=16000","x":"audio/pcm;rate=192000"',
        '"audio/pcm","x":"audio/pcm;rate=192000"',
    ):
        meter = gemini()
        say(
            meter,
            [f'{{"realtimeInput":{{"audio":{{"data":"{audio}","mimeType":{mime}}}}}}}'.encode()],
        )
        assert seconds(with_gemini_words(meter)) == pytest.approx(1, rel=0.02)
