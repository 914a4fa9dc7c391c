"""The provider's connection: what waits for it, what it is told, and what happens without it."""

import pytest
from msgspec import json

from gateway.translate.base import Renewal
from gateway.translate.conversation import Conversation
from gateway.translate.to_gemini.link import LINKS, WAITS, Link, Step
from gateway.translate.to_gemini.turn import CANCELLED_TURNS, TURNS, Turn, TurnEvent, moved
from tests.support.translation_to_gemini import OpenAITalk


def reconnect(talk: OpenAITalk) -> None:
    """Another provider takes the place of this one, and accepts the setup."""
    talk.disconnect()
    talk.connect()
    talk.provider(setupComplete={})


def resumable() -> OpenAITalk:
    """The user has said one thing, the model another, and the provider has issued a handle."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"text": "One"}})
    talk.speak("Two")
    talk.end()
    talk.provider(sessionResumptionUpdate={"newHandle": "h1", "resumable": True})
    return talk


def test_the_client_hears_of_its_session_before_a_provider_is_there() -> None:
    """Clients wait for it before they configure."""
    talk = OpenAITalk()

    assert talk.heard_kinds == ["session.created"]
    session = talk.heard[0]["session"]
    assert session["model"] == "gemini-2.5-flash-native-audio"
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert not talk.translator.is_waiting


def test_the_setup_waits_for_the_clients_configuration() -> None:
    """Gemini takes one setup, so it is not sent before the client has said what it wants."""
    talk = OpenAITalk()
    talk.connect()
    assert talk.told == []
    talk.client("session.update", session={"type": "realtime", "instructions": "Be kind."})
    assert talk.told_kinds == ["setup"]
    assert talk.translator.is_waiting
    assert talk.heard_kinds == ["session.created"]
    talk.provider(setupComplete={})

    assert talk.heard_kinds == ["session.created", "session.updated"]
    assert not talk.translator.is_waiting


def test_a_client_that_configures_first_waits_for_the_provider() -> None:
    """The setup is the first thing that the provider hears."""
    talk = OpenAITalk()
    talk.client("session.update", session={"type": "realtime"})
    assert talk.translator.is_waiting
    talk.connect()
    assert talk.told_kinds == ["setup"]


@pytest.mark.parametrize("is_connected", [True, False])
def test_what_needs_the_provider_waits_behind_a_default_setup(is_connected: bool) -> None:
    """Audio that comes before a configuration is told once the setup is accepted."""
    talk = OpenAITalk()
    if is_connected:
        talk.connect()
    talk.append()
    assert talk.translator.is_waiting
    talk.append()
    if not is_connected:
        talk.connect()
    assert talk.told_kinds == ["setup"]
    talk.provider(setupComplete={"sessionId": "s"})

    assert talk.told_kinds == ["setup", "audio", "audio"]


def test_a_held_update_that_takes_another_connection_holds_the_rest() -> None:
    """What came behind it is told to the other connection."""
    talk = OpenAITalk()
    talk.connect()
    talk.append()
    talk.client("session.update", session={"type": "realtime", "max_output_tokens": 50})
    talk.append()
    talk.provider(setupComplete={})
    assert talk.renewals == [Renewal.NOW]
    assert talk.told_kinds == ["setup", "audio"]
    talk.forget()
    reconnect(talk)

    assert talk.told_kinds == ["setup", "audio"]
    assert talk.heard_kinds == ["session.updated"]


def test_what_needs_no_provider_does_not_wait_for_one() -> None:
    """Items are kept until they are asked for."""
    talk = OpenAITalk()
    talk.create_message("Hello")
    talk.client("input_audio_buffer.clear")
    talk.client("input_audio_buffer.commit")

    assert talk.heard_kinds == [
        "session.created", "conversation.item.added", "conversation.item.done",
        "input_audio_buffer.cleared", "error",
    ]  # fmt: skip
    assert talk.error["code"] == "input_audio_buffer_commit_empty"


def test_a_provider_that_goes_away_is_replaced_between_turns() -> None:
    """At once where no response is open."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Once")
    talk.provider(goAway={"timeLeft": "50s"})
    talk.end()
    talk.provider(goAway={"timeLeft": "10s"})

    assert talk.renewals == [Renewal.BETWEEN_TURNS, Renewal.NOW]
    assert talk.translator.is_waiting
    talk.speak("Too late.")
    assert talk.ignored == ["serverContent", "serverContent"]


