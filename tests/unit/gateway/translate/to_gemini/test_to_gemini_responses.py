"""How a response is asked for, ended and cancelled, and whose turn of Gemini it is."""

from typing import Any

import pytest

from tests.support.translation_to_gemini import SPEECH, USAGE, OpenAITalk

USER_SAYS_NOTHING = {"role": "user", "parts": [{"text": "."}]}


def asked(*turns: dict[str, Any], is_complete: bool = True) -> dict[str, Any]:
    """The content that asks the model."""
    return {"clientContent": {"turns": list(turns), "turnComplete": is_complete}}


def says(role: str, text: str) -> dict[str, Any]:
    """A content of text."""
    return {"role": role, "parts": [{"text": text}]}


# --- how one is asked for -------------------------------------------------------------------------


def test_a_greeting() -> None:
    """Gemini wants some content to answer; what to say comes from the model itself."""
    talk = OpenAITalk.ready()
    talk.client("response.create", response={"instructions": "Greet the user."})

    assert talk.told == [asked(says("model", "Greet the user."), USER_SAYS_NOTHING)]
    assert talk.heard_kinds == ["response.created"]
    assert talk.translator.is_answering


@pytest.mark.parametrize("response", [None, {}, {"conversation": "auto", "input": None}])
def test_a_greeting_without_instructions(response: object) -> None:
    """The session's instructions say how."""
    talk = OpenAITalk.ready()
    talk.client("response.create", response=response)

    assert talk.told == [asked(USER_SAYS_NOTHING)]


def test_instructions_come_behind_what_is_pending() -> None:
    """And before what is answered."""
    talk = OpenAITalk.ready()
    talk.create_message("What is it?")
    talk.client("response.create", response={"instructions": "Be brief."})

    assert talk.told == [
        asked(says("user", "What is it?"), says("model", "Be brief."), USER_SAYS_NOTHING)
    ]


def test_a_committed_activity_is_answered_together_with_what_is_pending() -> None:
    """The content asks for nothing itself: the end of the activity does."""
    talk = OpenAITalk.manual()
    talk.create_message("Look at this.")
    talk.append()
    talk.client("input_audio_buffer.commit")
    talk.client("response.create", response={"instructions": "Be brief."})

    assert talk.told_kinds == ["activityStart", "audio", "clientContent", "activityEnd"]
    assert talk.told[2] == asked(
        says("user", "Look at this."), says("model", "Be brief."), is_complete=False
    )


def test_content_goes_before_audio_that_follows_it() -> None:
    """The provider answers speech by itself, so it has to know before; a question is then empty."""
    talk = OpenAITalk.detected()
    talk.create_message("Look at this.")
    talk.append(2)
    talk.client("response.create")

    assert talk.told_kinds == ["clientContent", "audio", "audio", "clientContent"]
    assert talk.told[0] == asked(says("user", "Look at this."), is_complete=False)
    assert talk.told[3] == {"clientContent": {"turnComplete": True}}


def test_content_waits_for_the_end_of_a_response() -> None:
    """Earlier it would interrupt the model."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Once")
    talk.create_message("Look at this.")
    talk.append()
    assert talk.told_kinds == ["audio", "audio"]
    talk.end()
    talk.append()

    assert talk.told_kinds == ["audio", "audio", "clientContent", "audio"]


def test_speech_that_the_client_commits_is_answered_anyway() -> None:
    """With detection nothing is left to be asked."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"text": "Hello"}})
    talk.client("input_audio_buffer.commit")
    talk.client("response.create", response={"instructions": "Be brief."})
    talk.speak("Hi")

    assert talk.told_kinds == ["audio", "audioStreamEnd"]
    assert talk.ignored == ["response.create.response.instructions"]
    assert talk.heard_kinds.count("input_audio_buffer.committed") == 1
    assert talk.heard_kinds.count("response.created") == 1


