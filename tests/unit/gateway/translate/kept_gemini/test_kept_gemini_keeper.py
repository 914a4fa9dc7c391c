"""What the keeper of Gemini's protocol keeps, tells, and withholds."""

import tracemalloc
from typing import Any

import pytest
from msgspec import json

from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeping import WITHHELD
from gateway.translate.kept_gemini.keeper import GeminiKeeper
from gateway.translate.kept_gemini.messages import wire
from gateway.translate.kept_gemini.setup import SETUP_BYTES_MAX
from gateway.translate.kept_gemini.talk import SAID_MAX

Message = dict[str, Any]
SETUP: Message = {"model": "models/m", "systemInstruction": {"parts": [{"text": "Be brief."}]}}
INTERRUPTED = {"serverContent": {"interrupted": True}}
COMPLETE = {"serverContent": {"turnComplete": True}}


def set_up(setup: Message = SETUP, conversation: Conversation | None = None) -> GeminiKeeper:
    """A session that the provider has accepted."""
    keeper = GeminiKeeper(seed="5eed", conversation=conversation)
    keeper.provider_opened()
    say(keeper, setup=setup)
    assert keeper.provider_said({"setupComplete": {}}) is not None
    return keeper


def say(keeper: GeminiKeeper, **message: Any) -> Message | None:
    """The client says something."""
    return keeper.client_said(message, json.encode(message))


def write(keeper: GeminiKeeper, text: str, *, asks: bool = True) -> None:
    """A text of the client."""
    turn = {"role": "user", "parts": [{"text": text}]}
    say(keeper, clientContent={"turns": [turn], "turnComplete": asks})


def hear(keeper: GeminiKeeper, **content: Any) -> None:
    """The provider says something."""
    message = {"serverContent": content}
    assert keeper.provider_said(message) is message


def replace(keeper: GeminiKeeper) -> tuple[list[Any], list[Any], list[Any]]:
    """Another connection: what the client hears, and what the provider is told, first and then."""
    closing, opening = list(keeper.provider_closed()), list(keeper.provider_opened())
    assert keeper.is_waiting
    assert keeper.provider_said({"setupComplete": {}}) is None
    return closing, opening, due(keeper)


def due(keeper: GeminiKeeper) -> list[Any]:
    """What the provider is to be told now."""
    return [json.decode(message) for message in keeper.take_due()]


def test_between_turns_the_conversation_is_told() -> None:
    """The setup as it came, then what both sides said, for which no answer is asked."""
    keeper = set_up()
    write(keeper, "hello")
    hear(keeper, outputTranscription={"text": "Good day"})
    hear(keeper, turnComplete=True)
    closing, opening, told = replace(keeper)
    assert (closing, opening) == ([], [{"setup": SETUP}])
    (content,) = told
    assert content["clientContent"] == {
        "turns": [
            {"role": "user", "parts": [{"text": "hello"}]},
            {"role": "model", "parts": [{"text": "Good day"}]},
        ],
        "turnComplete": False,
    }


def test_with_a_handle_only_what_came_after_it_is_told() -> None:
    """The newest that can be resumed; one that is refused is not told again."""
    keeper = set_up({**SETUP, "session_resumption": {}})
    write(keeper, "one")
    hear(keeper, turnComplete=True)
    update = {"newHandle": "h1", "resumable": True}
    keeper.provider_said({"sessionResumptionUpdate": update})
    keeper.provider_said({"sessionResumptionUpdate": {"resumable": False}})
    write(keeper, "two", asks=False)
    _, (opening,), (told,) = replace(keeper)
    assert opening["setup"]["sessionResumption"] == {"handle": "h1"}
    assert "session_resumption" not in opening["setup"]
    assert told["clientContent"]["turns"] == [{"role": "user", "parts": [{"text": "two"}]}]
    keeper.provider_closed()
    keeper.provider_opened()
    _, (opening,), (told,) = replace(keeper)
    assert opening["setup"]["sessionResumption"] == {}
    parts = told["clientContent"]["turns"][0]["parts"]
    assert parts == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("heard", "closing", "is_asked"),
    [
        ([], [], True),
        ([{"modelTurn": {"parts": [{"text": "hm", "thought": True}]}}], [], True),
        ([{"outputTranscription": {"text": "Good"}}], [INTERRUPTED, COMPLETE], False),
        ([{"modelTurn": {"parts": [{"text": "Good"}]}}, {"interrupted": True}], [COMPLETE], False),
        ([{"outputTranscription": {"text": "Good"}}, {"generationComplete": True}],
         [COMPLETE], False),
        ([{"turnComplete": True}], [], False),
    ],
    ids=["nothing", "a thought", "a word", "interrupted", "generated", "complete"],
)  # fmt: skip
def test_an_open_turn_is_closed_or_asked_for_again(
    heard: list[Message], closing: list[Message], is_asked: bool
) -> None:
    """By what was heard of the answer."""
    keeper = set_up()
    write(keeper, "hello")
    for content in heard:
        hear(keeper, **content)
    found, _, (told,) = replace(keeper)
    assert found == closing
    assert told["clientContent"]["turnComplete"] is is_asked


