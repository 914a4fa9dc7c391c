"""The client's audio: what appending, committing and clearing do. Pure."""

from gateway.translate.audio import encode_base64
from gateway.translate.to_gemini.audio_shapes import Payload, decoded, payload_of
from gateway.translate.to_gemini.configuration import is_transcribed
from gateway.translate.to_gemini.reading import Json, required_text
from gateway.translate.to_gemini.refusals import RefusedError, invalid
from gateway.translate.to_gemini.state import State

_HEAD = b'{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate='
_TAIL = b'"}}}'


def append(state: State, event: Json) -> None:
    """``input_audio_buffer.append``."""
    text = required_text(event, "audio", "")
    payload = payload_of(text.encode()) if text.isascii() else None
    if payload is None:
        raise invalid("audio", "base64")
    send_audio(state, payload)


def send_audio(state: State, payload: Payload) -> None:
    """Send the user's audio on. Base64 of PCM is copied as it is."""
    if not payload.size:
        return
    if state.is_detected and state.pending and state.response is None:
        state.send(state.pending.tell())
    state.speech.appended(payload.size, bytes_per_ms=state.bytes_per_ms)
    data = payload.data
    if not state.converter.is_verbatim:
        data = encode_base64(state.converter.feed(decoded(payload))).encode()
    rate = b"%d" % state.input_format.rate_hz
    message = b"".join((_HEAD, rate, b'","data":"', data, _TAIL))
    if not state.is_detected and not state.speech.is_active:
        if state.is_model_busy and state.speech.hold(message):
            return
        begin_activity(state)
    state.out.to_provider.append(message)


def begin_activity(state: State) -> None:
    """The user's turn, as the client says, with what was held of it."""
    state.speech.is_active = True
    state.send({"realtimeInput": {"activityStart": {}}})
    state.out.to_provider += state.speech.take_held()


def commit(state: State, _event: Json) -> None:
    """``input_audio_buffer.commit``: with detection the provider is told that the audio pauses;
    else the end of the activity is told once a response is asked for.
    """
    if not state.speech.has_audio:
        message = "Error committing input audio buffer: the buffer is empty."
        raise RefusedError("input_audio_buffer_commit_empty", message)
    if state.is_detected:
        state.send({"realtimeInput": {"audioStreamEnd": True}})
        state.speech.stopped()
    state.speech.commit(is_transcribed=is_transcribed(state.session))
    state.speech.is_due = True


def clear(state: State, _event: Json) -> None:
    """``input_audio_buffer.clear``: what the provider was given cannot be taken back, and stays a
    part of the activity. That is no error: pipecat, where it detects turns itself, clears what was
    said before each, and takes errors for the end of the session.
    """
    if not state.is_detected and state.speech.has_audio:
        state.out.ignored.append("input_audio_buffer.clear")
    state.speech.cleared()
