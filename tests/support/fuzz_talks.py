"""Talks of each protocol with everything in them, from which sessions for fuzzing are made."""

import json
from typing import Any, Final

Event = dict[str, Any]

_AUDIO = "AAAA" * 40
_SCHEMA = {
    "type": "object", "required": ["city"], "additionalProperties": False, "$defs": {"d": {}},
    "properties": {
        "city": {"type": ["string", "null"], "enum": ["a"], "format": "uuid"},
        "of": {"anyOf": [{"$ref": "#/$defs/d"}, {"type": "array", "items": {"type": "integer"}}]},
    },
}  # fmt: skip
_TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": _SCHEMA}
_TEXT = {"type": "input_text", "text": "hello"}


def _item(**fields: Any) -> Event:
    return {"type": "conversation.item.create", "item": fields}


OPENAI_CLIENT: Final[list[Event]] = [
    {"type": "session.update", "event_id": "e1", "session": {
        "type": "realtime", "instructions": "i", "tools": [_TOOL], "tool_choice": "auto",
        "max_output_tokens": 50, "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 100},
                "transcription": {"model": "whisper-1", "language": "en"},
            },
            "output": {"voice": "alloy", "format": {"type": "audio/pcmu"}, "speed": 1.0},
        },
    }},
    _item(type="message", role="user", id="item_1", content=[_TEXT]),
    _item(type="message", role="system", content=[_TEXT]),
    _item(type="message", role="assistant", content=[{"type": "output_text", "text": "a"}]),
    {"type": "response.create", "event_id": "e2"},
    {"type": "input_audio_buffer.append", "audio": _AUDIO},
    {"type": "input_audio_buffer.commit"},
    {"type": "response.create", "response": {
        "instructions": "x", "output_modalities": ["text"], "metadata": {"a": "b"},
        "conversation": "none", "input": [],
    }},
    _item(type="function_call_output", call_id="f1", output='{"a":1}'),
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0,
     "audio_end_ms": 5},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {"type": "response.cancel"},
    {"type": "session.update", "session": {
        "modalities": ["text"], "voice": "sage", "input_audio_format": "g711_ulaw",
        "turn_detection": None, "tools": [], "temperature": 0.8,
    }},
]  # fmt: skip
GEMINI_PROVIDER: Final[list[Event]] = [
    {"setupComplete": {"sessionId": "s"}},
    {"serverContent": {"inputTranscription": {"text": "hel", "finished": False}}},
    {"serverContent": {"modelTurn": {"parts": [
        {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": _AUDIO}},
        {"text": "t", "thought": True},
    ]}}},
    {"serverContent": {"outputTranscription": {"text": "hi"}}},
    {"toolCall": {"functionCalls": [{"id": "f1", "name": "weather", "args": {"city": "a"}}]}},
    {"toolCallCancellation": {"ids": ["f1"]}},
    {"serverContent": {"generationComplete": True}},
    {"serverContent": {"turnComplete": True}, "usageMetadata": {
        "promptTokenCount": 5, "responseTokenCount": 7, "totalTokenCount": 12,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }},
    {"serverContent": {"interrupted": True}},
    {"sessionResumptionUpdate": {"newHandle": "handle", "resumable": True}},
    {"goAway": {"timeLeft": "50s"}},
    {"serverContent": {"modelTurn": {"parts": [{"text": "t"}]}, "groundingMetadata": {
        "webSearchQueries": ["q"],
    }}},
    {"serverContent": {"turnComplete": True}},
]  # fmt: skip
_BLOB = {"data": _AUDIO, "mimeType": "audio/pcm;rate=16000"}
GEMINI_CLIENT: Final[list[Event]] = [
    {"setup": {
        "model": "models/gpt-realtime", "systemInstruction": {"parts": [{"text": "i"}]},
        "tools": [{"functionDeclarations": [{"name": "weather", "parameters": {
            "type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}},
        }}]}, {"googleSearch": {}}],
        "generationConfig": {
            "responseModalities": ["AUDIO"], "maxOutputTokens": 50, "temperature": 0.5,
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        },
        "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
        "sessionResumption": {}, "inputAudioTranscription": {}, "outputAudioTranscription": {},
    }},
    {"clientContent": {"turns": [
        {"role": "user", "parts": [{"text": "hello"}, {"inlineData": _BLOB}]},
        {"role": "model", "parts": [{"functionCall": {"id": "f1", "name": "weather"}}]},
    ], "turnComplete": True}},
    {"realtimeInput": {"audio": _BLOB}},
    {"realtimeInput": {"mediaChunks": [_BLOB]}},
    {"realtimeInput": {"activityStart": {}}},
    {"realtimeInput": {"activityEnd": {}}},
    {"realtimeInput": {"text": "t"}},
    {"realtimeInput": {"audioStreamEnd": True}},
    {"toolResponse": {"functionResponses": [{"id": "f1", "name": "weather", "response": {}}]}},
]  # fmt: skip
_RESPONSE = {"id": "r1", "object": "realtime.response", "status": "in_progress", "output": []}
_SPOKEN = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
_MESSAGE = {"id": "i1", "type": "message", "role": "assistant", "status": "in_progress",
            "content": []}  # fmt: skip
_CALL = {"id": "i2", "type": "function_call", "call_id": "f1", "name": "weather", "arguments": ""}
OPENAI_PROVIDER: Final[list[Event]] = [
    {"type": "session.created", "session": {"id": "s", "type": "realtime", "model": "m"}},
    {"type": "session.updated", "session": {"id": "s", "type": "realtime", "model": "m"}},
    {"type": "input_audio_buffer.speech_started", "item_id": "i0", "audio_start_ms": 0},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "i0", "audio_end_ms": 9},
    {"type": "input_audio_buffer.committed", "item_id": "i0", "previous_item_id": None},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i0",
     "content_index": 0, "transcript": "hello",
     "usage": {"type": "tokens", "input_tokens": 3, "output_tokens": 4, "total_tokens": 7}},
    {"type": "response.created", "response": _RESPONSE},
    {"type": "response.output_item.added", "response_id": "r1", "output_index": 0,
     "item": _MESSAGE},
    {"type": "conversation.item.added", "item": _MESSAGE, "previous_item_id": "i0"},
    {"type": "response.content_part.added", **_SPOKEN, "part": {"type": "audio"}},
    {"type": "response.output_audio_transcript.delta", **_SPOKEN, "delta": "hi"},
    {"type": "response.output_audio.delta", **_SPOKEN, "delta": _AUDIO},
    {"type": "response.output_text.delta", **_SPOKEN, "delta": "t"},
    {"type": "response.output_audio.done", **_SPOKEN},
    {"type": "response.output_item.done", "response_id": "r1", "output_index": 0,
     "item": {**_MESSAGE, "status": "completed"}},
    {"type": "response.output_item.added", "response_id": "r1", "output_index": 1, "item": _CALL},
    {"type": "response.function_call_arguments.done", "response_id": "r1", "item_id": "i2",
     "output_index": 1, "call_id": "f1", "arguments": '{"city":"a"}'},
    {"type": "response.done", "response": {**_RESPONSE, "status": "completed", "output": [_CALL],
     "usage": {"total_tokens": 9, "input_tokens": 4, "output_tokens": 5}}},
    {"type": "error", "error": {"type": "server_error", "code": "x", "message": "m",
     "event_id": "e2"}},
]  # fmt: skip


def woven(client: list[Event], provider: list[Event]) -> list[bytes]:
    """Records of both sides by turns."""
    said = []
    for at in range(max(len(client), len(provider))):
        said += [b"c" + json.dumps(one).encode() for one in client[at : at + 1]]
        said += [b"p" + json.dumps(one).encode() for one in provider[at : at + 1]]
    return said


# By the kind of session (``fuzz_gateway.SESSIONS``).
TALKS: Final = (
    (0, woven(OPENAI_CLIENT, OPENAI_PROVIDER)),
    (1, woven(OPENAI_CLIENT, GEMINI_PROVIDER)),
    (2, woven(GEMINI_CLIENT, GEMINI_PROVIDER)),
    (3, woven(GEMINI_CLIENT, OPENAI_PROVIDER)),
    (4, woven(OPENAI_CLIENT, OPENAI_PROVIDER)),
    (7, woven(OPENAI_CLIENT, OPENAI_PROVIDER)),
    (8, woven(OPENAI_CLIENT, GEMINI_PROVIDER)),
)
