"""accountd's answers about conversations: read, or taken for none."""

import pytest

from gateway.conversations.backlog import Backlog, Key, State
from gateway.conversations.encoding import Texts
from gateway.conversations.messages import STORE, read_opened, read_refused, store_params
from shared.errors import UnreachableError
from shared.fields import REQUEST_BYTES_MAX
from shared.requests import Request, encode_request
from shared.usage import ID_CHARS_MAX
from shared.wire import CONFIGURATION_BYTES_MAX, ITEMS_BYTES_MAX

OPENED = {"configuration": "", "items": "", "former": None, "is_live": False}
STATES = [State(Key("a", name), b"h" * 16, None) for name in ("s", "t")]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"sessions": []},
        {"sessions": [OPENED, OPENED]},
        {"sessions": [{**OPENED, "former": b"short"}]},
        {"sessions": [{**OPENED, "items": 7}]},
        {"sessions": ["text"]},
    ],
)
def test_an_answer_that_makes_no_sense_is_none(answer: dict[str, object]) -> None:
    """The session goes on as if accountd were away."""
    with pytest.raises(UnreachableError):
        read_opened(answer, 1)


@pytest.mark.parametrize("answer", [{}, {"refused": [2]}, {"refused": [-1]}, {"refused": [True]}])
def test_a_refusal_names_a_place(answer: dict[str, object]) -> None:
    """Of those that were sent."""
    with pytest.raises(UnreachableError):
        read_refused(answer, STATES)


def test_the_refused_are_told_apart() -> None:
    """By their place."""
    assert read_refused({"refused": [1]}, STATES) == [STATES[1]]


@pytest.mark.parametrize(
    ("states", "configuration", "items"),
    [(1, CONFIGURATION_BYTES_MAX, ITEMS_BYTES_MAX), (200, 1, 5_000), (200, 0, 0)],
)
def test_a_message_is_never_longer_than_accountd_takes(
    states: int, configuration: int, items: int
) -> None:
    """A longer one would cut the connection, on which clients are let in, too."""
    waiting = Backlog()
    for number in range(states):
        key = Key("\N{GRINNING FACE}" * ID_CHARS_MAX, f"{number:0128}")
        waiting.put(State(key, b"h" * 16, Texts("c" * configuration, "i" * items), is_last=True))
    portion = waiting.portion()
    assert len(encode_request(Request(STORE, store_params(portion)))) <= REQUEST_BYTES_MAX
    assert len(portion) > states // 4


def test_a_state_without_news_has_no_texts() -> None:
    """accountd keeps what it has."""
    (last,) = store_params(STATES[:1])["sessions"]
    assert set(last) == {"account_id", "session_id", "holder", "is_last"}
    state = State(Key("a", "s"), b"h" * 16, Texts("c", "i"))
    (whole,) = store_params([state])["sessions"]
    assert (whole["configuration"], whole["items"]) == ("c", "i")
