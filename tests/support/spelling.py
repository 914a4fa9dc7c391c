"""One JSON value in the many spellings that mean the same."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


@st.composite
def spelled(draw: st.DrawFn, pairs: Sequence[tuple[str, Any]]) -> bytes:
    """An object of ``pairs``, in which lists of pairs are objects: with or without spaces, and with
    escapes where nobody needs them.
    """
    space = draw(st.sampled_from(["", " ", "\n  "]))
    is_escaping = draw(st.sampled_from([False, False, False, True]))
    return (draw(st.sampled_from(["", " "])) + _object(pairs, space, is_escaping)).encode()


def _object(pairs: Sequence[tuple[str, Any]], space: str, is_escaping: bool) -> str:
    members = (f"{_text(k, False)}:{space}{_value(v, space, is_escaping)}" for k, v in pairs)
    return "{" + f",{space}".join(members) + "}"


def _value(value: Any, space: str, is_escaping: bool) -> str:
    if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):
        return _object(value, space, is_escaping)
    return _text(value, is_escaping)


def _text(value: Any, is_escaping: bool) -> str:
    text = json.dumps(value)
    return text.replace("/", "\\/") if is_escaping and isinstance(value, str) else text
