"""What a claim tells accountd of its session: what is new, once."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.conversations.backlog import Key
from gateway.conversations.claim import Claim
from gateway.translate.conversation import Conversation
from shared.wire import CONFIGURATION_BYTES_MAX

ITEM = {"id": "1", "type": "message", "role": "user", "content": []}


def nothing() -> None:
    """Nobody waits."""


@dataclass
class Talk:
    """A session."""

    conversation: Conversation = field(default_factory=Conversation)
    on_concluded: Callable[[], None] = nothing

    def supersede(self) -> None:
        """Nobody supersedes it here."""


def claimed(conversation: Conversation | None = None) -> Claim:
    """The claim of a session that has begun."""
    claim = Claim(Key("a", "s"), b"h" * 16, number=0)
    claim.session = Talk(conversation or Conversation())
    return claim


def acknowledged() -> Claim:
    """One of which accountd knows everything."""
    claim = claimed(Conversation(session={"voice": "ash"}, items=[ITEM]))
    state = claim.news()
    assert state is not None
    claim.acknowledge(state)
    return claim


def test_news_are_told_until_they_are_acknowledged() -> None:
    """What was sent may be lost."""
    claim = claimed()
    first = claim.news()
    assert first is not None
    assert claim.news() == first
    claim.acknowledge(first)
    assert claim.news() is None


def test_an_item_is_news() -> None:
    """Each change of the items is."""
    claim = acknowledged()
    assert claim.session is not None
    claim.session.conversation.remove("1")
    state = claim.news()
    assert state is not None
    assert state.texts is not None
    assert state.texts.items == '{"v":1,"items":[]}'


def test_a_configuration_is_news() -> None:
    """Also where it was changed in its place."""
    claim = acknowledged()
    assert claim.session is not None
    claim.session.conversation.session["voice"] = "marin"
    state = claim.news()
    assert state is not None
    assert state.texts is not None
    assert "marin" in state.texts.configuration


def test_what_came_meanwhile_is_news() -> None:
    """An acknowledgement is for what was sent."""
    claim = claimed()
    sent = claim.news()
    assert claim.session is not None
    assert sent is not None
    claim.session.conversation.add(ITEM)
    claim.acknowledge(sent)
    assert claim.news() is not None


def test_last_words_without_news_have_no_texts() -> None:
    """accountd is told that nothing more comes."""
    state = acknowledged().news(is_last=True)
    assert state is not None
    assert (state.texts, state.is_last) == (None, True)


def test_a_doubt_is_asked_about() -> None:
    """Perhaps another connection is newer; once accountd has taken a state, none is."""
    claim = acknowledged()
    claim.is_doubted = True
    state = claim.news()
    assert state is not None
    claim.acknowledge(state)
    assert claim.news() is None


def test_a_configuration_that_is_too_large_is_not_told() -> None:
    """Nothing is stored, but that the session has ended."""
    claim = claimed(Conversation(session={"instructions": "x" * CONFIGURATION_BYTES_MAX}))
    assert claim.news() is None
    assert claim.is_too_large
    last = claim.news(is_last=True)
    assert last is not None
    assert last.texts is None


def test_a_second_token_is_tried_before_giving_way() -> None:
    """accountd did not answer, and has taken one of two."""
    claim = Claim(Key("a", "s"), b"h" * 16, number=0, other=b"o" * 16)
    assert not claim.refuse()
    assert claim.holder == b"o" * 16
    assert claim.refuse()