def test_another_connection_is_told_what_was_said() -> None:
    """Once, with calls and their outputs, and not what waits to be asked for."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"text": "Look"}})
    talk.call(("call_1", "look"))
    talk.create_output("call_1", '{"seen": 3}')
    talk.speak("Three.")
    talk.end()
    talk.create_message("And now?")
    talk.forget()
    reconnect(talk)

    turns = talk.told[1]["clientContent"]
    assert turns == {
        "turns": [
            {"role": "user", "parts": [{"text": "Look"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"a": 1}}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "look", "response": {"seen": 3}}}],
            },
            {"role": "model", "parts": [{"text": "Three."}]},
        ],
        "turnComplete": False,
    }
    talk.client("response.create")
    asked = {"turns": [{"role": "user", "parts": [{"text": "And now?"}]}], "turnComplete": True}
    assert talk.told[2:] == [{"clientContent": asked}]


def test_a_session_that_is_resumed_is_told_only_what_came_after_the_handle() -> None:
    """The provider remembers the rest."""
    talk = resumable()
    talk.provider(sessionResumptionUpdate={"resumable": False})
    talk.append()
    talk.provider(serverContent={"inputTranscription": {"text": "Three"}})
    talk.speak("Four")
    talk.forget()
    reconnect(talk)

    assert talk.told[0]["setup"]["sessionResumption"] == {"handle": "h1"}
    assert talk.told[1]["clientContent"]["turns"] == [
        {"role": "user", "parts": [{"text": "Three"}]},
        {"role": "model", "parts": [{"text": "Four"}]},
    ]


def test_a_handle_that_was_issued_before_the_rest_was_told_does_not_hold_it() -> None:
    """The provider offers a handle as soon as it has resumed a session, when what it does not know
    of the conversation is on its way. If it drops before it has answered, that is told again.
    """
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.speak("One")
    talk.end()
    talk.provider(sessionResumptionUpdate={"newHandle": "h1", "resumable": True})
    talk.create_message("Two")
    talk.client("response.create")
    reconnect(talk)
    talk.provider(sessionResumptionUpdate={"newHandle": "h2", "resumable": True})
    talk.forget()
    reconnect(talk)

    assert talk.told[0]["setup"]["sessionResumption"] == {"handle": "h2"}
    assert talk.told[1]["clientContent"]["turns"] == [{"role": "user", "parts": [{"text": "Two"}]}]
    talk.client("response.create")
    talk.speak("Three")
    talk.end()
    talk.provider(sessionResumptionUpdate={"newHandle": "h3", "resumable": True})
    talk.forget()
    reconnect(talk)
    assert talk.told_kinds == ["setup"]


def test_a_handle_that_is_refused_is_not_used_again() -> None:
    """The provider closes before it accepts the setup; then everything is told."""
    talk = resumable()
    talk.disconnect()
    talk.connect()
    talk.forget()
    reconnect(talk)

    assert talk.told[0]["setup"]["sessionResumption"] == {}
    assert len(talk.told[1]["clientContent"]["turns"]) == 2


def test_what_is_open_when_the_provider_is_gone_is_closed() -> None:
    """The client can go on; no reason of OpenAI's says what happened."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Once")
    talk.disconnect()

    (response,) = talk.responses
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": None}
    assert response["usage"] is None
    assert response["output"][0]["status"] == "incomplete"
    assert not talk.translator.is_answering


def test_a_call_is_told_to_another_connection_together_with_its_output() -> None:
    """The model there has not called anything, so it is content, and asked for by the client."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    reconnect(talk)
    talk.forget()
    talk.create_output("call_1", "three")
    talk.client("response.create")

    assert talk.told == [
        {
            "clientContent": {
                "turns": [
                    {
                        "role": "model",
                        "parts": [{"functionCall": {"name": "look", "args": {"a": 1}}}],
                    },
                    {
                        "role": "user",
                        "parts": [
                            {"functionResponse": {"name": "look", "response": {"output": "three"}}}
                        ],
                    },
                ],
                "turnComplete": True,
            }
        }
    ]


def test_outputs_that_wait_for_the_question_are_told_to_another_connection() -> None:
    """Also where a handle brings back the conversation of a turn that ended meanwhile."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.create_output("call_1", "three")
    talk.end()
    talk.provider(sessionResumptionUpdate={"newHandle": "h1", "resumable": True})
    talk.forget()
    reconnect(talk)
    told = talk.told[-1]["clientContent"]
    assert told["turnComplete"] is False
    assert told["turns"][-1]["parts"][-1]["functionResponse"]["response"] == {"output": "three"}
    talk.client("response.create")

    assert talk.told[-1] == {"clientContent": {"turnComplete": True}}


