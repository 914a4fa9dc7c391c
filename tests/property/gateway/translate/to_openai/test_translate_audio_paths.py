"""Audio that is found without decoding its message is what decoding finds, in any spelling."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gateway.translate.to_openai.audio_paths import heard_audio, spoken_audio
from gateway.translate.to_openai.client_fields import read
from tests.support.spelling import spelled

DELTA = "response.output_audio.delta"
PCM = st.binary(min_size=0, max_size=40)
# Members that stand around the audio, also some that repeat a name or hold a quoted message.
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["event_id", "response_id", "item_id", "type", "delta", "odd name", "x1"]),
        st.one_of(st.text(max_size=8), st.integers(0, 9), st.none(), st.just('"delta":"AAAA"')),
    ),
    max_size=4,
)


@given(st.data(), PCM, MEMBERS, MEMBERS, st.booleans())
def test_what_a_provider_says(
    data: st.DataObject, pcm: bytes, before: Any, after: Any, is_usual: bool
) -> None:
    """If something is found it is the value that a decoder finds, and it is an audio delta."""
    audio = base64.b64encode(pcm).decode()
    around = (before, after) if not is_usual else ([("event_id", "e"), ("content_index", 0)], [])
    pairs = [("type", DELTA), *around[0], ("delta", audio), *around[1]]
    message = data.draw(spelled(pairs))
    found = spoken_audio(message)
    decoded = json.decode(message)
    if found is not None:
        assert decoded["type"] == DELTA
        assert found.decode() == decoded["delta"]
    if is_usual and b" " not in message and b"\\" not in message:
        assert found is not None


@given(st.data(), PCM, st.booleans(), st.sampled_from(["audio/pcm;rate=16000", "audio/pcm", 'a"b']))
def test_what_a_client_says(data: st.DataObject, pcm: bytes, is_first: bool, mime: str) -> None:
    """If something is found it is what the general reading of the message finds."""
    names = data.draw(
        st.sampled_from(
            [("realtimeInput", "mimeType"), ("realtime_input", "mime_type"), ("x", "mimeType")]
        )
    )
    encode = data.draw(st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
    blob = [("data", encode(pcm).decode()), (names[1], mime)]
    more = data.draw(st.sampled_from([[], [("text", "hello")]]))
    pairs = [(names[0], [("audio", blob if is_first else blob[::-1]), *more])]
    message = data.draw(spelled(pairs))
    found = heard_audio(message)
    if found is not None:
        kind, body = read(message)
        fields = body.inner("audio")
        assert kind == "realtimeInput"
        assert found == (fields.text("mimeType"), fields.text("data"))
        assert fields.unread() == body.unread() == []
    elif not more and names[0] != "x" and b"\\" not in message:
        assert message.startswith(b" ")
