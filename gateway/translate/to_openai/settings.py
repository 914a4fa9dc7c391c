"""What a Gemini client sets up, as a session of OpenAI's. Pure.

``setup`` and ``contextUpdate`` become a session object of GA. What OpenAI has no word for is not
read, so ``Fields.unread`` names it: ``temperature``, ``topP``, ``thinkingConfig``,
``sessionResumption``, search tools, and so on.

Sources: ``LiveClientSetup`` and ``RealtimeInputConfig`` of google-genai,
``RealtimeSessionCreateRequest`` of openai.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.translate.audio import PCM_24K, openai_format_object
from gateway.translate.schemas import to_openai_tools
from gateway.translate.to_openai.client_fields import ClientFaultError, Fields, wrong
from gateway.translate.voices import VoiceTable, voice_for
from shared.provider_kinds import kind_of

Session = dict[str, Any]

# Who transcribes what the user says. Of OpenAI's those that are priced by tokens are switched off
# in February 2027; Azure has this one in every region. xAI transcribes with a model of its own.
TRANSCRIBERS: Final[Mapping[str, Mapping[str, str]]] = {
    "openai": {"model": "gpt-realtime-whisper"},
    "azure": {"model": "whisper-1"},
    "xai": {},
}
# OpenAI's bound of max_output_tokens; more is "inf", which is as much as the model can.
OUTPUT_TOKENS_MAX: Final = 4_096
# The tokens after the instructions that the smallest context (32,768, of which 4,096 are output)
# has room for. A higher bound would be refused by the provider, and means "when it is full" anyway.
TRUNCATION_TOKENS_MAX: Final = 24_000
RETENTION_RATIO: Final = 0.8  # OpenAI's example, where the client does not say how much to keep
MS_MAX: Final = 60_000
INT_MAX: Final = 2**63 - 1
SILENCE_MS: Final = 500  # OpenAI's default
# Gemini's words for how readily speech is heard, and taken for ended.
_THRESHOLDS: Final[Mapping[str, float]] = {
    "START_SENSITIVITY_HIGH": 0.4,
    "START_SENSITIVITY_LOW": 0.7,
}
_SILENCES_MS: Final[Mapping[str, int]] = {
    "END_SENSITIVITY_HIGH": 300,
    "END_SENSITIVITY_LOW": 800,
}
# They know no history that is not answered, wherever the version stands in the name; pipecat, which
# asks for one, waits for their answer to it (``_create_initial_response`` of its service).
_ANSWERS_HISTORY: Final = re.compile(r"gemini(?:-[a-z]+)*-2\b")
_CONTEXT: Final = ("systemInstruction", "tools")


class Settings(Struct, frozen=True):
    """What is in effect beside the session. The defaults are those of a client that was set up
    elsewhere, of which only the session is known.

    ``interrupts``: the user's speech ends the answer. ``tells_speech``: the client wants to read
    what the model says. ``begins_with_history``: the first content is history, not a question.
    """

    interrupts: bool = True
    tells_speech: bool = True
    begins_with_history: bool = False


def read_setup(setup: Fields, voices: VoiceTable, provider: str) -> tuple[Session, Settings]:
    """The session and the settings that ``setup`` asks for. Raises ``ClientFaultError``."""
    setup.text("model")  # by which the provider was chosen
    config = setup.inner("generationConfig")
    realtime = setup.inner("realtimeInputConfig")
    interrupts = realtime.text("activityHandling") != "NO_INTERRUPTION"
    hearing: dict[str, Any] = {
        "format": openai_format_object(PCM_24K),
        "turn_detection": _turn_detection(realtime, interrupts=interrupts),
    }
    if setup.has("inputAudioTranscription"):
        hearing["transcription"] = _transcription(setup.inner("inputAudioTranscription"))
    speaking: dict[str, Any] = {"format": openai_format_object(PCM_24K)}
    voice = _voice(config, voices, provider)
    if voice is not None:
        speaking["voice"] = voice
    session: Session = {
        "type": "realtime",
        "output_modalities": [_modality(config)],
        "audio": {"input": hearing, "output": speaking},
        **read_context(setup),
    }
    tokens_max = config.integer("maxOutputTokens", 1, INT_MAX)
    if tokens_max is not None:
        session["max_output_tokens"] = tokens_max if tokens_max <= OUTPUT_TOKENS_MAX else "inf"
    if setup.has("contextWindowCompression"):
        session["truncation"] = _truncation(setup.inner("contextWindowCompression"))
    history = setup.inner("historyConfig")
    model = setup.text("model") or ""
    return session, Settings(
        interrupts=interrupts,
        tells_speech=setup.has("outputAudioTranscription"),
        begins_with_history=history.flag("initialHistoryInClientContent")
        and _ANSWERS_HISTORY.search(model) is None,
    )


def read_context(fields: Fields) -> Session:
    """``instructions`` and ``tools``: what also may change later. Raises ``ClientFaultError``."""
    session: Session = {}
    if fields.has("systemInstruction"):
        session["instructions"] = _instructions(fields)
    if fields.has("tools"):
        # A contextUpdate has an object around the list, so that it can say that there are none.
        inner = fields.inner("tools") if isinstance(fields.value("tools"), dict) else fields
        holder = inner if inner.has("tools") else fields
        _check_tools(holder)
        session["tools"] = to_openai_tools(_listed(holder.value("tools")))[0]
    return session


def updated_setup(setup: dict[str, Any], update: Fields) -> dict[str, Any]:
    """``setup`` with what a ``contextUpdate`` changes of it, so that another provider can be told
    it.
    """
    changed = {name: x for name in _CONTEXT if (x := update.value(name)) is not None}
    tools = changed.get("tools")
    if isinstance(tools, dict) and "tools" in tools:
        changed["tools"] = tools["tools"]
    return {**setup, **changed}


def without_handle(setup: dict[str, Any]) -> dict[str, Any]:
    """``setup`` without the handle, which nobody has looked at: it may be another account's."""
    resumption = setup.get("sessionResumption")
    if not isinstance(resumption, dict):
        return setup
    return {**setup, "sessionResumption": {k: v for k, v in resumption.items() if k != "handle"}}


