"""What a client may do with items: those that are kept, and the one that is being said."""

import pytest

from tests.support.translation_to_gemini import OpenAITalk


def said() -> tuple[OpenAITalk, str]:
    """A session whose model is in the middle of its answer, and that answer's id."""
    talk = OpenAITalk.ready()
    talk.create_message("Hello", id="item_user")
    talk.client("response.create")
    talk.speak("Good")
    item_id: str = talk.only("response.output_item.added")["item"]["id"]
    talk.forget()
    return talk, item_id


def test_an_item_that_is_being_said_can_be_retrieved() -> None:
    """With what was said of it so far; openai-agents asks for it when an answer was cut."""
    talk, item_id = said()
    talk.client("conversation.item.retrieve", item_id=item_id)
    item = talk.only("conversation.item.retrieved")["item"]
    assert (item["id"], item["role"], item["status"]) == (item_id, "assistant", "in_progress")
    assert item["content"] == [{"type": "output_audio", "transcript": "Good"}]
    talk.speak(" morning")
    talk.end()
    talk.forget()
    talk.client("conversation.item.retrieve", item_id=item_id)
    item = talk.only("conversation.item.retrieved")["item"]
    assert item["status"] == "completed"
    assert item["content"] == [{"type": "output_audio", "transcript": "Good morning"}]


@pytest.mark.parametrize("is_over", [False, True])
def test_an_answer_can_be_truncated(is_over: bool) -> None:
    """While it is said, and later, as the client plays it more slowly than it is made."""
    talk, item_id = said()
    if is_over:
        talk.interrupt()
        talk.forget()
    place = {"item_id": item_id, "content_index": 0, "audio_end_ms": 10}
    talk.client("conversation.item.truncate", **place)
    truncated = talk.only("conversation.item.truncated")
    assert {name: truncated[name] for name in place} == place
    assert talk.told == []


def test_what_the_user_said_is_not_truncated() -> None:
    """Only the model is interrupted."""
    talk, _ = said()
    talk.client("conversation.item.truncate", item_id="item_user", content_index=0, audio_end_ms=10)
    assert talk.error["param"] == "item_id"
    assert "assistant" in talk.error["message"]


def test_a_kept_item_can_be_deleted_once() -> None:
    """What the provider was told of it, it does not forget."""
    talk, _ = said()
    talk.client("conversation.item.delete", item_id="item_user")
    assert talk.only("conversation.item.deleted")["item_id"] == "item_user"
    assert talk.ignored == ["conversation.item.delete"]
    talk.client("conversation.item.delete", item_id="item_user")
    assert talk.error["code"] == "invalid_value"


def test_an_item_that_waits_is_not_told_once_it_is_deleted() -> None:
    """It was created, and nothing was asked since."""
    talk = OpenAITalk.ready()
    talk.create_message("Not this", id="item_a")
    talk.create_message("But this", id="item_b")
    talk.client("conversation.item.delete", item_id="item_a")
    talk.client("response.create")
    assert talk.ignored == []
    (content,) = (message["clientContent"] for message in talk.told)
    assert content["turns"] == [{"role": "user", "parts": [{"text": "But this"}]}]


def test_an_item_that_is_being_said_cannot_be_deleted() -> None:
    """It would be there again when it is complete."""
    talk, item_id = said()
    talk.client("conversation.item.delete", item_id=item_id)
    assert talk.error["param"] == "item_id"


@pytest.mark.parametrize("kind", ["retrieve", "delete", "truncate"])
def test_an_unknown_item_is_named_in_the_error(kind: str) -> None:
    """So that its client finds the mistake."""
    talk, _ = said()
    talk.client(f"conversation.item.{kind}", item_id="none", content_index=0, audio_end_ms=1)
    assert talk.error["param"] == "item_id"
    assert "'none'" in talk.error["message"]
