"""What a Gemini client's messages become for a provider of the OpenAI family."""

from typing import Any

import pytest
from support.translation import GeminiTalk

Message = dict[str, Any]

MANUAL = {"automaticActivityDetection": {"disabled": True}}
PCM_24K = "audio/pcm;rate=24000"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"clientContent": {}}, "clientContent: setup must be the first message."),
        (b"not JSON", "Invalid JSON payload received."),
        ({"setup": {"model": 1}}, "setup.model: found 1, expected a string."),
        (
            {"realtimeInput": {"audio": {"data": "AAAA", "mimeType": PCM_24K}}},
            "realtimeInput: setup must be the first message.",
        ),
    ],
)
def test_the_first_message_is_a_setup(message: Any, reason: str) -> None:
    """Anything else closes, as Gemini does it; what follows the close is not read."""
    talk = GeminiTalk()
    talk.client(message)
    assert talk.close is not None
    assert talk.close.code == 1007
    assert reason in talk.close.reason
    talk.client(setup={"model": "m"})
    talk.take(talk.translator.provider_opened())
    talk.provider("session.updated")
    talk.take(talk.translator.provider_closed())
    assert not talk.told
    assert not talk.heard


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"setup": {"model": "m"}}, "setup: it cannot be sent again."),
        ({"realtimeInput": {"audio": {"data": "AAAA", "mimeType": "audio/opus"}}}, "audio/opus"),
        ({"realtimeInput": {"audio": {"data": "A", "mimeType": PCM_24K}}}, "expected base64"),
        ({"realtimeInput": {"audio": {"data": 7, "mimeType": PCM_24K}}}, "realtimeInput.audio"),
        ({"realtimeInput": {"mediaChunks": [{"data": "AAAA"}]}}, "mediaChunks[0]"),
        ({"realtimeInput": {"video": {"data": "A", "mimeType": "image/png"}}}, "expected base64"),
        ({"realtimeInput": {"video": {"data": "A", "mimeType": "video/mp4"}}}, "video.mimeType"),
        ({"realtimeInput": {"activityStart": {}}}, "automatic detection is enabled"),
        ({"realtimeInput": {"activityEnd": {}}}, "automatic detection is enabled"),
        ({"realtimeInput": {"text": 1}}, "realtimeInput.text: found 1"),
        ({"clientContent": {"turns": [{"role": "system"}]}}, "turns[0].role: found 'system'"),
        ({"clientContent": {"turns": [{"parts": [{"functionCall": {}}]}]}}, "functionCall.name"),
        (
            {"clientContent": {"turns": [{"parts": [
                {"inlineData": {"mimeType": "audio/opus", "data": "AAAA"}}]}]}},
            "parts[0].inlineData",
        ),
        ({"toolResponse": {}}, "toolResponse.functionResponses: expected at least one."),
        ({"toolResponse": {"functionResponses": [{"name": "f"}]}}, "functionResponses[0].id"),
        (
            {"toolResponse": {"functionResponses": [{"id": "c", "response": "x"}]}},
            "functionResponses[0].response",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_served_closes(message: Message, reason: str) -> None:
    """The reason names the field, and the provider is sent nothing of the message."""
    talk = GeminiTalk.set_up()
    talk.client(message)
    assert talk.close is not None
    assert talk.close.code == 1007
    assert reason in talk.close.reason
    assert not talk.told


def test_the_setup_may_precede_the_provider() -> None:
    """The session waits for the provider's answer, also if no provider is there yet."""
    talk = GeminiTalk()
    talk.client(setup={"model": "m"})
    assert talk.translator.is_waiting
    assert not talk.told
    talk.provider("session.updated", session={})
    talk.take(talk.translator.provider_opened())
    assert talk.told_types == ["session.update"]
    assert not talk.heard
    talk.provider("session.created", session={})
    talk.provider("session.updated", session={})
    talk.provider("session.updated", session={})
    assert talk.heard == [{"setupComplete": {}}]
    assert not talk.translator.is_waiting


def test_a_connection_without_a_setup_is_told_nothing() -> None:
    """Nobody has said what the session is."""
    talk = GeminiTalk()
    talk.take(talk.translator.provider_opened())
    talk.reconnect()
    assert not talk.told
    assert not talk.heard
    assert not talk.translator.is_waiting


@pytest.mark.parametrize("name", ["audio", "mediaChunks", "media_chunks"])
def test_audio_of_sixteen_kilohertz_is_resampled(name: str) -> None:
    """Three bytes for two, but for the 2.5 ms that wait for what follows."""
    talk = GeminiTalk.set_up()
    blob = {"data": "AAAA" * 800, "mimeType": "audio/pcm;rate=16000"}
    talk.client(realtimeInput={name: [blob] if name != "audio" else blob})
    (append,) = talk.told
    assert len(append["audio"]) * 3 // 4 == pytest.approx(3600, abs=260)


def test_audio_at_the_providers_rate_is_passed_on_as_it_is() -> None:
    """In the alphabet that the provider reads; nothing is sent for nothing."""
    talk = GeminiTalk.set_up()
    for data in ("+/8A", "-_8A", ""):
        talk.client(realtimeInput={"audio": {"data": data, "mimeType": PCM_24K}})
    assert [message["audio"] for message in talk.told] == ["+/8A", "+/8A"]


def test_a_stream_that_names_its_rate_in_two_ways_is_one() -> None:
    """No rate is 16 kHz: what waits to be resampled is not lost between the two messages."""
    talk, other = GeminiTalk.set_up(), GeminiTalk.set_up()
    for number in range(2):
        data = "AAEC" * 400
        talk.client(realtimeInput={"audio": {"data": data, "mimeType": "audio/pcm;rate=16000"}})
        mime = ("audio/pcm", "audio/pcm;rate=16000")[number]
        other.client(realtimeInput={"audio": {"data": data, "mimeType": mime}})
    assert talk.told == other.told


def test_audio_that_is_no_text_is_refused() -> None:
    """Base64 is ASCII."""
    talk = GeminiTalk.set_up()
    message = '{"realtimeInput":{"audio":{"data":"ä","mimeType":"audio/pcm"}}}'
    talk.client(message.encode())
    assert talk.close is not None
    assert "expected base64" in talk.close.reason


def test_the_end_of_the_stream_is_silence() -> None:
    """The provider itself hears that the user has ended; no speech, no answer."""
    talk = GeminiTalk.set_up(
        realtimeInputConfig={"automaticActivityDetection": {"silenceDurationMs": 200}}
    )
    talk.client(realtimeInput={"audioStreamEnd": True})
    (append,) = talk.told
    assert len(append["audio"]) == 500 * 48 * 4 // 3


def test_the_end_of_the_stream_says_nothing_where_the_client_detects() -> None:
    """The activity's end says it."""
    talk = GeminiTalk.set_up(realtimeInputConfig=MANUAL)
    talk.client(realtimeInput={"audioStreamEnd": True})
    talk.client(realtimeInput={"activityEnd": {}})
    assert not talk.told


@pytest.mark.parametrize(
    ("handling", "types"),
    [
        ("START_OF_ACTIVITY_INTERRUPTS", ["response.cancel", "input_audio_buffer.clear"]),
        ("NO_INTERRUPTION", ["input_audio_buffer.clear"]),
    ],
)
def test_an_activity_interrupts_the_answer(handling: str, types: list[str]) -> None:
    """Unless the client forbids it."""
    talk = GeminiTalk.set_up(realtimeInputConfig={**MANUAL, "activityHandling": handling})
    talk.provider("response.created", response={"id": "resp_1"})
    talk.client(realtimeInput={"activityStart": {}})
    assert talk.told_types == types


def test_an_activity_without_audio_is_answered() -> None:
    """There may be images in it; nothing is committed."""
    talk = GeminiTalk.set_up(realtimeInputConfig=MANUAL)
    talk.client(realtimeInput={"activityStart": {}})
    talk.client(realtimeInput={"video": {"data": "AAAA", "mimeType": "image/jpeg"}})
    talk.client(realtimeInput={"activityEnd": {}})
    assert talk.told_types == [
        "input_audio_buffer.clear", "conversation.item.create", "response.create",
    ]  # fmt: skip


def test_an_activity_survives_its_connection() -> None:
    """The client goes on with it, and its end asks for an answer to what came since."""
    talk = GeminiTalk.set_up(realtimeInputConfig=MANUAL)
    talk.client(realtimeInput={"activityStart": {}})
    talk.reconnect()
    talk.provider("session.updated", session={})
    talk.forget()
    audio = {"data": "AAAA" * 2000, "mimeType": PCM_24K}
    talk.client(realtimeInput={"audio": audio})
    talk.client(realtimeInput={"activityEnd": {}})
    assert talk.told_types == [
        "input_audio_buffer.append", "input_audio_buffer.commit", "response.create",
    ]  # fmt: skip


def test_live_images_are_not_kept() -> None:
    """One a second would push all words out of the conversation."""
    talk = GeminiTalk.set_up()
    talk.client(realtimeInput={"video": {"data": "-_8A", "mimeType": "image/jpeg"}})
    part = {"type": "input_image", "image_url": "data:image/jpeg;base64,+/8A"}
    assert talk.told[0]["item"]["content"] == [part]
    assert not talk.translator.conversation.items


def test_an_initial_history_is_no_question() -> None:
    """Content up to the first complete turn is history, and interrupts nothing."""
    talk = GeminiTalk.set_up(historyConfig={"initialHistoryInClientContent": True})
    turn = {"role": "user", "parts": [{"text": "Hello"}]}
    talk.client(clientContent={"turns": [turn]})
    talk.client(clientContent={"turns": [turn], "turnComplete": True})
    assert "response.create" not in talk.told_types
    talk.client(clientContent={"turns": [turn], "turnComplete": True})
    assert talk.told_types[-1] == "response.create"


@pytest.mark.parametrize(
    ("model", "is_history"),
    [
        ("models/gemini-2.5-flash-native-audio-preview-12-2025", False),
        ("models/gemini-live-2.5-flash-native-audio", False),
        ("models/gemini-3.8-live", True),
        ("models/gemini-live-20", True),
    ],
)
def test_an_initial_history_of_a_model_that_answers_it(model: str, is_history: bool) -> None:
    """Gemini 2 does; pipecat asks it so for its first answer."""
    talk = GeminiTalk.set_up(model=model, historyConfig={"initialHistoryInClientContent": True})
    turn = {"role": "user", "parts": [{"text": "Hello"}]}
    talk.client(clientContent={"turns": [turn], "turnComplete": True})

    assert ("response.create" not in talk.told_types) == is_history


def test_parts_that_no_item_can_hold_are_named() -> None:
    """What the model drew, documents, and thoughts: the rest of the turn is taken."""
    talk = GeminiTalk.set_up()
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    document = {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}
    parts = [image, document, {"executableCode": {}}, {"text": "Hm", "thought": True}, {"text": ""}]
    talk.client(
        clientContent={"turns": [{"role": "model", "parts": parts}, {"parts": [document]}, {}]}
    )
    assert not talk.told
    assert sorted(set(talk.ignored)) == [
        "clientContent.turns.parts.executableCode",
        "clientContent.turns.parts.inlineData",
        "clientContent.turns.parts.inlineData.data",
    ]


def test_audio_in_content() -> None:
    """It becomes audio of the session's format, in its place between the words."""
    talk = GeminiTalk.set_up()
    audio = {"inlineData": {"mimeType": "audio/pcm;rate=16000", "data": "AAAA" * 8}}
    parts = [{"text": "Listen:"}, audio, {"text": "Well?"}]
    talk.client(clientContent={"turns": [{"parts": parts}], "turnComplete": True})
    content = talk.told[0]["item"]["content"]
    assert [part["type"] for part in content] == ["input_text", "input_audio", "input_text"]
    assert len(content[1]["audio"]) == 48
    (item,) = talk.translator.conversation.items
    assert "audio" not in item["content"][1]


def test_words_around_a_call_stay_in_order() -> None:
    """A message ends where a call stands."""
    talk = GeminiTalk.set_up()
    parts = [{"text": "I look."}, {"functionCall": {"id": "c", "name": "f"}}, {"text": "Done."}]
    talk.client(clientContent={"turns": [{"role": "model", "parts": parts}]})
    items = [message["item"] for message in talk.told]
    assert [item["type"] for item in items] == ["message", "function_call", "message"]
    assert items[1]["arguments"] == "{}"
    assert not talk.translator.is_answering


def test_an_answer_without_an_id_answers_the_oldest_call_of_its_name() -> None:
    """Clients of Vertex AI name no ids."""
    talk = GeminiTalk.set_up()
    talk.provider("response.created", response={"id": "resp_1"})
    call = {"type": "function_call", "name": "f", "arguments": "no JSON"}
    output = [{**call, "id": f"i{n}", "call_id": f"c{n}"} for n in range(2)]
    talk.answer(output=[*output, {"type": "function_call"}, {"type": "message"}])
    assert [call["args"] for call in talk.heard[0]["toolCall"]["functionCalls"]] == [{}, {}]
    for _ in range(2):
        talk.client(toolResponse={"functionResponses": {"name": "f", "response": {}}})
    items = [m["item"] for m in talk.told if "item" in m]
    assert [item["call_id"] for item in items] == ["c0", "c1"]
    assert talk.told_types[-1] == "response.create"


def test_the_context_is_updated() -> None:
    """Instructions and tools change, and nothing else; another connection has them, too."""
    talk = GeminiTalk.set_up(systemInstruction="Be kind.")
    talk.client(contextUpdate={"systemInstruction": {"parts": [{"text": "Be brief."}]}})
    talk.client(contextUpdate={})
    talk.provider("session.updated", session={})
    assert [message["session"] for message in talk.told] == [
        {"type": "realtime", "instructions": "Be brief."}
    ]
    talk.reconnect()
    assert talk.told[-1]["session"]["instructions"] == "Be brief."
    assert not talk.heard
