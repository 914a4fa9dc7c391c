"""What a Gemini client sets up, as a session of OpenAI's."""

from typing import Any

import pytest

from gateway.translate.to_openai.client_fields import ClientFaultError, Fields
from gateway.translate.to_openai.settings import (
    Settings,
    adopted,
    for_provider,
    has_transcripts,
    read_setup,
    settings_of,
    silence_ms_of,
)
from gateway.translate.voices import BUILT_IN, VoiceTable

Session = dict[str, Any]

FORMAT = {"type": "audio/pcm", "rate": 24000}
VAD = {"type": "server_vad", "create_response": True, "interrupt_response": True}


def read(setup: Session, provider: str = "openai") -> tuple[Session, Settings, list[str]]:
    """The session, the settings and what is ignored."""
    fields = Fields.of({"model": "models/m", **setup}, "setup")
    session, settings = read_setup(fields, BUILT_IN, provider)
    return session, settings, fields.unread()


def detecting(**detection: Any) -> Session:
    """A setup with this detection of activities."""
    return {"realtimeInputConfig": {"automaticActivityDetection": detection}}


def test_a_setup_that_says_nothing() -> None:
    """Speech in both directions at 24 kHz, and the provider detects the turns."""
    session, settings, ignored = read({})
    assert session == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": {"format": FORMAT, "turn_detection": VAD}, "output": {"format": FORMAT}},
    }
    assert settings == Settings(interrupts=True, tells_speech=False, begins_with_history=False)
    assert not ignored


@pytest.mark.parametrize(
    ("setup", "path", "expected"),
    [
        ({"systemInstruction": "Be kind."}, "instructions", "Be kind."),
        (
            {"systemInstruction": {"parts": [{"text": "Be"}, {"text": "kind."}], "role": "user"}},
            "instructions", "Be\nkind.",
        ),
        ({"generationConfig": {"responseModalities": ["TEXT"]}}, "output_modalities", ["text"]),
        ({"generationConfig": {"responseModalities": "AUDIO"}}, "output_modalities", ["audio"]),
        (
            {"generationConfig": {"responseModalities": ["TEXT", "AUDIO"]}},
            "output_modalities", ["audio"],
        ),
        ({"generationConfig": {"maxOutputTokens": 100}}, "max_output_tokens", 100),
        ({"generationConfig": {"maxOutputTokens": 8192}}, "max_output_tokens", "inf"),
        (detecting(disabled=True), "audio.input.turn_detection", None),
        (
            detecting(prefixPaddingMs=20, silenceDurationMs="400"),
            "audio.input.turn_detection",
            {**VAD, "prefix_padding_ms": 20, "silence_duration_ms": 400},
        ),
        (
            detecting(
                startOfSpeechSensitivity="START_SENSITIVITY_LOW",
                endOfSpeechSensitivity="END_SENSITIVITY_HIGH",
            ),
            "audio.input.turn_detection", {**VAD, "threshold": 0.7, "silence_duration_ms": 300},
        ),
        (
            {"realtimeInputConfig": {"activityHandling": "NO_INTERRUPTION"}},
            "audio.input.turn_detection", {**VAD, "interrupt_response": False},
        ),
        ({"inputAudioTranscription": {}}, "audio.input.transcription", {}),
        (
            {"inputAudioTranscription": {"languageCodes": ["de-DE"]}},
            "audio.input.transcription", {"language": "de"},
        ),
        (
            {"contextWindowCompression": {"slidingWindow": {}}},
            "truncation", {"type": "retention_ratio", "retention_ratio": 0.8},
        ),
        (
            {"contextWindowCompression":
             {"triggerTokens": "16000", "slidingWindow": {"targetTokens": 8000}}},
            "truncation",
            {"type": "retention_ratio", "retention_ratio": 0.5,
             "token_limits": {"post_instructions": 16000}},
        ),
        (
            {"contextWindowCompression": {"triggerTokens": 104857}},
            "truncation", {"type": "retention_ratio", "retention_ratio": 0.8},
        ),
    ],
)  # fmt: skip
def test_what_a_field_of_the_setup_becomes(setup: Session, path: str, expected: object) -> None:
    """Each has its place in the session, and none is ignored."""
    session, _, ignored = read(setup)
    found: Any = session
    for name in path.split("."):
        found = found[name]
    assert found == expected
    assert not ignored


def test_a_function_is_declared() -> None:
    """Types become those of JSON Schema; names of properties stay."""
    schema = {"type": "OBJECT", "properties": {"my_type": {"type": "STRING"}}}
    declared = {"name": "f", "description": "d", "parameters": schema, "behavior": "NON_BLOCKING"}
    session, _, ignored = read(
        {"tools": [{"functionDeclarations": [declared]}, {"googleSearch": {}}]}
    )
    assert session["tools"] == [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": {"type": "object", "properties": {"my_type": {"type": "string"}}},
        }
    ]
    assert ignored == ["setup.tools.functionDeclarations.behavior", "setup.tools.googleSearch"]