def settings_of(session: Session) -> Settings:
    """The settings of a client that was set up elsewhere."""
    detection = turn_detection_of(session)
    return Settings(
        interrupts=detection is None or detection.get("interrupt_response") is not False
    )


def turn_detection_of(session: Session) -> dict[str, Any] | None:
    """How the provider detects the user's turns; None where the client says when they begin."""
    found = _input_of(session).get("turn_detection", {})
    return found if isinstance(found, dict) else None


def has_transcripts(session: Session) -> bool:
    """Whether what the user says is transcribed."""
    return isinstance(_input_of(session).get("transcription"), dict)


def silence_ms_of(session: Session) -> int:
    """The silence by which the provider takes the user's turn for ended."""
    found = (turn_detection_of(session) or {}).get("silence_duration_ms")
    return found if isinstance(found, int) else SILENCE_MS


def adopted(session: Session, provider: str, voices: VoiceTable) -> Session:
    """The session of another provider, with a voice of ``provider``."""
    audio = session.get("audio", {})
    speaking = dict(audio.get("output", {}))
    voice = voice_for(speaking.pop("voice", None), _speaker(provider), voices)
    if voice is not None:
        speaking["voice"] = voice
    return {**session, "audio": {**audio, "output": speaking}}


def for_provider(session: Session, provider: str) -> Session:
    """``session`` as ``provider`` takes it.

    The transcriber is the provider's. xAI reads the voice and the turn detection at the top level
    (docs.x.ai, Speech to Speech; livekit-plugins-xai), and knows no truncation.
    """
    audio = session.get("audio", {})
    hearing = dict(audio.get("input", {}))
    if isinstance(hearing.get("transcription"), dict):
        wanted = {k: v for k, v in hearing["transcription"].items() if k != "model"}
        own = TRANSCRIBERS.get(kind_of(provider), TRANSCRIBERS["openai"])
        hearing["transcription"] = {**own, **wanted}
    made = {**session, "audio": {**audio, "input": hearing}}
    if kind_of(provider) == "xai":
        made.pop("truncation", None)
        made["turn_detection"] = hearing.get("turn_detection")
        voice = audio.get("output", {}).get("voice")
        if voice is not None:
            made["voice"] = voice
    return made


