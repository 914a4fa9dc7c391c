"""A keeper whose provider goes on with the conversation by itself, as xAI does."""

from typing import Any

import pytest
from msgspec import json

from gateway.translate.kept.keeper import Keeper
from gateway.translate.resumption import HEARD_OF_MAX

Event = dict[str, Any]
ENABLED = {"resumption": {"enabled": True}}


class Talk:
    """A client at xAI. ``due`` is what xAI was told beside what the client said."""

    def __init__(self, *, named: str = "", session: Event | None = None) -> None:
        self.keeper = Keeper(seed="5eed", named=named)
        self.due: list[Event] = []
        self.keeper.opened()
        self.greet(named or "conv_1")
        if session is None:
            self.client("session.update", session=ENABLED)
            self.xai("session.updated", session=ENABLED)
        self.due.clear()

    def greet(self, name: str) -> None:
        """Another connection, to the conversation ``name``."""
        self._note(self.keeper.provider_opened())
        self.xai("session.created", session={"id": "s"})
        self.xai("conversation.created", conversation={"id": name})

    def client(self, kind: str, **fields: Any) -> None:
        """The client says something."""
        event = {"type": kind, **fields}
        self.keeper.client_said(event, json.encode(event))

    def xai(self, kind: str, **fields: Any) -> Event | None:
        """xAI says something: what the client hears."""
        said = self.keeper.provider_said({"type": kind, **fields})
        self._note(self.keeper.take_due())
        return said

    def added(self, item: Event) -> Event | None:
        """An item is added."""
        return self.xai("conversation.item.added", item=item)

    def cut(self) -> None:
        """The connection is gone."""
        self.keeper.provider_closed()

    @property
    def told(self) -> list[tuple[str, str]]:
        """What xAI was told: the type, and the item."""
        return [(x["type"], x.get("item", {}).get("id") or x.get("item_id", "")) for x in self.due]

    def _note(self, told: Any) -> None:
        self.due += [json.decode(x) if isinstance(x, bytes) else x for x in told]


def said(name: str, role: str = "user") -> Event:
    """A message."""
    return {
        "id": name, "type": "message", "role": role, "status": "completed",
        "content": [{"type": "input_text", "text": f"words of {name}"}],
    }  # fmt: skip


def test_the_client_waits_and_hears_nothing_of_what_it_knows() -> None:
    """The configuration is told, and the end of what is replayed is its answer."""
    talk = Talk()
    talk.added(said("a"))
    talk.cut()
    talk.greet("conv_1")
    assert talk.keeper.is_waiting
    assert talk.keeper.is_answering
    assert talk.due[0]["session"] == {"type": "realtime", **ENABLED}
    assert talk.added(said("a")) is None
    transcribed = "conversation.item.input_audio_transcription.completed"
    assert talk.xai(transcribed, item_id="a", transcript="words of a") is None
    assert talk.xai("session.updated", session=ENABLED) is None
    assert not talk.keeper.is_waiting
    assert talk.told == [("session.update", "")]


def test_what_was_on_its_way_is_told_or_answered() -> None:
    """xAI has read one of two messages, whose answer was lost."""
    talk = Talk()
    for name in ("a", "b"):
        talk.client("conversation.item.create", item={**said(name), "status": None})
    talk.cut()
    talk.greet("conv_1")
    heard = talk.added(said("a"))
    assert heard is not None
    assert heard["item"]["id"] == "a"
    talk.xai("session.updated", session=ENABLED)
    assert talk.told == [("session.update", ""), ("conversation.item.create", "b")]
    assert [item["id"] for item in talk.keeper.conversation.items] == ["a"]


def test_an_answer_that_nobody_heard_is_taken_out() -> None:
    """Its question is asked again; what is deleted for us is no news to the client, what it deletes
    itself is.
    """
    talk = Talk()
    talk.added(said("a"))
    talk.client("response.create")
    talk.cut()
    talk.greet("conv_1")
    assert talk.added(said("a")) is None
    assert talk.added(said("answer", "assistant")) is None
    talk.xai("session.updated", session=ENABLED)
    assert talk.told[1:] == [("conversation.item.delete", "answer"), ("response.create", "")]
    assert talk.xai("conversation.item.deleted", item_id="answer") is None
    assert talk.xai("conversation.item.deleted", item_id="a") is not None


def test_what_only_xai_knows_of_the_user_is_news() -> None:
    """Speech of which the client had not heard, with its words or before them. Old items, of which
    nothing is remembered, are none.
    """
    talk = Talk()
    speech = {"type": "input_audio", "transcript": None}
    talk.cut()
    talk.greet("conv_1")
    assert talk.added(said("a")) is not None
    assert talk.added({**said("b"), "content": [speech]}) is not None
    assert [item["id"] for item in talk.keeper.conversation.items] == ["a"]
    talk.xai("session.updated", session=ENABLED)
    assert not talk.keeper.is_answering
    for number in range(HEARD_OF_MAX + 1):
        talk.added(said(f"item_{number}"))
    talk.cut()
    talk.greet("conv_1")
    assert talk.added(said("a")) is None
    assert talk.added(said(f"item_{HEARD_OF_MAX}")) is None
    assert talk.added(said("c")) is not None