def test_outputs_that_a_lost_connection_had_are_asked_for_again() -> None:
    """They are told as content, and the client's question needs no other one."""
    talk = OpenAITalk.ready()
    talk.client("response.create")
    talk.call(("call_1", "look"))
    talk.create_output("call_1", "three")
    reconnect(talk)
    talk.forget()
    talk.client("response.create")

    assert talk.told == [{"clientContent": {"turnComplete": True}}]


def test_audio_after_a_lost_connection_begins_an_activity_again() -> None:
    """The other connection does not know of the first one's."""
    talk = OpenAITalk.manual()
    talk.append()
    reconnect(talk)
    talk.forget()
    talk.append()

    assert talk.told_kinds == ["activityStart", "audio"]


def test_speech_that_the_lost_provider_had_is_cleared() -> None:
    """The client hears so, and what it commits then is an empty buffer; else it would wait for an
    answer to what nobody has heard.
    """
    talk = OpenAITalk.manual()
    talk.append()
    talk.forget()
    reconnect(talk)
    assert talk.heard_kinds == ["input_audio_buffer.cleared"]
    talk.client("input_audio_buffer.commit")
    assert talk.heard[-1]["error"]["code"] == "input_audio_buffer_commit_empty"

    talk = OpenAITalk.detected()
    talk.append()
    reconnect(talk)
    assert "input_audio_buffer.cleared" not in talk.heard_kinds
    talk.provider(serverContent={"inputTranscription": {"text": "Well"}})
    reconnect(talk)
    assert "input_audio_buffer.cleared" not in talk.heard_kinds  # it was not told of the speech yet
    talk.provider(serverContent={"inputTranscription": {"text": "Well"}})
    talk.append(2)
    reconnect(talk)
    assert talk.heard_kinds[-1] == "input_audio_buffer.cleared"


def test_what_the_provider_hears_of_the_user_is_a_turn() -> None:
    """No connection is replaced on purpose that has a part of it."""
    talk = OpenAITalk.detected()
    talk.append()
    assert not talk.translator.is_answering
    talk.provider(serverContent={"inputTranscription": {"text": "Well"}})
    assert talk.translator.is_answering
    talk.provider(serverContent={"outputTranscription": {"text": "Yes?"}})
    talk.end()
    assert not talk.translator.is_answering


def test_a_question_is_asked_again_as_it_was() -> None:
    """With its instructions, which are no item; also a provider of another protocol."""
    talk = OpenAITalk.ready()
    greeting = {"instructions": "Say bonjour.", "metadata": {"topic": "greeting"}}
    talk.client("response.create", response=greeting)
    asked = talk.told[-1]
    talk.forget()
    reconnect(talk)
    assert talk.told[-1] == asked
    assert asked["clientContent"]["turns"][0]["parts"] == [{"text": "Say bonjour."}]

    talk.disconnect()
    (again,) = talk.translator.leave().unanswered
    assert json.decode(again) == {"type": "response.create", "response": greeting}