def test_outputs_of_some_functions_are_told_when_a_response_is_asked_for() -> None:
    """The model waits for the others; the last one needs no other question."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"), ("call_2", "listen"))
    talk.create_output("call_1", "1")
    talk.forget()
    talk.client("response.create")
    assert talk.told_kinds == ["toolResponse"]
    talk.create_output("call_2", "2")
    assert talk.told_kinds == ["toolResponse", "toolResponse"]
    assert talk.heard_kinds.count("response.created") == 1


def test_functions_are_answered_when_the_client_asks() -> None:
    """Gemini would answer at once, before a client has asked that waits until it is told that the
    outputs are there; livekit's plugin does not know that answer for its own.
    """
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.create_output("call_1", "1")
    assert "toolResponse" not in talk.told_kinds
    talk.forget()
    talk.client("response.create", response={"metadata": {"number": "2"}})
    talk.speak("One")

    assert talk.told_kinds == ["toolResponse"]
    assert talk.only("response.created")["response"]["metadata"] == {"number": "2"}


def test_outputs_and_something_new_are_asked_for_at_once() -> None:
    """The outputs go first: content has the model give up its calls."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.create_output("call_1", "1")
    talk.create_message("Look at this.")
    talk.forget()
    talk.client("response.create")
    talk.interrupt()
    talk.speak("One")
    talk.end()

    assert talk.told_kinds == ["toolResponse", "clientContent"]
    assert talk.told[1] == asked(says("user", "Look at this."))
    assert [response["status"] for response in talk.responses] == ["completed"]


def given_up() -> OpenAITalk:
    """The user speaks while the model waits for a function; its output is there by then."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.create_output("call_1", "1")
    talk.provider(toolCallCancellation={"ids": ["call_1"]})
    talk.interrupt()
    talk.forget()
    return talk


def test_an_answer_to_the_user_may_begin_before_it_is_asked_for_that_of_a_function() -> None:
    """The client's question is then about what is being said, once."""
    talk = given_up()
    talk.speak("One")
    talk.client("response.create")
    talk.client("response.create")

    assert talk.heard_kinds.count("response.created") == 1
    assert talk.error["code"] == "conversation_already_has_active_response"
    assert talk.told == []


@pytest.mark.parametrize(("is_news", "count"), [(False, 1), (True, 2)])
def test_an_answer_to_the_user_may_end_before_it_is_asked_for_that_of_a_function(
    is_news: bool, count: int
) -> None:
    """The client's question is about it, unless it has said something since."""
    talk = given_up()
    talk.speak("One")
    talk.end()
    if is_news:
        talk.create_message("Hello")
    talk.client("response.create")
    assert talk.heard_kinds.count("response.created") == count
    assert bool(talk.told) == is_news


def test_functions_whose_calls_were_cancelled() -> None:
    """Their outputs are kept and not sent, and what is asked then is answered anyway."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.call(("call_1", "look"), ("call_2", "listen"))
    talk.create_output("call_1", "1")
    talk.forget()
    talk.provider(toolCallCancellation={"ids": ["call_2", "call_3", 4]})
    talk.create_output("call_2", "2")
    talk.client("response.create")

    assert talk.told_kinds == ["toolResponse"]
    assert talk.ignored == ["conversation.item.create.item"]
    assert talk.heard_kinds[-1] == "response.created"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"conversation": "none"}, "unsupported_by_provider", "response.conversation"),
    ({"conversation": "other"}, "invalid_value", "response.conversation"),
    ({"input": []}, "unsupported_by_provider", "response.input"),
    ({"prompt": {"id": "p"}}, "unsupported_by_provider", "response.prompt"),
    ({"output_modalities": ["text"]}, "unsupported_by_provider", "response.output_modalities"),
    ({"tools": [{"type": "function", "name": "f"}]}, "unsupported_by_provider", "response.tools"),
    ({"tool_choice": "none"}, "unsupported_by_provider", "response.tool_choice"),
    ({"max_output_tokens": 50}, "unsupported_by_provider", "response.max_output_tokens"),
    ({"audio": {"output": {"voice": "ash"}}}, "unsupported_by_provider", "response.audio"),
    ({"metadata": 1}, "invalid_value", "response.metadata"),
    ({"instructions": 1}, "invalid_value", "response.instructions"),
    ({"voice": "ash"}, "unknown_parameter", "response.voice"),
]


@pytest.mark.parametrize(("response", "code", "param"), REFUSED)
def test_what_only_a_session_can_have_is_refused(
    response: dict[str, Any], code: str, param: str
) -> None:
    """No response is created, and nothing is asked."""
    talk = OpenAITalk.ready()
    talk.create_message("What is it?")
    talk.forget()
    talk.client("response.create", response=response)

    assert (talk.error["code"], talk.error["param"]) == (code, param)
    assert talk.told == []
    assert not talk.translator.is_answering


def test_what_is_the_same_as_the_sessions_is_accepted() -> None:
    """SDKs repeat the session's settings; the metadata is the client's own."""
    talk = OpenAITalk.ready()
    response = {
        "output_modalities": ["audio"], "tools": [], "tool_choice": "auto",
        "max_output_tokens": None, "audio": {"output": {"voice": "alloy"}},
        "metadata": {"client_event_id": "e_1"}, "parallel_tool_calls": True,
    }  # fmt: skip
    talk.client("response.create", response=response)

    assert talk.only("response.created")["response"]["metadata"] == {"client_event_id": "e_1"}
    assert talk.ignored == ["response.parallel_tool_calls"]


# --- how one ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["beside", "before", "behind"])
def test_the_usage_of_a_turn(place: str) -> None:
    """It may come beside the end of the turn, before it, or behind it."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.speak("Hello")
    if place == "before":
        talk.provider(usageMetadata=USAGE)
    talk.end(usage=USAGE if place == "beside" else None)
    if place == "behind":
        assert not talk.responses
        talk.append()
        talk.provider(usageMetadata=USAGE)

    (response,) = talk.responses
    assert response["usage"]["total_tokens"] == 30


