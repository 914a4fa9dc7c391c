"""Sessions of an OpenAI client with Gemini Live, of legal and broken messages in any order.

Whatever is said, nothing raises, the client sees what OpenAI's grammar allows, each response that
is created is done exactly once, and Gemini gets messages of its protocol only.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.translate.base import Renewal, Translation
from tests.support.translation_to_gemini import AUDIO, SPEECH, USAGE, OpenAITalk

Step = Callable[[OpenAITalk], None]
MODELS = st.sampled_from(("gemini-2.5-flash-native-audio", "gemini-3.8-live"))

NAMES = st.sampled_from(
    ("type", "id", "text", "audio", "input", "output", "tools", "name", "role", "content", "parts",
     "instructions", "turn_detection", "session", "item", "response", "modelTurn", "functionCalls",
     "inputTranscription", "outputTranscription", "turnComplete", "voice", "format", "call_id")
)  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70_000) | st.text(max_size=6) | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)


def client(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """An event of the client."""

    def step(found: dict[str, Any]) -> Step:
        return lambda talk: talk.client(kind, **found)

    return st.fixed_dictionaries(fields).map(step)


def provider(**fields: Any) -> st.SearchStrategy[Step]:
    """A message of the provider."""
    return st.just(lambda talk: talk.provider(**fields))


def content(**fields: Any) -> st.SearchStrategy[Step]:
    """A ``serverContent``."""
    return provider(serverContent=fields)


def ending(**fields: Any) -> st.SearchStrategy[Step]:
    """The end of a turn, perhaps with a usage beside it."""
    ended = {"turnComplete": True, **fields}
    return content(**ended) | provider(serverContent=ended, usageMetadata=USAGE)


def of_item(kind: str, **fields: Any) -> st.SearchStrategy[Step]:
    """An event about one of the items that the client has heard of, or about none."""

    def step(number: int) -> Step:
        def run(talk: OpenAITalk) -> None:
            known = [e["item"]["id"] for e in talk.heard if e["type"] == "conversation.item.added"]
            item_id = known[number % len(known)] if known else "item_of_nobody"
            talk.client(kind, item_id=item_id, **fields)

        return run

    return st.integers(0, 99).map(step)


def create(talk: OpenAITalk, **item: Any) -> None:
    """The client creates an item with an id of its own."""
    talk.client("conversation.item.create", item={"id": f"own_{len(talk.heard)}", **item})


def output(number: int) -> Step:
    """The output of a call, open or not."""

    def run(talk: OpenAITalk) -> None:
        calls = [call_id for kind, call_id in talk.kept if kind == "function_call"]
        call_id = calls[-1 - number % len(calls)] if calls else "call_of_nobody"
        create(talk, type="function_call_output", call_id=call_id, output='{"a": 1}')

    return run


def call(talk: OpenAITalk) -> None:
    """The model calls two functions, one of them without an id, as on Vertex AI."""
    calls = [{"id": f"call_{len(talk.heard)}", "name": "f", "args": {"a": 1}}, {"name": "g"}]
    talk.provider(toolCall={"functionCalls": calls})


def cancel_calls(talk: OpenAITalk) -> None:
    """The model does not want the last call's output any more."""
    calls = [call_id for kind, call_id in talk.kept if kind == "function_call"]
    talk.provider(toolCallCancellation={"ids": calls[-1:]})


def renew(talk: OpenAITalk) -> None:
    """Another provider's connection takes the place of this one."""
    talk.disconnect()
    talk.connect()


DETECTION = st.sampled_from(
    (None, {"type": "server_vad"}, {"type": "semantic_vad", "eagerness": "low"},
     {"type": "server_vad", "interrupt_response": False}, {"type": "server_vad", "threshold": 2})
)  # fmt: skip
PCM = {"type": "audio/pcm", "rate": 24000}
FORMAT = st.sampled_from((PCM, {"type": "audio/pcmu"}, {"type": 1}))
SESSION = st.fixed_dictionaries(
    {"type": st.just("realtime")},
    optional={
        "instructions": st.sampled_from(("", "Be kind.")),
        "output_modalities": st.sampled_from((["audio"], ["text"], ["smell"])),
        "tools": st.just([{"type": "function", "name": "f"}]),
        "audio": st.fixed_dictionaries(
            {},
            optional={
                "input": st.fixed_dictionaries(
                    {},
                    optional={
                        "turn_detection": DETECTION,
                        "format": FORMAT,
                        "transcription": st.sampled_from((None, {"model": "whisper-1"})),
                    },
                ),
                "output": st.fixed_dictionaries(
                    {"voice": st.sampled_from(("alloy", "marin"))}, optional={"format": FORMAT}
                ),
            },
        ),
        "prompt": st.just({"id": "p"}),
    },
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    client("session.update", session=SESSION),
    client("input_audio_buffer.append", audio=st.sampled_from((AUDIO, AUDIO, "AAAA", "", "!"))),
    client("input_audio_buffer.append", audio=st.just(AUDIO)),
    client("input_audio_buffer.commit"),
    client("input_audio_buffer.clear"),
    client("response.create"),
    client("response.create", response=st.just({"instructions": "Greet."})),
    client("response.cancel"),
    client("output_audio_buffer.clear"),
    st.sampled_from(("user", "assistant", "system")).map(
        lambda role: lambda talk: talk.create_message("Hi", role, id=f"own_{len(talk.heard)}")
    ),
    st.integers(0, 5).map(output),
    of_item("conversation.item.delete"),
    of_item("conversation.item.retrieve"),
    of_item("conversation.item.truncate", content_index=0, audio_end_ms=5),
    st.builds(
        lambda kind, fields: lambda talk: talk.client(kind, **fields),
        st.sampled_from(("session.update", "conversation.item.create", "response.create", "huh")),
        st.dictionaries(NAMES.filter(lambda name: name != "type"), JUNK, max_size=3),
    ),
    st.binary(max_size=12).map(lambda raw: lambda talk: talk.client(raw)),
    # --- the provider ---
    provider(setupComplete={}),
    provider(setupComplete={}),
    content(inputTranscription={"text": "Hello"}),
    content(inputTranscription={"text": " you", "finished": True}),
    content(outputTranscription={"text": "Well"}),
    content(modelTurn={"parts": [{"inlineData": SPEECH}]}),
    content(modelTurn={"parts": [{"inlineData": SPEECH}]}, outputTranscription={"text": " so"}),
    content(modelTurn={"parts": [{"text": "Text"}, {"text": "Hm", "thought": True}]}),
    content(generationComplete=True),
    content(interrupted=True),
    ending(),
    ending(interactionStatus="IN_PROGRESS"),
    ending(turnCompleteReason="MALFORMED_FUNCTION_CALL"),
    provider(usageMetadata=USAGE),
    st.just(call),
    st.just(cancel_calls),
    provider(goAway={"timeLeft": "5s"}),
    provider(sessionResumptionUpdate={"newHandle": "h1", "resumable": True}),
    provider(sessionResumptionUpdate={"resumable": False}),
    provider(voiceActivity={"voiceActivityType": "ACTIVITY_START", "audioOffset": "1.5s"}),
    provider(voiceActivity={"voiceActivityType": "ACTIVITY_END"}),
    st.builds(
        lambda kind, value: lambda talk: talk.provider(**{kind: value}),
        st.sampled_from(("serverContent", "toolCall", "goAway", "voiceActivity", "huh")),
        st.dictionaries(NAMES, JUNK, max_size=3) | JUNK,
    ),
    st.just(renew),
    st.just(OpenAITalk.disconnect),
    st.just(OpenAITalk.connect),
)


