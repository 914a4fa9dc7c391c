"""``translate.resumption``: when a connection names a conversation, and until when it waits."""

import pytest

from gateway.translate.resumption import HEARD_OF_MAX, ID_CHARS_MAX, Resumption

ENABLED = {"resumption": {"enabled": True}}


def begun(named: str = "", name: object = "conv_1") -> Resumption:
    """The first connection of a session."""
    resumption = Resumption(named)
    assert not resumption.connected()
    resumption.begun({"id": name})
    return resumption


def test_a_conversation_goes_on_where_that_was_asked_for() -> None:
    """By the client's configuration, or as it was named by the client itself."""
    resumption = begun()
    assert resumption.name == ""
    resumption.enabled(ENABLED)
    assert resumption.name == "conv_1"
    resumption.enabled({"resumption": {"enabled": False}})
    assert resumption.name == ""
    assert begun(named="conv_1").name == "conv_1"
    assert begun(named="conv_0").name == ""


def test_what_is_replayed_to_the_client_comes_before_the_first_answer() -> None:
    """The client named the conversation, so it hears it, and waits for nothing."""
    resumption = begun(named="conv_1")
    assert resumption.is_replaying
    assert not resumption.is_waiting
    resumption.accepted()
    assert not resumption.is_replaying


def test_a_connection_that_names_it_is_waited_for() -> None:
    """Until it answers; whether it goes on with the conversation is known by the name."""
    for name in ("conv_1", "conv_2"):
        resumption = begun()
        resumption.enabled(ENABLED)
        assert resumption.connected()
        assert not resumption.has_begun
        resumption.begun({"id": name})
        assert resumption.is_waiting
        assert resumption.is_resumed is (name == "conv_1")
        resumption.accepted()
        assert not resumption.is_waiting
        assert resumption.name == name


def test_one_that_ends_before_it_answers_is_the_last_to_name_it() -> None:
    """It may have ended for that."""
    resumption = begun()
    resumption.enabled(ENABLED)
    resumption.closed()
    assert resumption.name == "conv_1"
    assert resumption.connected()
    resumption.closed()
    assert resumption.name == ""
    assert not resumption.connected()


def test_what_the_client_named_is_named_once_more_where_it_was_not_opened() -> None:
    """The connection was gone before there was a conversation; the client waits for nothing."""
    resumption = Resumption("conv_1")
    assert not resumption.connected()
    resumption.closed()
    assert resumption.name == "conv_1"
    assert not resumption.connected()
    assert resumption.is_first
    resumption.begun({"id": "conv_1"})
    assert not resumption.is_first
    assert resumption.is_replaying
    resumption = Resumption("conv_1")
    for _ in range(2):
        resumption.connected()
        resumption.closed()
    assert resumption.name == ""


def test_what_was_replayed_in_part_is_replayed_to_the_client_again() -> None:
    """Until a connection has replayed all of what the client named; another has nothing to."""
    resumption = begun(named="conv_1")
    resumption.closed()
    resumption.connected()
    resumption.begun({"id": "conv_1"})
    assert not resumption.has_replayed
    resumption.accepted()
    assert resumption.has_replayed
    assert begun().has_replayed
    assert begun(named="conv_0").has_replayed


@pytest.mark.parametrize("name", [None, 7, "", "c" * (ID_CHARS_MAX + 1), "conv_\udc00", "é"])
def test_what_no_url_can_have_is_no_name(name: object) -> None:
    """Then the conversation is told."""
    resumption = begun(name=name)
    resumption.enabled(ENABLED)
    assert resumption.name == ""
    resumption.begun(name)
    assert resumption.name == ""


def test_the_newest_items_that_a_client_heard_of_are_remembered() -> None:
    """As many as are kept; where nothing can go on, none."""
    resumption = Resumption()
    resumption.told_of("item")
    assert not resumption.has_forgotten
    resumption.begun({"id": "conv_1"})
    resumption.told_of("item")
    assert not resumption.has_heard_of("item")
    assert resumption.has_forgotten
    resumption = begun(named="conv_1")
    for number in range(HEARD_OF_MAX):
        resumption.told_of(f"item_{number}")
    assert not resumption.has_forgotten
    resumption.told_of("item")
    assert resumption.has_forgotten
    assert [resumption.has_heard_of(x) for x in ("item_0", "item_1", "item")] == [
        False, True, True,
    ]  # fmt: skip
