"""A client's first message: which models it names, and which session it resumes."""

import json
from typing import Any

import pytest

from gateway.metering.gemini.client import RESOURCE_PATH
from gateway.providers.first_message import PLAIN_NAME, TRANSCRIPTION, FirstMessageFormat
from gateway.providers.gemini import Gemini
from gateway.providers.openai import OpenAI

SETUP = FirstMessageFormat("setup", RESOURCE_PATH)
START = FirstMessageFormat("session", PLAIN_NAME)
GPT_LIVE = OpenAI.first_message


def setup(model: object) -> bytes:
    """A setup that names ``model``."""
    return json.dumps({"setup": {"model": model, "generation_config": {"top_p": 0.9}}}).encode()


NAMED: list[tuple[FirstMessageFormat, bytes, str | None]] = [
    (SETUP, setup("models/good"), "good"),
    (SETUP, setup("good"), "good"),
    (SETUP, setup("publishers/google/models/good"), "good"),
    (SETUP, setup("projects/p/locations/l/publishers/google/models/good"), "good"),
    (SETUP, b'\xef\xbb\xbf {"s\\u0065tup": {"mod\\u0065l": "models/good"}}', "good"),
    (START, b'{"type":"session.start","session":{"model":"good"}}', "good"),
    # Nothing that names a model.
    (SETUP, b'{"setup":{}}', None),
    (SETUP, b'{"setup":[]}', None),
    (SETUP, b'{"realtimeInput":{"text":"\\"setup\\""}}', None),
    (SETUP, b"junk", None),
    (SETUP, b'["setup"]', None),
    (START, b'{"type":"session.input_audio.append"}', None),
    (START, b'{"type":"session.update","session":{"instructions":"session"}}', None),
    (START, b'{"type":"session.update","s\\u0065ssion":{"model":"good"}}', "good"),
    # Audio is not parsed, neither in JSON nor raw.
    (START, b'{"type":"session.input_audio.append","audio":"{{{', None),
    (START, b'{"\\u0073\xff\xfe', None),
    (START, b"\\\x00{", None),
    # Several readers may find several models.
    (SETUP, b'{"setup":{"model":"a"},"setup":{"model":"b"}}', ""),
    (SETUP, b'{"setup":{"model":"a","model":"b"}}', ""),
    (SETUP, b'{"setup":{"model":"a","mod\\u0065l":"b"}}', ""),
    (SETUP, b'{"setup":{"model":"a"},"s\\u0065tup":{}}', ""),
    (SETUP, b'{"setup":{"model":"a"}', ""),
    (SETUP, b"{'setup':{'model':'a'}}", ""),
    (SETUP, b"{setup:{model:'a'}}", ""),
    (SETUP, b'\xff{"setup":{"model":"a"}}', ""),
    (SETUP, b'{"setup":' * 100_000, ""),
    (SETUP, setup("models/forbidden/models/good"), ""),
    (SETUP, setup("x/models/good"), ""),
    (SETUP, setup("models/good/"), ""),
    (SETUP, setup("/good"), ""),
    (SETUP, setup("tunedModels/good"), ""),
    (SETUP, setup("models/"), ""),
    (SETUP, setup(""), ""),
    (SETUP, setup("good\n"), ""),
    (SETUP, setup("g" * 257), ""),
    (SETUP, setup(["good"]), ""),
    (SETUP, setup(None), ""),
    (START, b'{"session":{"model":"models/good"}}', ""),
]


@pytest.mark.parametrize(("first_message", "message", "model"), NAMED)
def test_names_one_model_or_none(
    first_message: FirstMessageFormat, message: bytes, model: str | None
) -> None:
    """None: it asks for none. Empty: two readers might understand it differently."""
    assert first_message.read(message).model == model


