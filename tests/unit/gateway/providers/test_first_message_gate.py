"""The gate that a client's first message must pass: what goes on, and what never does."""

import json
from typing import Any

import pytest

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.gemini.client import RESOURCE_PATH
from gateway.metering.parsing import unmasked
from gateway.providers.first_message import PLAIN_NAME, TRANSCRIPTION, FirstMessageFormat
from gateway.providers.first_message_gate import TRANSITIONS, Gate, GateState
from gateway.providers.gemini import Gemini
from gateway.providers.openai import OpenAI
from tests.support.golden import Step, framed

SETUP = FirstMessageFormat("setup", RESOURCE_PATH)
START = FirstMessageFormat("session", PLAIN_NAME)
GPT_LIVE = OpenAI.first_message


def setup(model: object) -> bytes:
    """A setup that names ``model``."""
    return json.dumps({"setup": {"model": model, "generation_config": {"top_p": 0.9}}}).encode()


def resuming(handle: object, name: str = "sessionResumption") -> bytes:
    """A setup that resumes a session."""
    return json.dumps({"setup": {"model": "models/good", name: {"handle": handle}}}).encode()


GOOD, BAD = setup("models/good"), setup("models/bad")
SPEECH = b'{"realtimeInput":{"audio":{"data":"UklG"}}}'


def call(model: str) -> str | None:
    """An account that may use ``good``, and ``ours``, which the provider calls ``theirs``."""
    return {"good": "good", "ours": "theirs"}.get(model)


def anything(model: str) -> str | None:
    """An account that may use everything."""
    return {"ours": "theirs"}.get(model, model)


def frames(message: bytes, *cuts: int) -> list[Frame]:
    """A client's message, cut into fragments."""
    stream = framed(message, Step(is_client=True), cuts)
    return [f for f in FrameScanner(expects_mask=True).feed(stream) if not f.is_control]


def limited() -> Gate:
    """The gate of an account that may not use every model."""
    return Gate(SETUP, call=call, is_limited=True)


def test_nothing_of_a_message_goes_on_before_it_was_looked_at() -> None:
    """A provider never sees the beginning of a setup that is refused at its end."""
    gate = limited()
    first, second, third = frames(GOOD, 12, 30)
    assert [list(gate.admit([one])) for one in (first, second)] == [[], []]
    assert not gate.has_passed
    assert list(gate.admit([third])) == [first, second, third]
    assert gate.has_passed


REFUSED: list[tuple[str, list[bytes]]] = [
    ("another model", [BAD]),
    ("a model named twice", [b'{"setup":{"model":"bad","model":"good"}}']),
    ("two setups in one", [b'{"setup":{"model":"bad"},"setup":{"model":"good"}}']),
    ("an odd path", [setup("models/bad/models/good")]),
    ("no setup at all", [SPEECH, GOOD]),
    ("a second setup", [GOOD, SPEECH, BAD]),
    ("a second setup beside something else", [GOOD, b'{"realtimeInput":{},' + BAD[1:]]),
    ("a second setup that is unclear", [GOOD, b'{"setup":{"model":"good","model":"bad"}}']),
]


@pytest.mark.parametrize(("what", "messages"), REFUSED)
@pytest.mark.parametrize("cuts", [(), (3,), (10, 20)])
def test_an_account_is_limited_to_its_models(
    what: str, messages: list[bytes], cuts: tuple[int, ...]
) -> None:
    """Whole or in fragments, first or later: nothing of what is refused passes, nor anything
    behind it.
    """
    gate = limited()
    passed: list[bytes] = []
    for message in [*messages, SPEECH]:
        passed += [unmasked(frame) for frame in gate.admit(frames(message, *cuts))]
    assert gate.refused_model is not None, what
    assert b"".join(passed) == b"".join(m for m in messages[:-1] if messages[0] == GOOD)


