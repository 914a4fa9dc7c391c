"""Limits as maps, and the tighter of two."""

import pytest

from shared.fields import WireError
from shared.limits import (
    NAMES_MAX,
    Limits,
    SessionLimits,
    decode_session_limits,
    encode_session_limits,
    of_session,
)


def test_a_session_is_held_to_the_tighter_limit() -> None:
    """The smaller number, and the names that both allow."""
    of_key = Limits(session_s=60, session_tokens=None, providers=("openai", "xai"), sessions=3)
    of_account = Limits(session_s=90, session_tokens=10, providers=("xai",), models=("m",))
    assert of_session(of_key, of_account) == SessionLimits(
        session_s=60, session_tokens=10, providers=("xai",), models=("m",)
    )


def test_lists_without_a_common_name_allow_nothing() -> None:
    """That is another thing than no list."""
    found = of_session(SessionLimits(models=("a",)), SessionLimits(models=("b",)))
    assert found.models == ()


@pytest.mark.parametrize(
    "limits", [SessionLimits(), SessionLimits(session_s=1, providers=("openai",), models=())]
)
def test_a_map_holds_the_limits(limits: SessionLimits) -> None:
    """What is unlimited is left out."""
    encoded = encode_session_limits(limits)
    assert decode_session_limits(encoded) == limits
    assert bool(encoded) is (limits != SessionLimits())


@pytest.mark.parametrize(
    "found",
    [5, {"session_s": "1"}, {"models": 1}, {"models": ["m"] * (NAMES_MAX + 1)},
     {"providers": ["p" * 1000]}],
)  # fmt: skip
def test_what_is_no_map_of_limits_is_refused(found: object) -> None:
    """As everything that arrives."""
    with pytest.raises(WireError):
        decode_session_limits(found)