def test_a_conversation_of_another_provider_is_continued() -> None:
    """Its session is kept as far as Gemini has words for it, and everything said is told."""
    session = {
        "model": "gpt-realtime", "instructions": "Be kind.", "prompt": {"id": "p"},
        "audio": {"output": {"voice": "marin"}},
    }  # fmt: skip
    items = [
        {
            "id": "a", "type": "message", "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": "https://example.com/a.png"},
            ],
        },
        {"id": "b", "type": "message", "role": "user",
         "content": [{"type": "input_audio", "transcript": "Tell me."}]},
        {"id": "c", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"id": "d", "type": "function_call_output", "call_id": "c1", "output": "{}"},
        {"id": "e", "type": "function_call_output", "call_id": "old", "output": "{}"},
        {"id": "f", "type": "function_call", "call_id": "c2", "name": "g", "arguments": "no"},
    ]  # fmt: skip
    talk = OpenAITalk(conversation=Conversation(session=session, items=items))
    assert talk.translator.is_waiting
    talk.connect()
    talk.provider(setupComplete={})
    talk.create_output("c2", "[]")
    talk.client("response.create")

    setup, history, question = talk.told
    assert setup["setup"]["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    assert talk.translator.conversation.session["prompt"] is None
    assert [turn["parts"] for turn in history["clientContent"]["turns"]] == [
        [{"text": "Tell me."}],
        [{"functionCall": {"name": "f", "args": {}}}],
        [{"functionResponse": {"name": "f", "response": {}}}],
    ]
    assert [turn["parts"] for turn in question["clientContent"]["turns"]] == [
        [{"functionCall": {"name": "g", "args": {}}}],
        [{"functionResponse": {"name": "g", "response": {"output": "[]"}}}],
    ]
    assert talk.heard[0]["previous_item_id"] == "f"


def test_a_new_client_continues_a_conversation() -> None:
    """It hears its own session, configures it, and the provider is set up once, with both; then it
    is told what was said before.
    """
    session = {"instructions": "Be kind.", "audio": {"output": {"voice": "marin"}}}
    content = [{"type": "input_text", "text": "What is it?"}]
    items = [{"id": "a", "type": "message", "role": "user", "content": content}]
    talk = OpenAITalk(conversation=Conversation(session=session, items=items))
    talk.take(talk.translator.opened())
    assert not talk.translator.is_waiting
    talk.connect()
    assert talk.told == []
    talk.client("session.update", session={"type": "realtime", "instructions": "Be brief."})
    talk.provider(setupComplete={})

    created, updated = talk.heard
    assert created["type"] == "session.created"
    assert created["session"]["instructions"] == "Be kind."
    assert updated["session"]["instructions"] == "Be brief."
    assert updated["session"]["audio"]["output"]["voice"] == "marin"
    setup, history = talk.told
    assert setup["setup"]["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert history["clientContent"]["turns"][0]["parts"] == [{"text": "What is it?"}]
    assert talk.renewals == []


def test_a_translator_knows_nothing_but_messages() -> None:
    """The same messages have the same answers."""
    talks = [OpenAITalk.detected(), OpenAITalk.detected()]
    for talk in talks:
        talk.append()
        talk.speak("Hello")
        talk.end()

    assert json.encode(talks[0].heard) == json.encode(talks[1].heard)


def test_every_state_of_the_connection_is_in_the_table() -> None:
    """Where a client waits, something will end that."""
    assert set(LINKS) == set(Link)
    for link in WAITS:
        assert {Step.OPENED, Step.ACCEPTED, Step.CLOSED} & set(LINKS[link])


@pytest.mark.parametrize("turn", Turn)
def test_every_turn_ends(turn: Turn) -> None:
    """Whatever it was, ``turnComplete`` ends it; what is cancelled stays so until then."""
    assert set(TURNS) == set(Turn)
    assert moved(turn, TurnEvent.ENDED) is Turn.IDLE
    if turn in (Turn.IDLE, Turn.SPEAKING):
        assert moved(turn, TurnEvent.CANCELLED) in CANCELLED_TURNS


def test_each_setting_of_another_provider_is_adopted_by_itself() -> None:
    """What Gemini has no word for takes nothing else with it, least of all the audio's format; the
    next provider of OpenAI's protocol is told all of it, but for what the client has changed.
    """
    function = {"type": "function", "name": "look", "parameters": {}}
    given = {
        "type": "realtime", "instructions": "Be kind.", "tool_choice": "required",
        "tools": [{"type": "mcp", "server_label": "s"}, function],
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "turn_detection": {
                    "create_response": False, "silence_duration_ms": 900, "type": "server_vad",
                },
            },
            "output": {"speed": 1.5, "voice": {"id": "voice_1"}},
        },
    }  # fmt: skip
    talk = OpenAITalk(conversation=Conversation(session=given))
    talk.connect()
    talk.provider(setupComplete={})
    session = talk.translator.conversation.session
    assert session["tools"] == [function]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 900
    assert session["audio"]["input"]["turn_detection"]["create_response"] is True
    assert session["audio"]["output"]["voice"] == "alloy"
    assert talk.ignored == [
        "session.tool_choice", "session.tools[0]",
        "session.audio.input.turn_detection.create_response",
        "session.audio.output.speed", "session.audio.output.voice",
    ]  # fmt: skip

    hearing = {"turn_detection": {"type": "server_vad", "threshold": 0.9}, "transcription": {}}
    change = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": hearing}}
    talk.client("session.update", session=change)
    talk.disconnect()
    talk.translator.leave()
    back = talk.translator.conversation.session
    detection = back["audio"]["input"].pop("turn_detection")
    assert (detection["create_response"], detection["threshold"]) == (False, 0.9)
    assert back == {
        **given, "instructions": "Be brief.",
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}, "transcription": {}},
            "output": given["audio"]["output"],
        },
    }  # fmt: skip