def test_an_account_is_limited_to_its_models_after_the_door() -> None:
    """The URL named a model: messages pass as they came until one names another that is not its."""
    gate = Gate(START, call=call, is_limited=True, has_opened=True)
    assert gate.has_passed
    sent = [
        b'{"type":"input_audio_buffer.append","audio":"UklG"}',
        b'{"type":"session.update","session":{"voice":"marin"}}',
        b'{"type":"session.update","session":{"model":"good"}}',
    ]
    passed = [frame for message in sent for frame in gate.admit(frames(message, 9))]
    assert b"".join(map(unmasked, passed)) == b"".join(sent)
    assert (
        list(gate.admit(frames(b'{"session":{"model":"bad"},"type":"session.update"}', 30))) == []
    )
    assert gate.refused_model == "bad"


@pytest.mark.parametrize("backend", ["responses", "decisions"])
def test_an_account_is_limited_to_its_models_where_a_session_delegates(backend: str) -> None:
    """Work for a session costs that model's tokens: it must be the account's, first and later."""

    def naming(delegate: str, **session: str) -> bytes:
        return json.dumps(
            {"session": {**session, "delegation": {backend: {"model": delegate}}}}
        ).encode()

    first = Gate(GPT_LIVE, call=call, is_limited=True)
    assert list(first.admit(frames(naming("bad", model="good"), 9))) == []
    assert first.refused_model == "bad"
    later = Gate(GPT_LIVE, call=call, is_limited=True)
    allowed = frames(naming("good", model="good"), 9)
    assert list(later.admit(allowed)) == allowed
    assert list(later.admit(frames(naming("bad"), 9))) == []
    assert later.refused_model == "bad"


def transcribing(transcription: object, **session: Any) -> bytes:
    """A transcription session's update."""
    wanted = {**session, "audio": {"input": {"transcription": transcription}}}
    return json.dumps({"type": "session.update", "session": wanted}).encode()


TRANSCRIBER = transcribing({"model": "good"})
BETA = b'{"type":"transcription_session.update","session":{"input_audio_transcription":%b}}'
AUDIO = b'{"type":"input_audio_buffer.append","audio":"UklG"}'
VAD = b'{"type":"session.update","session":{"audio":{"input":{"turn_detection":null}}}}'
# What is said, and how many of these messages go on before one is refused.
TRANSCRIBING: list[tuple[list[bytes], int]] = [
    ([TRANSCRIBER, AUDIO, AUDIO], 3),
    ([BETA % b'{"model":"good"}', AUDIO], 2),
    ([VAD, TRANSCRIBER, AUDIO, VAD, AUDIO], 5),
    ([TRANSCRIBER, transcribing({"language": "de"}), AUDIO], 3),
    ([AUDIO], 0),
    ([b"\x00\xff"], 0),
    ([b'{"type":"input_audio_buffer.append","audio":"UklG","audio":"UklG"}'], 0),
    ([b'{"type":["session.update"]}'], 0),
    ([VAD, AUDIO], 1),
    ([transcribing({"language": "de"}), AUDIO], 1),
    ([transcribing(None), AUDIO], 1),
    ([b'{"type":"input_audio_buffer.append",' + TRANSCRIBER[27:]], 0),
    ([b'{"session":{},' + AUDIO[1:]], 0),
    ([transcribing({"model": "bad"}), AUDIO], 0),
    ([TRANSCRIBER, transcribing({"model": "bad"}), AUDIO], 1),
    ([TRANSCRIBER, AUDIO, transcribing(None), AUDIO], 3),
    ([BETA % b'{"model":"good"}', BETA % b"null", AUDIO], 2),
]


@pytest.mark.parametrize(("messages", "passing"), TRANSCRIBING)
@pytest.mark.parametrize("cuts", [(), (3,)])
def test_a_transcriber_is_named_before_anything_is_transcribed(
    messages: list[bytes], passing: int, cuts: tuple[int, ...]
) -> None:
    """By an account that may not use every one: the provider has its own where none is named."""
    gate = Gate(TRANSCRIPTION, call=call, is_limited=True, has_opened=True)
    passed = [frame for message in messages for frame in gate.admit(frames(message, *cuts))]
    assert b"".join(map(unmasked, passed)) == b"".join(messages[:passing])
    assert (gate.refused_model is None) is (passing == len(messages))


def test_what_is_no_setup_passes_after_one() -> None:
    """Frames go on as they came, and a message that quotes a setup is none."""
    gate = limited()
    quote = json.dumps({"realtimeInput": {"text": BAD.decode()}}).encode()
    sent = [frame for message in (GOOD, SPEECH, quote, GOOD) for frame in frames(message, 9)]
    assert list(gate.admit(sent)) == sent
    assert gate.refused_model is None