def test_a_usage_that_does_not_come_is_not_waited_for() -> None:
    """Another message of the provider, or of the client, or some audio is the end of it."""
    for end in (
        lambda talk: talk.provider(sessionResumptionUpdate={"resumable": False}),
        lambda talk: talk.create_message("And?"),
        lambda talk: talk.append(8),
        lambda talk: talk.client("response.create"),
    ):
        talk = OpenAITalk.ready()
        talk.client("response.create")
        talk.speak("Hello")
        talk.end(usage=None)
        assert talk.translator.is_answering
        end(talk)
        (response,) = talk.responses
        assert (response["status"], response["usage"]) == ("completed", None)


REASONS = [
    ("NEED_MORE_INPUT", "completed", None),
    ("MALFORMED_FUNCTION_CALL", "failed", "failed"),
    ("RESPONSE_REJECTED", "incomplete", "incomplete"),
    ("PROHIBITED_INPUT_CONTENT", "incomplete", "incomplete"),
]


@pytest.mark.parametrize(("reason", "status", "details"), REASONS)
def test_why_a_turn_ended(reason: str, status: str, details: str | None) -> None:
    """What was kept back is filtered content; what cannot be read has failed."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.speak("Hello")
    talk.end(turnCompleteReason=reason)

    (response,) = talk.responses
    assert response["status"] == status
    assert (response["status_details"] or {}).get("type") == details


def test_a_turn_in_which_nothing_is_said() -> None:
    """Its response is done, without output."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.end()

    (response,) = talk.responses
    assert (response["status"], response["output"]) == ("completed", [])


def test_a_part_of_an_answer_is_a_response() -> None:
    """The model goes on by itself: that is no speech of the user, though audio flows."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Well")
    talk.end(interactionStatus="IN_PROGRESS")
    talk.forget()
    talk.append()
    talk.speak("Now I know.")
    talk.end(interactionStatus="IDLE")

    assert talk.heard_kinds[0] == "response.created"
    assert "input_audio_buffer.speech_started" not in talk.heard_kinds


def test_the_end_of_no_response() -> None:
    """It repeats an earlier one; its usage is not that of the next turn."""
    talk = OpenAITalk.ready()
    talk.end()
    talk.provider(serverContent={"generationComplete": True})
    talk.client("response.create")
    talk.speak("Hello")
    talk.end(usage=None)
    talk.create_message("And?")

    assert talk.responses[0]["usage"] is None


def test_text_and_speech_are_parts_of_one_message() -> None:
    """Each with its own deltas."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    parts = [{"text": "Code"}, {"inlineData": SPEECH}, {"executableCode": {}}]
    talk.provider(serverContent={"modelTurn": {"parts": parts}, "groundingMetadata": {}})
    talk.end()

    content = talk.responses[0]["output"][0]["content"]
    assert content == [
        {"type": "output_text", "text": "Code"}, {"type": "output_audio", "transcript": ""},
    ]  # fmt: skip
    assert talk.ignored == [
        "serverContent.groundingMetadata", "serverContent.modelTurn.executableCode",
    ]  # fmt: skip


