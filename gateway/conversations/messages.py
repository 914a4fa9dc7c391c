"""The requests about conversations, and accountd's answers. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.conversations.backlog import Key, State
from gateway.conversations.encoding import Texts
from shared.errors import UnreachableError
from shared.wire import HOLDER_BYTES

OPEN: Final = "sessions.open"
STORE: Final = "sessions.store"


class Opened(NamedTuple):
    """What is stored, and which connection could write it before. ``is_live``: that one has not
    stored its last words yet.
    """

    texts: Texts
    former: bytes | None
    is_live: bool


class Question(NamedTuple):
    """``holder`` is to be the one that may write. ``again``: it is, and asks what the one before it
    has stored meanwhile.
    """

    key: Key
    holder: bytes
    again: bool = False


def open_params(questions: Sequence[Question]) -> dict[str, Any]:
    """Of a request that opens conversations."""
    return {
        "sessions": [
            {**question.key._asdict(), "holder": question.holder, "again": question.again}
            for question in questions
        ]
    }


def read_opened(answer: Mapping[str, Any], count: int) -> list[Opened | None]:
    """What is stored of each; None where another connection is newer. Raises ``UnreachableError``
    where the answer makes no sense.
    """
    match answer:
        case {"sessions": [*found]} if len(found) == count:
            return [None if one is None else _opened(one) for one in found]
    raise UnreachableError(f"accountd answered nonsense to {OPEN}")


def _opened(found: object) -> Opened:
    match found:
        case {
            "configuration": str(configuration),
            "items": str(items),
            "former": bytes() | None as former,
            "is_live": bool(is_live),
        } if former is None or len(former) == HOLDER_BYTES:
            return Opened(Texts(configuration, items), former, is_live)
    raise UnreachableError(f"accountd answered nonsense to {OPEN}")


def store_params(states: Sequence[State]) -> dict[str, Any]:
    """Of a request that stores ``states``."""
    return {
        "sessions": [
            {
                **state.key._asdict(), "holder": state.holder, "is_last": state.is_last,
                **({} if state.texts is None else state.texts._asdict()),
            }
            for state in states
        ]
    }  # fmt: skip


def read_refused(answer: Mapping[str, Any], states: Sequence[State]) -> list[State]:
    """Those of ``states`` that were not written, as another connection is newer. Raises
    ``UnreachableError`` where the answer makes no sense.
    """
    match answer:
        case {"refused": [*places]} if all(
            type(place) is int and 0 <= place < len(states) for place in places
        ):
            return [states[place] for place in places]
    raise UnreachableError(f"accountd answered nonsense to {STORE}")