def test_the_provider_judges_what_an_account_without_limits_says() -> None:
    """Unclear or no setup at all: it goes on as it came."""
    gate = Gate(SETUP, call=anything, is_limited=False)
    odd: list[Any] = [SPEECH, b'{"setup":{"model":"a","model":"b"}}', b"junk", BAD, GOOD]
    sent = [frame for message in odd for frame in frames(message, 5)]
    assert list(gate.admit(sent)) == sent
    assert gate.refused_model is None


@pytest.mark.parametrize("rule", [call, anything])
def test_a_renamed_model_goes_on_under_its_other_name(rule: Any) -> None:
    """The message is written anew, masked as a client's must be."""
    gate = Gate(SETUP, call=rule, is_limited=rule is call)
    (frame,) = gate.admit(frames(setup("models/ours"), 7))
    assert json.loads(unmasked(frame)) == json.loads(setup("models/theirs"))
    assert frame.raw[1] & 0x80
    assert list(gate.admit(frames(SPEECH))) != []


@pytest.mark.parametrize("is_limited", [True, False])
@pytest.mark.parametrize("cuts", [(), (3,), (10, 20)])
def test_a_session_to_resume_waits_for_an_answer(is_limited: bool, cuts: tuple[int, ...]) -> None:
    """Nothing of the message goes on before, nor anything behind it; then all of it, in order."""
    gate = Gate(Gemini.first_message, call=call if is_limited else anything, is_limited=is_limited)
    first, behind = frames(resuming("h1"), *cuts), frames(SPEECH, *cuts)
    assert list(gate.admit([*first, *behind[:1]])) == []
    assert list(gate.admit(behind[1:])) == []
    assert gate.pending_handle == "h1"
    assert not gate.has_passed
    assert list(gate.release()) == [*first, *behind]
    assert gate.pending_handle is None
    assert gate.has_passed


def test_a_session_to_resume_that_is_unclear_waits_as_well() -> None:
    """What names two handles is asked about under none, which nobody can use."""
    gate = Gate(Gemini.first_message, call=anything, is_limited=False)
    two = b'"sessionResumption":{"handle":"a"},"session_resumption":{"handle":"b"}'
    unclear = frames(b'{"setup":{"model":"models/good",%b}}' % two)
    assert list(gate.admit(unclear)) == []
    assert gate.pending_handle == ""
    assert not gate.has_passed
    assert list(gate.release()) == unclear


def test_a_session_to_resume_is_asked_about_under_a_model_of_another_name() -> None:
    """The handle goes on as it was, with the provider's name of the model."""
    gate = Gate(Gemini.first_message, call=anything, is_limited=False)
    message = resuming("h1").replace(b"good", b"ours")
    assert list(gate.admit(frames(message))) == []
    (frame,) = gate.release()
    assert json.loads(unmasked(frame)) == json.loads(message.replace(b"ours", b"theirs"))


def test_a_model_that_is_not_allowed_is_refused_before_anything_is_asked() -> None:
    """What follows cannot go on either."""
    gate = Gate(Gemini.first_message, call=call, is_limited=True)
    assert list(gate.admit(frames(resuming("h1").replace(b"good", b"bad")))) == []
    assert (gate.refused_model, gate.pending_handle) == ("bad", None)


def test_what_waited_behind_a_session_to_resume_is_looked_at_as_well() -> None:
    """An account that is held to its models is held to them there, too."""
    gate = Gate(Gemini.first_message, call=call, is_limited=True)
    allowed = [*frames(resuming("h1")), *frames(SPEECH)]
    gate.admit([*allowed, *frames(BAD)])
    assert list(gate.release()) == allowed
    assert gate.refused_model == "bad"


def test_the_gates_transitions_are_complete() -> None:
    """Every state has an entry; what waits can only be released, and a refusal is final."""
    assert set(TRANSITIONS) == set(GateState)
    assert TRANSITIONS[GateState.CHECKING] == {GateState.OPEN}
    assert TRANSITIONS[GateState.REFUSED] == set()
