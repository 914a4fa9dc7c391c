"""What is taken out of a message of audio without parsing it is what a parser finds."""

import base64
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import json as fast_json

from gateway.translate.to_gemini.audio_shapes import appended, payload_of, spoken
from tests.support.translation_to_gemini import SPEECH

BASE64 = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())
AUDIO = BASE64 | st.text(alphabet='AB+/=-_ \\"\u00e9', max_size=12)
FIELDS = st.sampled_from(("type", "event_id", "audio", "other"))
PLAIN = st.sampled_from(("input_audio_buffer.append", "input_audio_buffer.commit", "e_1", "\\", ""))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """An append, or something like it, with its fields in any order, and spaced in any way."""
    names = draw(st.lists(FIELDS, max_size=5)) or ["type", "audio"]
    pairs = [(name, draw(AUDIO) if name == "audio" else _value(draw, name)) for name in names]
    gap = draw(st.sampled_from(("", " ", "\n  ", "\t")))
    body = f",{gap}".join(f"{json.dumps(name)}:{gap}{json.dumps(value)}" for name, value in pairs)
    return f"{gap}{{{body}{gap}}}{gap}".encode()


def _value(draw: st.DrawFn, name: str) -> str:
    if name == "type" and draw(st.integers(0, 3)):
        return "input_audio_buffer.append"
    return draw(PLAIN)


@given(sent=st.lists(messages(), min_size=1, max_size=3))
@example(sent=[b'{"type":"input_audio_buffer.append","audio":"AAAA","type":"x"}'])
@example(sent=[b'{"audio":"AAAA","type":"input_audio_buffer.append"}'] * 2)
def test_appended_audio_is_what_the_parser_finds(sent: list[bytes]) -> None:
    """Where anything is found it is the audio of an append, whatever came before."""
    shape = appended()
    for message in sent:
        found = shape.find(message)
        event = fast_json.decode(message)
        if found is not None:
            assert set(event) <= {"type", "audio", "event_id"}
            assert event["type"] == "input_audio_buffer.append"
            assert event["audio"].encode() == found.data
            assert payload_of(found.data) == found


@given(
    audio=BASE64,
    order=st.permutations(("type", "audio", "event_id")),
    gap=st.sampled_from((",", ", ")),
)
def test_the_sdks_messages_are_found(audio: str, order: list[str], gap: str) -> None:
    """In any order of the fields, compact or with spaces."""
    values = {"type": "input_audio_buffer.append", "audio": audio, "event_id": "e_1"}
    message = json.dumps({name: values[name] for name in order}, separators=(gap, gap[1:] + ":"))
    message = message.replace(gap[1:] + ":", ":")
    found = appended().find(message.encode())
    assert found is not None
    assert found.data == audio.encode()


CONTENT = st.fixed_dictionaries(
    {"modelTurn": st.fixed_dictionaries(
        {"parts": st.lists(st.fixed_dictionaries(
            {"inlineData": st.builds(
                lambda mime, data: {"mimeType": mime, "data": data},
                st.sampled_from((SPEECH["mimeType"], "audio/pcm", "image/png")), AUDIO,
            )},
            optional={"thought": st.just(True)},
        ), max_size=2)},
        optional={"role": st.sampled_from(("model", "user"))},
    )},
    optional={"turnComplete": st.just(True)},
)  # fmt: skip


@given(content=CONTENT, usage=st.booleans(), indent=st.sampled_from((None, 2)))
def test_spoken_audio_is_what_the_parser_finds(
    content: dict[str, Any], usage: bool, indent: int | None
) -> None:
    """A message that says anything else, too, is parsed."""
    message = {"serverContent": content, **({"usageMetadata": {}} if usage else {})}
    found = spoken().find(json.dumps(message, indent=indent).encode())
    parts = content["modelTurn"]["parts"]
    is_plain = len(parts) == 1 and set(parts[0]) == {"inlineData"} and not usage
    is_plain = is_plain and "turnComplete" not in content
    is_plain = is_plain and content["modelTurn"].get("role", "model") == "model"
    if found is not None:
        assert is_plain
        assert parts[0]["inlineData"] == {**SPEECH, "data": found.data.decode()}
    elif is_plain and parts[0]["inlineData"]["mimeType"] == SPEECH["mimeType"]:
        assert payload_of(parts[0]["inlineData"]["data"].encode()) is None
