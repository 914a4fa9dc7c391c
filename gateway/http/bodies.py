"""Bodies of plain HTTP requests: JSON, read strictly. Pure.

A mistake raises ``ValueError`` with one line for the client. Used by ``endpoints.client_secrets``
and ``calls.requests``.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, Final, NoReturn

# Schemas of tools have a few levels; Python's ``json`` fails at about a thousand.
_LEVELS_MAX: Final = 64


def read_json(body: bytes, name: str = "body") -> object:
    """Parse ``body``; refuse what could not be written as JSON in UTF-8 again (NaN, half of a
    surrogate pair), because providers get it written anew. ``name`` is for the message.
    """
    try:
        parsed = json.loads(body, parse_constant=_refuse_number, parse_float=_finite)
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeError:  # also of half a surrogate pair, which JSON can spell
        raise ValueError(f"{name}: expected JSON in UTF-8") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"{name}: expected JSON, but {exc}") from None
    except RecursionError:
        parsed = None
    if parsed is None or _is_deeper(parsed, _LEVELS_MAX):
        raise ValueError(f"{name}: expected at most {_LEVELS_MAX} levels of objects and lists")
    return parsed


def as_object(value: object, name: str) -> dict[str, Any]:
    """``value``, which has to be an object; None gives an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected an object")
    return value


def _is_deeper(value: object, levels: int) -> bool:
    here = [value]
    for _ in range(levels):
        here = [inner for outer in here for inner in _inside(outer)]
    return bool(here)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse_number(text)
    return number


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"body: found {text[:32]}, expected numbers that JSON can carry")
