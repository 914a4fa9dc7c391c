"""Sessions that are charged by the length of the audio alone, because nothing reports what it cost.

Their charges follow the bytes of the client's messages, so these scripts are played as they stand.
"""

from typing import Any

from shared.usage import Kind
from tests.support.golden import Event, Script, Step, charge
from tests.support.golden_gemini import READY, content, server
from tests.support.golden_openai_events import COMPLETED, created, done
from tests.support.golden_openai_events import server as event
from tests.support.golden_openai_events import session as opened

TRANSLATOR, STREAMER, WRITER = (
    "gpt-realtime-translate", "gpt-live-transcribe", "gemini-3.5-transcribe-live",
)  # fmt: skip
# What is taken for names and quotes around the audio of a message, and the bytes of a second.
ENVELOPE, SECOND = 60, 64_000


def base64_of(size: int) -> str:
    """Text of at least so many characters that is base64: less than a millisecond more."""
    return "UmVh" * -(-size // 4)


def said(kind: str, seconds: int) -> Step:
    """A message that counts as so many seconds of audio at 24 kHz."""
    message = {"type": kind, "audio": ""}
    size = seconds * SECOND + ENVELOPE - len(Step(message).text())
    return Step({**message, "audio": base64_of(size)}, is_client=True)


def written(seconds: int) -> Step:
    """The same for Gemini, at 16 kHz."""
    message: Event = {"realtimeInput": {"audio": {"data": "", "mimeType": "audio/pcm;rate=16000"}}}
    size = seconds * 16_000 * 8 // 3 + 80 - len(Step(message).text())
    message["realtimeInput"]["audio"]["data"] = base64_of(size)
    return Step(message, is_client=True)


TRANSLATION: Event = {
    "id": "sess_t", "type": "translation", "model": TRANSLATOR, "expires_at": 1_800_000_000,
    "audio": {"input": {"transcription": None, "noise_reduction": None},
              "output": {"language": "fr"}},
}  # fmt: skip
BON = (
    event("session.output_transcript.delta", delta="bon", elapsed_ms=200),
    event("session.output_audio.delta", delta="UmVhbA==", elapsed_ms=200, sample_rate=24_000,
          channels=1, format="pcm16"),
)  # fmt: skip
APPEND, TRANSLATE = "input_audio_buffer.append", "session.input_audio_buffer.append"
ESTIMATED, LENGTH = Kind.ESTIMATED_TRANSCRIPTION, Kind.ESTIMATED_DURATION
WORD = event(
    "conversation.item.input_audio_transcription.delta", item_id="item_1", content_index=0,
    delta="word",
)  # fmt: skip
WORDLESS = event(COMPLETED, item_id="item_1", content_index=0, transcript="word")


def committed(item: str = "item_1") -> Step:
    """The audio so far is an item."""
    return event("input_audio_buffer.committed", item_id=item, previous_item_id=None)


def estimate(name: str, model: str, kind: Kind, ms: int, tokens: int = 0) -> Any:
    """A row for so much audio."""
    counts = (tokens, 0, tokens)
    return charge(name, model, counts, into=(0, tokens, 0, 0), kind=kind, ms=ms)


SCRIPTS = [
    Script(
        "a translation", "translation", TRANSLATOR,
        (event("session.created", session=TRANSLATION), said(TRANSLATE, 45), *BON,
         said(TRANSLATE, 20), *BON, said(TRANSLATE, 7), event("session.closed")),
        (estimate("minute 1", TRANSLATOR, LENGTH, 65_000),
         estimate("minute 2", TRANSLATOR, LENGTH, 7_000)),
    ),
    Script(
        "a streaming transcriber, cleared", "ga", "gpt-realtime",
        (opened(whisper=STREAMER), said(APPEND, 5), WORD, event("input_audio_buffer.cleared")),
        (estimate("uncommitted audio 1", STREAMER, ESTIMATED, 5_000),),
    ),
    Script(
        "a streaming transcriber, never committed", "ga", "gpt-realtime",
        (opened(whisper=STREAMER), said(APPEND, 5), WORD, said(APPEND, 2)),
        (estimate("uncommitted audio 1", STREAMER, ESTIMATED, 7_000),),
    ),
    Script(
        "Azure, a transcript without a usage", "odd", "gpt-realtime",
        (opened(whisper="azure-speech"), said(APPEND, 4), committed(), created(), done(None),
         WORDLESS),
        (estimate("item_1 1", "azure-speech", ESTIMATED, 4_000),),
    ),
    Script(
        "a transcript that never comes", "ga", "gpt-realtime",
        (opened(whisper="whisper-1"), said(APPEND, 4), committed()),
        (estimate("item_1 1", "whisper-1", ESTIMATED, 4_000),),
    ),
    Script(
        "Gemini, a transcriber", "gemini", "",
        (Step({"setup": {"model": f"models/{WRITER}"}}, is_client=True), READY, written(40),
         content(inputTranscription={"text": "good"}), written(25),
         content(inputTranscription={"text": " morning"}), written(3),
         server(goAway={"timeLeft": "5s"})),
        (estimate("minute 1", WRITER, ESTIMATED, 65_000, tokens=1_625),
         estimate("minute 2", WRITER, ESTIMATED, 3_000, tokens=75)),
    ),
]  # fmt: skip
