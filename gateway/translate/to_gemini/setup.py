"""The session in effect as Gemini's ``setup``, and as ``contextUpdate``. Pure.

Source: ``LiveClientSetup`` and ``LiveClientContextUpdate`` of the google-genai SDK;
ai.google.dev/gemini-api/docs/live-api.
"""

import re
from typing import Any, Final

from gateway.translate.schemas import to_gemini_tools
from gateway.translate.to_gemini.configuration import is_spoken, is_transcribed, turn_detection
from gateway.translate.to_gemini.reading import Json
from gateway.translate.voices import VoiceTable, voice_for

# Their functions run beside the conversation unless it is said otherwise, and the model goes on
# talking (docs/models/gemini-3.8-live). A client of OpenAI expects that it waits. Only they take a
# contextUpdate.
_NEWEST: Final = "gemini-3.8"
# They refuse to write. A client that wants text gets the words of what they say.
_SPEAKS_ONLY: Final = re.compile(r"native-audio|^gemini-(?:[3-9]|\d\d)")
# OpenAI's default threshold; Gemini has only "high" (its own default) and "low".
_THRESHOLD: Final = 0.5
_END_SENSITIVITY: Final = {"low": "END_SENSITIVITY_LOW", "high": "END_SENSITIVITY_HIGH"}
_CONTEXT: Final = frozenset({"systemInstruction", "tools"})


def setup_of(session: Json, *, model: str, voices: VoiceTable) -> Json:
    """The ``setup`` for ``session``, without a handle to resume."""
    setup: Json = {
        "model": f"models/{model}",
        "generationConfig": _generation(session, model, voices),
        "realtimeInputConfig": _input(session),
        "sessionResumption": {},
        "outputAudioTranscription": {},
    }
    if session["instructions"]:
        setup["systemInstruction"] = {"parts": [{"text": session["instructions"]}]}
    if declared := _tools(session, model):
        setup["tools"] = declared
    if is_transcribed(session):
        setup["inputAudioTranscription"] = {}
    if session["truncation"] != "disabled":
        setup["contextWindowCompression"] = {"slidingWindow": {}}
    return setup


def with_handle(setup: Json, handle: str | None) -> Json:
    """``setup`` that resumes the session of ``handle``."""
    return {**setup, "sessionResumption": {"handle": handle}} if handle else setup


def context_update(before: Json, after: Json) -> Json | None:
    """What makes of the setup ``before`` the setup ``after`` without another connection; None where
    that takes one.
    """
    names = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    if not _CONTEXT.issuperset(names) or not after["model"].startswith(f"models/{_NEWEST}"):
        return None
    update: Json = {}
    if "systemInstruction" in names:
        empty = {"parts": [{"text": ""}]}
        update["systemInstruction"] = after.get("systemInstruction", empty)
    if "tools" in names:
        # An object around the list, so that an empty one says that there are none any more.
        update["tools"] = {"tools": after.get("tools", [])}
    return {"contextUpdate": update}


def has_unknown_voice(session: Json, voices: VoiceTable) -> bool:
    """Whether the provider's default voice speaks instead of the one that the client named."""
    return voice_for(session["audio"]["output"]["voice"], "gemini", voices) is None


def _generation(session: Json, model: str, voices: VoiceTable) -> Json:
    speaks = is_spoken(session) or _SPEAKS_ONLY.search(model) is not None
    config: Json = {"responseModalities": ["AUDIO" if speaks else "TEXT"]}
    voice = voice_for(session["audio"]["output"]["voice"], "gemini", voices)
    if voice is not None and speaks:
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
    if session["max_output_tokens"] != "inf":
        config["maxOutputTokens"] = session["max_output_tokens"]
    return config


def _tools(session: Json, model: str) -> list[Any]:
    if session["tool_choice"] == "none":
        return []
    declared, _ = to_gemini_tools(session["tools"])
    if not model.startswith(_NEWEST):
        return declared
    return [
        {"functionDeclarations": [{**found, "behavior": "BLOCKING"} for found in declarations]}
        for declarations in (tool["functionDeclarations"] for tool in declared)
    ]


def _input(session: Json) -> Json:
    found = turn_detection(session)
    if found is None:
        return {"automaticActivityDetection": {"disabled": True}}
    detection: Json = {}
    threshold = found.get("threshold", _THRESHOLD)
    if threshold != _THRESHOLD:
        level = "LOW" if threshold > _THRESHOLD else "HIGH"
        detection["startOfSpeechSensitivity"] = f"START_SENSITIVITY_{level}"
    if found.get("eagerness") in _END_SENSITIVITY:
        detection["endOfSpeechSensitivity"] = _END_SENSITIVITY[found["eagerness"]]
    for name, theirs in (
        ("prefix_padding_ms", "prefixPaddingMs"), ("silence_duration_ms", "silenceDurationMs"),
    ):  # fmt: skip
        if name in found:
            detection[theirs] = found[name]
    config: Json = {"automaticActivityDetection": detection}
    if not found["interrupt_response"]:
        config["activityHandling"] = "NO_INTERRUPTION"
    return config