@given(model=MODELS, steps=st.lists(STEPS, max_size=40))
def test_any_session_keeps_to_the_grammar_of_both_protocols(model: str, steps: list[Step]) -> None:
    """Each event and message is legal where it comes, and no response stays open."""
    talk = OpenAITalk(model)
    for step in steps:
        step(talk)
        is_open = _open_responses(talk) == 1
        assert talk.translator.is_answering >= is_open  # or the user is heard
        if Renewal.NOW in talk.renewals:
            assert not is_open
            talk.renewals.clear()
            renew(talk)
    talk.disconnect()

    _go_on(talk)
    assert talk.checker is not None
    talk.checker.finish(is_cut=talk.checker.kinds.count("input_audio_buffer.speech_stopped") > 0)


def _go_on(talk: OpenAITalk) -> None:
    """Without a provider a response is open only if nothing of it was heard: the next one is asked
    for it, and a translator to another protocol's is told to ask.
    """
    is_open = _open_responses(talk) == 1
    assert talk.translator.is_answering == is_open
    if is_open:
        talk.forget()
        talk.connect()
        talk.provider(setupComplete={})
        asked = [message["clientContent"] for message in talk.told if "clientContent" in message]
        assert asked[0]["turnComplete"]
        is_open = len(asked) == 1  # else a cancel was held, which came next
        talk.disconnect()
    rest = talk.translator.leave()
    assert any(b"response.create" in message for message in rest.unanswered) >= is_open
    talk.take(Translation(to_client=rest.to_client))
    assert not talk.translator.is_answering


def _open_responses(talk: OpenAITalk) -> int:
    kinds = talk.heard_kinds
    return kinds.count("response.created") - kinds.count("response.done")


@given(model=MODELS, steps=st.lists(STEPS, max_size=25))
def test_a_ready_session_keeps_to_the_grammar_of_both_protocols(
    model: str, steps: list[Step]
) -> None:
    """The same, from where most of a session takes place."""
    talk = OpenAITalk.detected(model)
    for step in steps:
        step(talk)
    talk.disconnect()

    _go_on(talk)


# What meets behind an answer that was generated: its end, the next question, and who cuts it.
BEHIND: st.SearchStrategy[Step] = st.one_of(
    client("response.create"),
    client("response.create"),
    client("response.cancel"),
    client("input_audio_buffer.append", audio=st.just(AUDIO)),
    st.just(lambda talk: talk.create_message("Hi", id=f"own_{len(talk.heard)}")),
    st.integers(0, 5).map(output),
    content(inputTranscription={"text": "Hello"}),
    content(outputTranscription={"text": "Well"}),
    content(modelTurn={"parts": [{"inlineData": SPEECH}]}),
    content(modelTurn={"parts": [{"inlineData": SPEECH}]}),
    content(generationComplete=True),
    content(generationComplete=True),
    content(interrupted=True),
    ending(),
    st.just(call),
    st.just(renew),
)


@given(steps=st.lists(BEHIND, max_size=30))
def test_what_meets_behind_a_generated_answer_keeps_to_the_grammar(steps: list[Step]) -> None:
    """The same where a response may follow one that has not ended; and no speech is announced in
    the message that begins an answer: a client would lose the first of it.
    """
    talk = OpenAITalk.detected()
    for step in steps:
        heard = len(talk.heard)
        step(talk)
        kinds = talk.heard_kinds[heard:]
        if "response.output_audio.delta" in kinds:
            assert "input_audio_buffer.speech_started" not in kinds
    talk.disconnect()

    _go_on(talk)
