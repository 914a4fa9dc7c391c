"""The session in effect as Gemini's setup."""

from typing import Any

import pytest

from gateway.translate.to_gemini.configuration import default_session, updated
from gateway.translate.to_gemini.session_fields import Reading
from gateway.translate.to_gemini.setup import setup_of, with_handle
from gateway.translate.voices import BUILT_IN
from tests.support.translation_to_gemini import validate

MODEL = "gemini-2.5-flash-native-audio"


def setup(model: str = MODEL, /, **given: Any) -> dict[str, Any]:
    """The setup of the default session with this in it."""
    session = default_session(session_id="sess_1", model=model)
    session = updated(session, {"type": "realtime", **given}, Reading(model))
    made = setup_of(session, model=model, voices=BUILT_IN)
    validate({"setup": made})
    return made


def detection(given: dict[str, Any] | None) -> dict[str, Any]:
    """What a turn detection becomes."""
    found: dict[str, Any] = setup(audio={"input": {"turn_detection": given}})["realtimeInputConfig"]
    return found


def test_the_default_session() -> None:
    """Speech is detected and answered with speech, whose words are written along."""
    assert setup() == {
        "model": f"models/{MODEL}",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Zephyr"}}},
        },
        "realtimeInputConfig": {
            "automaticActivityDetection": {"prefixPaddingMs": 300, "silenceDurationMs": 500}
        },
        "sessionResumption": {},
        "outputAudioTranscription": {},
        "contextWindowCompression": {"slidingWindow": {}},
    }


def test_everything_that_can_be_configured() -> None:
    """Each field has its place."""
    made = setup(
        "gemini-2.0-flash-live-001",
        instructions="Be kind.",
        output_modalities=["text"],
        max_output_tokens=50,
        truncation="disabled",
        tools=[{"type": "function", "name": "f", "description": "Looks.", "parameters": None}],
        audio={"input": {"transcription": {}, "turn_detection": None}},
    )

    assert made == {
        "model": "models/gemini-2.0-flash-live-001",
        "generationConfig": {"responseModalities": ["TEXT"], "maxOutputTokens": 50},
        "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
        "sessionResumption": {},
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "tools": [{"functionDeclarations": [{"name": "f", "description": "Looks."}]}],
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
    }


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash-native-audio", "AUDIO"),
        ("gemini-3.8-live", "AUDIO"),
        ("gemini-10-live", "AUDIO"),
        ("gemini-live-2.5-flash-preview", "TEXT"),
    ],
)
def test_models_that_only_speak(model: str, expected: str) -> None:
    """They refuse to write, so they speak, and the client gets the words."""
    made = setup(model, output_modalities=["text"])
    assert made["generationConfig"]["responseModalities"] == [expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"threshold": 0.9}, {"startOfSpeechSensitivity": "START_SENSITIVITY_LOW"}),
        ({"threshold": 0.1}, {"startOfSpeechSensitivity": "START_SENSITIVITY_HIGH"}),
        ({"silence_duration_ms": 900}, {"silenceDurationMs": 900}),
        ({"prefix_padding_ms": 0}, {"prefixPaddingMs": 0}),
    ],
)
def test_detection_by_loudness(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """What is not said keeps OpenAI's defaults."""
    defaults = {"prefixPaddingMs": 300, "silenceDurationMs": 500}
    assert detection(given) == {"automaticActivityDetection": {**defaults, **expected}}


@pytest.mark.parametrize(
    ("eagerness", "expected"),
    [
        ("low", {"endOfSpeechSensitivity": "END_SENSITIVITY_LOW"}),
        ("high", {"endOfSpeechSensitivity": "END_SENSITIVITY_HIGH"}),
        ("medium", {}),
        ("auto", {}),
    ],
)
def test_detection_by_meaning(eagerness: str, expected: dict[str, Any]) -> None:
    """The eagerness to answer is the sensitivity for the end of speech."""
    found = detection({"type": "semantic_vad", "eagerness": eagerness})
    assert found == {"automaticActivityDetection": expected}


def test_speech_that_does_not_interrupt() -> None:
    """The model goes on while the user speaks."""
    found = detection({"type": "semantic_vad", "interrupt_response": False})
    assert found == {"automaticActivityDetection": {}, "activityHandling": "NO_INTERRUPTION"}


def test_no_tool_is_declared_where_none_may_be_called() -> None:
    """Gemini has no tool_choice; "none" is a session without tools."""
    assert "tools" not in setup(tools=[{"type": "function", "name": "f"}], tool_choice="none")


def test_the_newest_models_wait_for_their_functions() -> None:
    """They would go on talking by default, which no client of OpenAI expects."""
    made = setup("gemini-3.8-live", tools=[{"type": "function", "name": "f"}])
    assert made["tools"] == [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}]


def test_a_session_is_resumed_by_its_handle() -> None:
    """Without one a new session is begun, which offers handles, too."""
    assert with_handle(setup(), "h1")["sessionResumption"] == {"handle": "h1"}
    assert with_handle(setup(), None)["sessionResumption"] == {}