DELEGATED: list[tuple[Any, list[str]]] = [
    ({"type": "responses", "responses": {"model": "thinker"}}, ["thinker"]),
    ({"type": "decisions", "decisions": {"model": "judge"}}, ["judge"]),
    ({"decisions": {"model": "judge"}, "responses": {"model": "thinker"}}, ["thinker", "judge"]),
    ({"type": "responses", "responses": {"model": None}}, [""]),
    ({"type": "responses", "responses": {"instructions": "Be brief."}}, []),
    ({"type": "responses", "responses": "thinker"}, []),
    ({"type": "client"}, []),
    (None, []),
]


@pytest.mark.parametrize(("delegation", "models"), DELEGATED)
def test_names_the_models_that_work_for_the_session(delegation: Any, models: list[str]) -> None:
    """Wherever a session says whom it delegates to; empty: a name that nothing can have."""
    message = json.dumps({"type": "session.update", "session": {"delegation": delegation}})
    asked = GPT_LIVE.read(message.encode())
    assert asked.model is None
    assert list(asked.delegates) == models


TRANSCRIBERS: list[tuple[Any, list[str]]] = [
    ({"type": "transcription", "audio": {"input": {"transcription": {"model": "a"}}}}, ["a"]),
    ({"input_audio_transcription": {"model": "a"}}, ["a"]),
    ({"type": "transcription", "audio": {"input": {"transcription": None}}}, []),
    ({"type": "transcription"}, []),
]


@pytest.mark.parametrize(("session", "models"), TRANSCRIBERS)
def test_names_the_transcriber_of_a_session_without_a_model(
    session: Any, models: list[str]
) -> None:
    """In GA's words and in the beta's."""
    message = json.dumps({"type": "session.update", "session": session}).encode()
    assert list(TRANSCRIPTION.read(message).delegates) == models


RENAMED = [
    ("models/good", "models/better"),
    ("good", "better"),
    ("publishers/google/models/good", "publishers/google/models/better"),
]


@pytest.mark.parametrize(("model", "expected"), RENAMED)
def test_renaming_changes_the_name_alone(model: str, expected: str) -> None:
    """The path before it and every other field stay as they were."""
    message = SETUP.renamed(setup(model), "better")
    assert json.loads(message) == json.loads(setup(expected))


def resuming(handle: object, name: str = "sessionResumption") -> bytes:
    """A setup that resumes a session."""
    return json.dumps({"setup": {"model": "models/good", name: {"handle": handle}}}).encode()


HANDLES: list[tuple[bytes, str | None]] = [
    (resuming("h1"), "h1"),
    (resuming("h1", "session_resumption"), "h1"),
    (b'{"s\\u0065tup":{"session\\u0052esumption":{"h\\u0061ndle":"h1"}}}', "h1"),
    # A setup that only says that it can be resumed.
    (b'{"setup":{"model":"good","sessionResumption":{}}}', None),
    (resuming(""), None),
    (resuming(None), None),
    (setup("models/good"), None),
    (b'{"realtimeInput":{"audio":{"data":"UklG"}}}', None),
    (b'{"realtimeInput":{"text":"sessionResumption: setup"}}', None),
    (b'{"setup":{"model":"a","model":"b"}}', None),
    # Several readers may find several handles.
    (b'{"setup":{"sessionResumption":{"handle":"a"},"session_resumption":{"handle":"b"}}}', ""),
    (b'{"setup":{"sessionResumption":{"handle":"a","handle":"b"}}}', ""),
    (b'{"setup":{"sessionResumption":{"handle":"a"},"sessionResumption":{}}}', ""),
    (b'{"setup":{"sessionResumption":{"handle":"a"}}', ""),
    (b'{"setup":{"session\\u0052esumption":{"handle":"a"}}', ""),
    (b'\xff{"setup":{"sessionResumption":{"handle":"a"}}}', ""),
    (resuming(7), ""),
    (resuming(["h1"]), ""),
]


@pytest.mark.parametrize(("message", "handle"), HANDLES)
def test_names_one_session_to_resume_or_none(message: bytes, handle: str | None) -> None:
    """None: it resumes none. Empty: two readers might understand it differently."""
    assert Gemini.first_message.read(message).handle == handle
