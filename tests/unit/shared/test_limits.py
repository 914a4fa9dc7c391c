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


PROVIDERS = [
    # the key's, the account's, and what both allow
    (None, ("azure",), ("azure",)),
    (("azure",), ("azure-eu",), ("azure-eu",)),
    (("azure-eu", "xai"), ("xai", "azure"), ("azure-eu", "xai")),
    (("azure-eu",), ("azure-us",), ()),
    (("azure", "azure-eu"), ("azure-eu",), ("azure-eu",)),
]


@pytest.mark.parametrize(("of_key", "of_account", "expected"), PROVIDERS)
def test_the_name_of_a_kind_allows_every_provider_of_it(
    of_key: tuple[str, ...] | None, of_account: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """A full name allows that one alone, so it is the tighter one."""
    found = of_session(SessionLimits(providers=of_key), SessionLimits(providers=of_account))
    assert found.providers == expected
    other = of_session(SessionLimits(providers=of_account), SessionLimits(providers=of_key))
    assert set(other.providers or ()) == set(expected)


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
