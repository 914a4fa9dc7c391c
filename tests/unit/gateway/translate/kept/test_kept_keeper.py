"""A conversation that is kept: what is told another provider, and what the client hears of it."""

from typing import Any

import pytest

from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeper import Keeper
from tests.support.kept_talk import KeptTalk

Event = dict[str, Any]
MANUAL = {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}}


def kinds(events: list[Event]) -> list[str]:
    """Their types."""
    return [event["type"] for event in events]


def talking(**of_provider: Any) -> KeptTalk:
    """A session whose client knows of it."""
    talk = KeptTalk(**of_provider)
    talk.rest()
    return talk


def test_nothing_is_between_two_turns_that_waits_for_an_answer() -> None:
    """What is said, asked or answered is a turn; so is speech that was sent and not committed,
    where the client says when a turn is over.
    """
    talk = talking()
    talk.keeper.client_spoke()
    assert not talk.keeper.is_answering
    talk.client("session.update", session=MANUAL["session"])
    talk.rest()
    assert talk.keeper.is_answering
    talk.client("input_audio_buffer.commit")
    talk.rest()
    assert not talk.keeper.is_answering
    talk.ask()
    assert talk.keeper.is_answering
    talk.rest()
    assert not talk.keeper.is_answering


def test_while_a_turn_is_committed_and_not_transcribed_it_is_not_over() -> None:
    """The provider is about to answer."""
    talk = talking(transcribes=False)
    talk.provider.speech_starts()
    talk.deliver()
    assert talk.keeper.is_answering
    talk.provider.speech_stops()
    while talk.provider.saying:
        talk.deliver()
        assert talk.keeper.is_answering


def test_a_client_hears_that_its_audio_is_lost() -> None:
    """Without turn detection nobody else would say so."""
    talk = talking()
    talk.client("session.update", session=MANUAL["session"])
    talk.rest()
    talk.keeper.client_spoke()
    talk.cut()
    assert kinds(talk.heard)[-1] == "input_audio_buffer.cleared"


def test_an_item_stands_where_the_client_put_it() -> None:
    """At the next provider, too."""
    talk = talking()
    talk.write(is_named=True)
    talk.rest()
    talk.write(after=0)
    talk.rest()
    talk.write(after=1)
    talk.rest()
    before = talk.provider.texts
    talk.cut()
    talk.rest()
    assert talk.provider.texts == before == ["said-2-end ", "said-3-end ", "said-1-end "]


def test_a_truncation_that_was_not_answered_is() -> None:
    """What is told again is text, of which nothing can be cut off."""
    talk = talking()
    talk.ask()
    talk.rest()
    talk.about_item("truncate", 0)
    talk.cut()
    assert kinds(talk.heard)[-1] == "conversation.item.truncated"
    talk.rest()
    item_id = talk.heard[-1]["item_id"]
    answer = talk.keeper.client_said(
        {"type": "conversation.item.truncate", "item_id": item_id}, b""
    )
    assert answer is not None
    assert answer["item_id"] == item_id


def test_a_client_that_asks_after_a_cut_is_answered_behind_what_is_asked_again() -> None:
    """It does not hear that the provider is busy with what it did not ask for twice."""
    talk = talking()
    talk.ask()
    talk.provider.read()
    talk.deliver()
    talk.cut()
    assert kinds(talk.heard)[-1] == "response.done"
    talk.ask()
    talk.rest()
    assert talk.problems() == []
    assert "error" not in kinds(talk.heard)
    done = [event["response"] for event in talk.heard if event["type"] == "response.done"]
    assert [response["status"] for response in done] == ["cancelled", "completed", "completed"]


def test_the_last_words_of_xai_count() -> None:
    """It says several times what it understood."""
    talk = talking(is_xai=True)
    talk.provider.speech_starts()
    talk.provider.speech_stops()
    talk.rest()
    talk.cut()
    talk.rest()
    assert talk.provider.texts[0].startswith("spoken-item_")


def test_what_is_beside_the_conversation_is_not_told() -> None:
    """It never was part of it."""
    talk = talking()
    talk.ask(is_beside=True)
    talk.rest()
    talk.cut()
    talk.rest()
    assert talk.provider.texts == []


@pytest.mark.parametrize("is_first", [True, False])
def test_names_are_exchanged_at_another_provider_only(is_first: bool) -> None:
    """So long as the first one stays, what it says goes on as it came."""
    keeper = Keeper(seed="5eed")
    keeper.opened()
    keeper.provider_opened()
    created = {"type": "session.created", "session": {"id": "one", "model": "m"}}
    assert keeper.provider_said(created) is created
    if not is_first:
        keeper.provider_closed()
        keeper.provider_opened()
        assert keeper.provider_said({**created, "session": {"id": "two"}}) is None
    updated = {"type": "session.updated", "session": {"id": "two"}}
    said = keeper.provider_said(updated)
    assert (said is updated) is is_first
    assert said is not None
    assert said["session"]["id"] == ("two" if is_first else "one")