def test_what_was_spoken_or_is_too_large_is_not_asked_again() -> None:
    """The turn is closed, so that its client does not wait for ever."""
    manual = {"automaticActivityDetection": {"disabled": True}}
    keeper = set_up({**SETUP, "realtimeInputConfig": manual})
    say(keeper, realtimeInput={"activityStart": {}})
    _, _, told = replace(keeper)
    assert told == [{"realtimeInput": {"activityStart": {}}}]
    say(keeper, realtimeInput={"activityEnd": {}})
    assert replace(keeper) == ([INTERRUPTED, COMPLETE], [{"setup": keeper_setup(manual)}], [])
    write(keeper, "x" * 70_000)
    assert replace(keeper)[0] == [INTERRUPTED, COMPLETE]


def keeper_setup(manual: Message) -> Message:
    """The setup of a client that tells its activities."""
    return {**SETUP, "realtimeInputConfig": manual}


def test_the_answer_to_a_lost_call_is_told_with_the_call() -> None:
    """The next provider has not called the function, and would refuse the answer alone."""
    keeper = set_up()
    write(keeper, "weather?")
    call = {"id": "c1", "name": "weather", "args": {"city": "Bonn"}}
    keeper.provider_said({"toolCall": {"functionCalls": [call]}})
    closing, _, _ = replace(keeper)
    assert closing == []
    answer = {"id": "c1", "name": "weather", "response": {"sky": "blue"}}
    assert say(keeper, toolResponse={"functionResponses": [answer]}) is WITHHELD
    (told,) = due(keeper)
    assert told["clientContent"]["turnComplete"] is True
    assert [list(turn["parts"][0]) for turn in told["clientContent"]["turns"]] == [
        ["functionCall"], ["functionResponse"],
    ]  # fmt: skip


def test_go_away_is_for_the_gateway() -> None:
    """It is told once, and the client hears nothing of it."""
    keeper = set_up()
    assert keeper.provider_said({"goAway": {"timeLeft": "5s"}}) is None
    assert keeper.take_notice()
    assert not keeper.take_notice()
    assert not keeper.is_answering


@pytest.mark.parametrize(
    "setup",
    [
        {"model": "models/m", "systemInstruction": "x" * SETUP_BYTES_MAX},
        {"model": "models/gemini-3.5-transcribe-live"},
        {"model": "models/m", "generationConfig": {"translationConfig": {}}},
        {"model": "models/m", "sessionResumption": {"transparent": True}},
    ],
    ids=["large", "transcribes", "translates", "counts"],
)
def test_other_sessions_are_not_kept(setup: Message) -> None:
    """These end with their provider, and hear its goAway."""
    keeper = set_up(setup)
    assert not keeper.is_keeping
    assert keeper.provider_said({"goAway": {}}) == {"goAway": {}}


def test_an_update_of_the_context_becomes_part_of_the_setup() -> None:
    """In the form of a setup, whatever spelling the first had."""
    keeper = set_up({"model": "models/m", "system_instruction": {"parts": [{"text": "a"}]}})
    say(keeper, contextUpdate={"systemInstruction": {"parts": [{"text": "b"}]},
                               "tools": {"tools": [{"googleSearch": {}}]}})  # fmt: skip
    _, (opening,), _ = replace(keeper)
    assert opening["setup"] == {
        "model": "models/m",
        "systemInstruction": {"parts": [{"text": "b"}]},
        "tools": [{"googleSearch": {}}],
    }