def test_words_that_come_behind_the_message_are_kept() -> None:
    """The client cannot be told of them any more."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.write("Code")
    talk.speak("Hello")
    talk.provider(serverContent={"generationComplete": True})
    talk.provider(serverContent={"outputTranscription": {"text": " there"}})
    talk.end()

    assert talk.kept == [("assistant", "CodeHello there")]
    assert talk.only("response.output_audio_transcript.done")["transcript"] == "Hello"


@pytest.mark.parametrize(
    ("blob", "count"),
    [
        ({"mimeType": "audio/pcm;rate=48000", "data": SPEECH["data"]}, 1),
        ({"mimeType": "image/png", "data": "AAAA"}, 0),
        ({"mimeType": "audio/pcm;rate=24000", "data": "!"}, 0),
        ({"mimeType": "audio/pcm;rate=24000", "data": "\u00e9"}, 0),
        ({"mimeType": "audio/pcm;rate=24000", "data": ""}, 0),
    ],
)
def test_what_is_no_speech_at_24_khz(blob: dict[str, str], count: int) -> None:
    """Another rate is converted; what is no audio is not told."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.provider(serverContent={"modelTurn": {"parts": [{"inlineData": blob}]}})

    assert talk.heard_kinds.count("response.output_audio.delta") == count


# --- how one is cancelled -------------------------------------------------------------------------


def test_nothing_to_cancel() -> None:
    """A response that was cancelled cannot be cancelled again."""
    talk = OpenAITalk.ready()
    talk.client("response.cancel", event_id="e_1")
    assert talk.error["code"] == "response_cancel_not_active"
    assert talk.error["event_id"] == "e_1"
    talk.forget()
    talk.client("response.create")
    talk.client("response.cancel")
    talk.client("response.cancel")
    assert talk.error["code"] == "response_cancel_not_active"


def test_the_next_response_is_asked_for_before_the_cancelled_one_has_ended() -> None:
    """What the model still says of the first one is dropped, and its end is not the second's."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.speak("One")
    talk.client("response.cancel")
    talk.client("response.create")
    talk.speak("two")
    talk.interrupt()
    talk.speak("Three")
    talk.end()

    first, second = talk.responses
    assert (first["status"], first["usage"]) == ("cancelled", None)
    assert (second["status"], second["usage"]["total_tokens"]) == ("completed", 30)
    assert talk.kept == [("assistant", "One"), ("assistant", "Three")]


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_response_that_is_cancelled_before_it_began(is_ended: bool) -> None:
    """Gemini may end it, or may never have begun it; the next one is heard in both cases."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.client("response.cancel")
    talk.client("response.create")
    if is_ended:
        talk.interrupt()
    talk.speak("Hello")
    talk.end()

    assert [response["status"] for response in talk.responses] == ["cancelled", "completed"]
    assert talk.kept == [("assistant", "Hello")]


def test_a_turn_whose_end_is_not_sent() -> None:
    """Behind an interruption another turn begins: the response of the first one is done."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Once")
    talk.provider(serverContent={"interrupted": True})
    talk.append()
    talk.speak("Well.")

    assert [response["status"] for response in talk.responses] == ["cancelled"]
    assert talk.heard_kinds.count("response.created") == 2


def test_functions_of_a_cancelled_turn_are_not_called() -> None:
    """The client does not want to know."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.speak("Hm")
    talk.client("response.cancel")
    talk.call(("call_1", "look"))
    talk.provider(toolCall={"functionCalls": [{"name": ""}, 1]})

    assert talk.kept == [("assistant", "Hm")]


@pytest.mark.parametrize("name", ["call_1", "function-call-12030392049393012345"])
def test_a_call_has_an_id_that_openai_allows(name: str) -> None:
    """Gemini's are longer than 32 characters, and livekit answers a longer one under its hash. The
    model is answered, and cancels, by its own.
    """
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call((name, "look"))
    call_id = talk.responses[0]["output"][0]["call_id"]
    assert len(call_id) <= 32
    talk.create_output(call_id, "1")
    talk.client("response.create")
    (answer,) = talk.told[-1]["toolResponse"]["functionResponses"]
    assert answer["id"] == name
    talk.call((name, "look"))
    talk.provider(toolCallCancellation={"ids": [name]})
    talk.forget()
    talk.create_output(call_id, "2")

    assert talk.told == []