def test_xai_tells_a_client_of_one_conversation() -> None:
    """That of its first connection, even where nothing was said there."""
    keeper = Keeper(seed="5eed")
    keeper.opened()
    told = []
    for _ in range(2):
        keeper.provider_opened()
        told += [
            keeper.provider_said({"type": kind, "session": {}})
            for kind in ("session.created", "conversation.created")
        ]
        keeper.provider_closed()
    assert [event is None for event in told] == [False, False, True, True]


OWN = {
    "instructions": "Be brief.",
    "audio": {
        "input": {"transcription": {"model": "our-transcriber"}},
        "output": {"voice": "our-voice"},
    },
}
MOVED = [
    # where the session goes; whether it is told the client's own words
    (["azure-us"], True),
    (["azure"], True),
    (["azure-us", "azure-eu"], True),
    (["openai-2"], False),
    (["openai-2", "azure-us"], False),
]


@pytest.mark.parametrize(("way", "is_own"), MOVED)
def test_another_provider_of_the_kind_is_told_what_the_client_configured(
    way: list[str], is_own: bool
) -> None:
    """Word for word, with its transcriber and its voice: one of another kind may know neither."""
    keeper = Keeper(seed="s", home="azure-eu", conversation=Conversation(session={**OWN}))
    keeper.provider_opened()
    for provider in way:
        keeper.provider_closed()
        keeper.moved_to(provider)
    (told, *_) = keeper.provider_opened()
    assert isinstance(told, dict)
    audio = told["session"]["audio"]
    assert told["session"]["instructions"] == "Be brief."
    assert (audio["input"]["transcription"]["model"] == "our-transcriber") is is_own
    assert (audio.get("output", {}).get("voice") == "our-voice") is is_own


@pytest.mark.parametrize(
    ("end", "is_early"), [("failed", False), ("failed", True), ("completed", False)]
)
def test_speech_that_was_not_transcribed_is_not_answered_elsewhere(
    end: str, is_early: bool
) -> None:
    """The next provider would answer what was said before it once more."""
    keeper = Keeper(seed="5eed")
    transcription = {
        "type": f"conversation.item.input_audio_transcription.{end}", "item_id": "item",
        "transcript": "",
    }  # fmt: skip
    speech = {"type": "input_audio", "transcript": None}
    item = {"id": "item", "type": "message", "role": "user", "content": [speech]}
    created = {"type": "response.created", "response": {"id": "r", "conversation_id": "c"}}
    events: list[Event] = [
        {"type": "input_audio_buffer.speech_started", "item_id": "item"},
        {"type": "input_audio_buffer.committed", "item_id": "item"},
        {"type": "conversation.item.added", "item": item},
        {"type": "conversation.item.done", "item": item},
        *((transcription, created) if is_early else (created, transcription)),
    ]
    for event in events:
        keeper.provider_said(event)
    assert kinds(keeper.provider_closed()) == ["response.done"]
    assert keeper.provider_opened() == []


def test_items_are_done_where_the_provider_says_so() -> None:
    """xAI does not, and OpenAI, to which the session moves, does."""
    keeper = Keeper(seed="5eed", home="xai")
    keeper.provider_opened()
    keeper.provider_said({"type": "session.created", "session": {"id": "s"}})
    keeper.provider_said({"type": "conversation.created", "conversation": {"id": "c"}})
    keeper.provider_closed()
    keeper.moved_to("openai")
    keeper.provider_opened()
    keeper.provider_said({"type": "input_audio_buffer.committed", "item_id": "item"})
    kind = ["conversation.item.added", "conversation.item.done"]
    assert kinds(keeper.provider_closed()) == kind


def test_what_is_asked_again_waits_for_what_was_asked_since() -> None:
    """A question beside the conversation is told behind one that was not answered yet, and refused,
    as the provider is busy with that. It does not say which one it refuses.
    """
    talk = talking(is_xai=True)
    talk.ask(is_beside=True)
    talk.provider.read()
    talk.ask()
    talk.deliver()
    talk.cut()
    talk.rest()
    assert talk.problems() == []
    asked = [x["response"]["metadata"]["ask"] for x in talk.heard if x["type"] == "response.done"]
    assert asked == ["ask-1-end", "ask-2-end", "ask-1-end"]