def test_what_openai_has_no_word_for_is_named() -> None:
    """Each by its path, and nothing of it reaches the session."""
    setup = {
        "generationConfig": {
            "topK": 1,
            "temperature": 0.5,
            "thinkingConfig": {"thinkingBudget": 0},
        },
        "sessionResumption": {},
        "proactivity": {"proactiveAudio": True},
        "realtimeInputConfig": {"turnCoverage": "TURN_INCLUDES_ALL_INPUT"},
        "labels": {"a": "b"},
    }
    session, _, ignored = read(setup)
    assert sorted(ignored) == [
        "setup.generationConfig.temperature",
        "setup.generationConfig.thinkingConfig",
        "setup.generationConfig.topK",
        "setup.labels",
        "setup.proactivity",
        "setup.realtimeInputConfig.turnCoverage",
        "setup.sessionResumption",
    ]
    assert session == read({})[0]


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ({"model": 1}, "setup.model: found 1"),
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "responseModalities: expected"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "maxOutputTokens: found 0"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": []}]}]},
            "functionDeclarations[0].parameters: found a list",
        ),
        ({"systemInstruction": [1]}, "systemInstruction: found a list"),
        (detecting(silenceDurationMs=-1), "silenceDurationMs: found -1"),
    ],
)
def test_a_setup_that_cannot_be(setup: Session, reason: str) -> None:
    """The field is named."""
    with pytest.raises(ClientFaultError) as fault:
        read(setup)
    assert reason in str(fault.value)


@pytest.mark.parametrize(
    ("provider", "voice"), [("openai", "sage"), ("azure", "sage"), ("xai", "ara")]
)
def test_a_voice_of_gemini_is_one_of_the_provider(provider: str, voice: str) -> None:
    """It stands where the provider reads it."""
    config = {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}
    session, _, ignored = read({"generationConfig": config}, provider)
    sent = for_provider(session, provider)
    assert sent["audio"]["output"]["voice"] == voice
    assert sent.get("voice") == (voice if provider == "xai" else None)
    assert not ignored


def test_a_configured_voice_comes_first() -> None:
    """The operator's table may name a voice that nobody knows."""
    config = {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}
    fields = Fields.of({"generationConfig": config}, "setup")
    voices = VoiceTable({"openai": {"Kore": "custom"}})
    session, _ = read_setup(fields, voices, "openai")
    assert session["audio"]["output"]["voice"] == "custom"
    assert for_provider(session, "openai")["audio"]["output"]["voice"] == "custom"
    assert "voice" not in adopted(session, "xai", BUILT_IN)["audio"]["output"]


@pytest.mark.parametrize(
    ("provider", "transcription"),
    [
        ("openai", {"model": "gpt-realtime-whisper", "language": "de"}),
        ("azure", {"model": "whisper-1", "language": "de"}),
        ("xai", {"language": "de"}),
        ("other", {"model": "gpt-realtime-whisper", "language": "de"}),
    ],
)
def test_the_transcriber_is_the_providers(provider: str, transcription: Session) -> None:
    """Also where the session was made for another provider."""
    session = read({"inputAudioTranscription": {"languageCodes": ["de"]}})[0]
    for _ in range(2):
        session = for_provider(session, provider)
    assert session["audio"]["input"]["transcription"] == transcription


def test_xai_reads_the_detection_at_the_top_and_truncates_nothing() -> None:
    """The session that is kept stays one of OpenAI's."""
    session = read({**detecting(disabled=True), "contextWindowCompression": {}})[0]
    sent = for_provider(session, "xai")
    assert sent["turn_detection"] is None
    assert "truncation" not in sent
    assert "truncation" in session
    assert "turn_detection" not in session


@pytest.mark.parametrize(
    ("detection", "interrupts", "silence_ms"),
    [
        ({}, True, 500),
        ({"interrupt_response": False, "silence_duration_ms": 200}, False, 200),
        (None, True, 500),
    ],
)
def test_the_settings_of_a_client_that_was_set_up_elsewhere(
    detection: Session | None, interrupts: bool, silence_ms: int
) -> None:
    """They follow from the session."""
    session: Session = {"audio": {"input": {"turn_detection": detection}}}
    assert settings_of(session) == Settings(interrupts=interrupts)
    assert silence_ms_of(session) == silence_ms
    assert not has_transcripts(session)
    assert not has_transcripts({})