def test_items_by_other_names_are_known_by_their_words() -> None:
    """And the client's name stays that of the item."""
    talk = Talk()
    talk.added(said("a"))
    talk.cut()
    talk.greet("conv_1")
    assert talk.added({**said("a"), "id": "theirs"}) is None
    talk.xai("session.updated", session=ENABLED)
    assert len(talk.due) == 1
    heard = talk.xai("conversation.item.added", item=said("b"), previous_item_id="theirs")
    assert heard is not None
    assert heard["previous_item_id"] == "a"
    talk.cut()
    talk.greet("conv_1")
    assert talk.added({**said("a"), "id": "theirs"}) is None


@pytest.mark.parametrize("is_early", [True, False])
def test_an_error_answers_what_was_told_first(is_early: bool) -> None:
    """xAI says of no error what it answers: one before the conversation is there answers nothing.
    The client is told neither.
    """
    talk = Talk()
    talk.added(said("a"))
    talk.cut()
    if is_early:
        talk.keeper.provider_opened()
    else:
        talk.greet("conv_2")
    talk.due.clear()
    assert talk.xai("error", error={"code": "invalid"}) is None
    assert talk.keeper.is_waiting is is_early
    assert talk.told == ([] if is_early else [("conversation.item.create", "a")])


def test_what_xai_says_by_itself_ends_the_wait_too() -> None:
    """A response that begins comes after what was replayed."""
    talk = Talk()
    talk.added(said("a"))
    talk.cut()
    talk.greet("conv_1")
    assert talk.xai("response.created", response={"id": "r"}) is not None
    assert not talk.keeper.is_waiting
    assert talk.told[1:] == [("conversation.item.create", "a")]


def test_elsewhere_the_conversation_is_told() -> None:
    """Nor is it named where the session comes back to."""
    talk = Talk()
    talk.added(said("a"))
    talk.cut()
    talk.keeper.moved_to("openai")
    assert talk.keeper.resumption is None
    talk.due.clear()
    talk.greet("conv_2")
    assert talk.due[0]["session"] == {"type": "realtime"}
    assert talk.told[1:] == [("conversation.item.create", "a")]


def test_a_conversation_that_the_client_named_is_named_again() -> None:
    """What was replayed to it answers nothing that looks alike; without a configuration of the
    client's an empty one is told, for its answer.
    """
    talk = Talk(named="conv_7", session={})
    talk.client("conversation.item.create", item={**said("", "user"), "id": None})
    assert talk.added(said("old")) is not None
    assert talk.added(said("older", "assistant")) is not None
    talk.cut()
    talk.greet("conv_7")
    assert talk.due[0]["session"] == {"type": "realtime"}
    assert talk.added(said("old")) is None
    assert talk.added(said("older", "assistant")) is None
    talk.xai("session.updated", session={})
    assert [kind for kind, _ in talk.told] == ["session.update", "conversation.item.create"]
    assert talk.due[1]["item"]["content"] == said("")["content"]


def test_the_rest_of_a_conversation_that_the_client_named_is_news() -> None:
    """The first connection was cut in the middle of what it replayed. Answers are news, too, and
    stay; but one behind what the client has asked since is one of which nobody heard.
    """
    talk = Talk(named="conv_7", session={})
    talk.client("conversation.item.create", item=said("new"))
    talk.client("response.create")
    assert talk.added(said("a")) is not None
    talk.cut()
    talk.greet("conv_7")
    assert talk.added(said("a")) is None
    assert talk.added(said("a2", "assistant")) is not None
    assert talk.added(said("b")) is not None
    assert talk.added(said("b2", "assistant")) is not None
    assert talk.added(said("new")) is not None
    assert talk.added(said("new2", "assistant")) is None
    talk.xai("session.updated", session={})
    told = [("session.update", ""), ("conversation.item.delete", "new2"), ("response.create", "")]
    assert talk.told == told
    assert [x["id"] for x in talk.keeper.conversation.items] == ["a", "a2", "b", "b2", "new"]


def test_a_conversation_that_the_client_named_and_has_not_heard_of_is_announced() -> None:
    """The first connection was gone before that: the next one is as good as the first."""
    keeper = Keeper(seed="5eed", named="conv_7")
    keeper.opened()
    created = {"type": "conversation.created", "conversation": {"id": "conv_7"}}
    for is_again in (False, True):
        assert list(keeper.provider_opened()) == []
        heard = keeper.provider_said({"type": "session.created", "session": {"id": "s"}})
        assert (heard is None) is is_again
        if not is_again:
            keeper.provider_closed()
            assert keeper.resumption is not None
            assert keeper.resumption.name == "conv_7"
    assert keeper.provider_said(created) is created
    assert keeper.provider_said({"type": "conversation.item.added", "item": said("a")}) is not None