def test_initial_history_is_told_as_such() -> None:
    """What comes first is not answered there, so a question follows it as a text."""
    history = {"historyConfig": {"initialHistoryInClientContent": True}}
    keeper = set_up({**SETUP, **history})
    write(keeper, "before")
    assert not keeper.is_answering
    say(keeper, realtimeInput={"text": "now?"})
    _, _, told = replace(keeper)
    assert told == [
        {"clientContent": {"turnComplete": True}},
        {"realtimeInput": {"text": "before\nnow?"}},
    ]


def test_speech_is_kept_by_its_transcript() -> None:
    """It stands before the answer, also where its transcript comes later."""
    keeper = set_up()
    keeper.client_spoke()
    keeper.heard()
    hear(keeper, inputTranscription={"text": "Hello"})
    hear(keeper, outputTranscription={"text": "Good day"})
    hear(keeper, turnComplete=True)
    said = [item["content"][0]["transcript"] for item in keeper.conversation.items]
    assert said == ["Hello", "Good day"]


def test_a_stored_conversation_is_told_before_anything_else() -> None:
    """The client waits until then; its own handle brings back more than what is stored."""
    item = {"id": "i1", "type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "before"}]}  # fmt: skip
    keeper = set_up(conversation=Conversation(items=[dict(item)]))
    (told,) = due(keeper)
    assert told["clientContent"]["turns"][0]["parts"] == [{"text": "before"}]
    assert keeper.conversation.session["instructions"] == "Be brief."
    resuming = {**SETUP, "sessionResumption": {"handle": "h0"}}
    assert set_up(resuming, Conversation(items=[dict(item)])).take_due() == []


def test_usage_that_comes_late_is_waited_for() -> None:
    """No connection is replaced on purpose before it is there."""
    keeper = set_up()
    write(keeper, "hello")
    hear(keeper, outputTranscription={"text": "Good day"})
    hear(keeper, turnComplete=True)
    assert keeper.is_answering
    keeper.provider_said({"usageMetadata": {"totalTokenCount": 5}})
    assert not keeper.is_answering


@pytest.mark.parametrize(
    ("message", "is_media"),
    [
        (b'{"realtimeInput":{"audio":{"data":"AAAA","mimeType":"audio/pcm"}}}', True),
        (b'{"realtime_input":{"media_chunks":[{"data":"AAAA"}]}}', True),
        (b'{"realtimeInput":{"audio":{"data":"AAAA"},"activityEnd":{}}}', False),
        (b'{"client_content":{}}', False),
        (b'{"realtime\\u0049nput":{}}', False),
    ],
)
def test_media_is_told_without_parsing(message: bytes, is_media: bool) -> None:
    """By the names in it."""
    assert wire().is_append(message) is is_media


def test_speech_is_told_by_its_shape() -> None:
    """Nothing else may stand in the message; the audio is not looked at."""
    part = '{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"?"}}'
    spoken = f'{{"serverContent": {{"modelTurn": {{"parts": [{part}]}}}}}}\n'.encode()
    other = spoken.replace(b"]}}}", b']},"turnComplete":true}}')
    longer, two = spoken.replace(b"?", b"AAAA"), spoken.replace(b"]", b"," + part.encode() + b"]")
    is_speech = wire().is_speech
    for _ in range(2):  # the second time by what stood around the first
        assert is_speech(b"ab" + spoken, 2)
        assert is_speech(longer, 0)
        assert not is_speech(other, 0)
        assert not is_speech(two, 0)


def test_nothing_of_the_first_provider_is_withheld() -> None:
    """Not even what it repeats; of the next one the client hears no acceptance at all."""
    keeper = set_up()
    again = {"setupComplete": {}}
    assert keeper.provider_said(again) is again
    replace(keeper)
    assert keeper.provider_said(again) is None


def test_a_client_that_does_not_wait_is_not_made_to() -> None:
    """What it says before its setup, or before that is accepted, is the provider's to judge."""
    keeper = GeminiKeeper(seed="5eed")
    keeper.provider_opened()
    write(keeper, "too early")
    say(keeper, setup=SETUP)
    assert not keeper.is_waiting


def test_a_client_that_only_writes_makes_nothing_grow() -> None:
    """It asks for no answer, so that no turn ends."""
    keeper = set_up()

    def go_on_writing() -> int:
        for _ in range(SAID_MAX):
            write(keeper, "well", asks=False)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = go_on_writing()
        assert go_on_writing() - before < SAID_MAX * 32, "more than a name would take"
    finally:
        tracemalloc.stop()