# --- helpers --------------------------------------------------------------------------------------


def _speaker(provider: str) -> str:
    """Whose voices are heard; what is not known speaks as OpenAI does."""
    return provider if kind_of(provider) in TRANSCRIBERS else "openai"


def _input_of(session: Session) -> dict[str, Any]:
    found = session.get("audio", {}).get("input")
    return found if isinstance(found, dict) else {}


def _turn_detection(realtime: Fields, *, interrupts: bool) -> dict[str, Any] | None:
    detection = realtime.inner("automaticActivityDetection")
    if detection.flag("disabled"):
        return None
    made: dict[str, Any] = {
        "type": "server_vad",
        "create_response": True,
        "interrupt_response": interrupts,
    }
    threshold = _THRESHOLDS.get(detection.text("startOfSpeechSensitivity") or "")
    if threshold is not None:
        made["threshold"] = threshold
    padding_ms = detection.integer("prefixPaddingMs", 0, MS_MAX)
    if padding_ms is not None:
        made["prefix_padding_ms"] = padding_ms
    silence_ms = detection.integer("silenceDurationMs", 0, MS_MAX)
    if silence_ms is None:  # a duration says it more exactly than a word
        silence_ms = _SILENCES_MS.get(detection.text("endOfSpeechSensitivity") or "")
    if silence_ms is not None:
        made["silence_duration_ms"] = silence_ms
    return made


def _transcription(wanted: Fields) -> dict[str, Any]:
    """A single language is a hint in both protocols: ``de-DE`` there, ``de`` here."""
    codes = wanted.value("languageCodes")
    if isinstance(codes, list) and len(codes) == 1 and isinstance(codes[0], str):
        return {"language": codes[0].split("-")[0].lower()}
    return {}


def _voice(config: Fields, voices: VoiceTable, provider: str) -> str | None:
    voice = config.inner("speechConfig").inner("voiceConfig").inner("prebuiltVoiceConfig")
    return voice_for(voice.text("voiceName"), _speaker(provider), voices)


def _modality(config: Fields) -> str:
    """One of ``audio`` and ``text``: OpenAI makes either, and audio with its transcript."""
    wanted = config.value("responseModalities")
    if wanted is None:
        return "audio"
    names = [str(name).lower() for name in _listed(wanted)]
    for name in ("audio", "text"):
        if name in names:
            return name
    raise ClientFaultError(f"{config.at('responseModalities')}: expected AUDIO or TEXT.")


def _truncation(compression: Fields) -> Session:
    trigger = compression.integer("triggerTokens", 0, INT_MAX)
    target = compression.inner("slidingWindow").integer("targetTokens", 0, INT_MAX)
    ratio = target / trigger if trigger and target and target <= trigger else RETENTION_RATIO
    made: Session = {"type": "retention_ratio", "retention_ratio": round(ratio, 3)}
    if trigger and trigger <= TRUNCATION_TOKENS_MAX:
        made["token_limits"] = {"post_instructions": trigger}
    return made


def _instructions(fields: Fields) -> str:
    value = fields.value("systemInstruction")
    if isinstance(value, str):
        return value
    content = fields.inner("systemInstruction")
    content.text("role")
    texts = [part.text("text") for part in content.objects("parts")]
    return "\n".join(text for text in texts if text)


def _check_tools(fields: Fields) -> None:
    """Read what becomes of the tools, so that the rest is named as ignored."""
    for tool in fields.objects("tools"):
        for declared in tool.objects("functionDeclarations"):
            if not declared.text("name"):
                raise wrong(declared.at("name"), declared.value("name"), "the function's name")
            declared.text("description")
            for name in ("parameters", "parametersJsonSchema"):
                if declared.value(name) is not None:
                    Fields.of(declared.value(name), declared.at(name))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
