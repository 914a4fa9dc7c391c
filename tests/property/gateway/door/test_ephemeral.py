"""Ephemeral keys: what is signed comes back as it was, and nothing else comes in."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.door import ephemeral
from gateway.door.ephemeral import PREFIX, SECRET_CHARS_MIN, TOKEN_CHARS_MAX, Claims, mint, read
from gateway.http.refusals import Refusal
from shared.usage import ID_CHARS_MAX

NOW = 1_800_000_000
TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET, OTHER = b"s" * SECRET_CHARS_MIN, b"o" * SECRET_CHARS_MIN

names = st.text(min_size=1, max_size=ID_CHARS_MAX)
claims = st.builds(
    Claims,
    account_id=names,
    key_hash=st.binary(min_size=32, max_size=32).map(bytes.hex),
    expires_at=st.integers(NOW + 1, NOW + 10**9),
    model=st.none() | names,
    origin=st.none() | names,
    configuration=st.none()
    | st.dictionaries(
        st.text(max_size=9), st.text(max_size=50) | st.lists(st.integers()), max_size=3
    ),
)
CLAIMS = Claims("acct", "ab" * 32, NOW + 600, "gpt-realtime", "https://app.example.org")
KEY = mint(CLAIMS, SECRET)


def code(found: Claims | Refusal) -> tuple[int, str]:
    """Status and code of a refusal."""
    assert isinstance(found, Refusal)
    return found.status, found.code


@given(claims)
@example(Claims("\U0010ffff" * ID_CHARS_MAX, "0" * 64, NOW + 1, "\ud800" * ID_CHARS_MAX, "o" * 256))
def test_a_key_says_what_was_put_in(wanted: Claims) -> None:
    """It fits into a subprotocol (RFC 9110 section 5.6.2: a token) and into its own bound."""
    key = mint(wanted, SECRET)
    assert read(key, [SECRET], now=NOW) == wanted
    assert set(key) <= set(TCHAR)
    assert len(key) <= TOKEN_CHARS_MAX


@given(st.text() | st.text(alphabet=TCHAR) | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever stands behind the prefix."""
    assert code(read(PREFIX + text, [SECRET], now=NOW)) == (401, "invalid_api_key")


@given(st.integers(len(PREFIX), len(KEY) - 1), st.sampled_from(TCHAR))
def test_one_character_changed_is_refused(at: int, char: str) -> None:
    """In the payload, in the signature, and in the bits of the last one that base64 leaves over."""
    altered = KEY[:at] + char + KEY[at + 1 :]
    if altered != KEY:
        assert code(read(altered, [SECRET], now=NOW)) == (401, "invalid_api_key")


@given(st.integers(0, len(KEY) - 1), st.text(alphabet=TCHAR, min_size=1, max_size=4))
def test_a_key_cut_or_grown_is_refused(length: int, more: str) -> None:
    """There is one spelling."""
    assert code(read(KEY[:length], [SECRET], now=NOW)) == (401, "invalid_api_key")
    assert code(read(KEY + more, [SECRET], now=NOW)) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_id", "acct2"),
        ("key_hash", "cd" * 32),
        ("expires_at", NOW + 601),
        ("model", None),
        ("model", "gpt-other"),
        ("origin", None),
        ("configuration", {"instructions": "Say anything."}),
        ("origin", "https://evil.example.org"),
    ],
)
def test_no_field_can_be_exchanged(field: str, value: object) -> None:
    """The payload of another wish under this signature is not signed."""
    fields = {name: getattr(CLAIMS, name) for name in Claims.__slots__} | {field: value}
    other = mint(Claims(**fields), OTHER)
    raw, wanted = ephemeral._decoded(KEY[len(PREFIX) :]), ephemeral._decoded(other[len(PREFIX) :])
    forged = PREFIX + ephemeral._encoded(wanted[:-32] + raw[-32:])
    assert code(read(forged, [SECRET], now=NOW)) == (401, "invalid_api_key")


def test_a_foreign_key_is_refused() -> None:
    """Signed, but by somebody else."""
    assert code(read(mint(CLAIMS, OTHER), [SECRET], now=NOW)) == (401, "invalid_api_key")


def test_two_secrets_are_valid_while_one_takes_over() -> None:
    """The old one's keys are read as long as it stands in the second line, and not after that."""
    old = mint(CLAIMS, OTHER)
    assert read(old, [SECRET, OTHER], now=NOW) == CLAIMS
    assert read(mint(CLAIMS, SECRET), [SECRET, OTHER], now=NOW) == CLAIMS
    assert code(read(old, [SECRET], now=NOW)) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("now", "is_valid"),
    [(NOW + 599.9, True), (NOW + 600, False), (NOW + 10**9, False)],
)
def test_a_key_is_valid_until_its_second(now: float, is_valid: bool) -> None:
    """At ``expires_at`` it is over, and that has a code of its own."""
    found = read(KEY, [SECRET], now=now)
    assert found == CLAIMS if is_valid else code(found) == (401, "expired_api_key")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a" * 32, 1),
        ("a" * 32 + "\n", 1),
        ("\n" + "a" * 32 + "\r\n\n" + "b" * 64 + "\n", 2),
    ],
)
def test_secrets_stand_one_in_a_line(text: str, count: int) -> None:
    """Empty lines do not count."""
    assert len(ephemeral.read_secrets(text)) == count


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a" * 31, "a" * 1_025, "a" * 32 + "\nshort", "\n".join(["a" * 32] * 3)],
)
def test_secrets_that_are_too_few_many_short_or_long_are_refused(text: str) -> None:
    """What is wrong is said, and no secret is shown."""
    with pytest.raises(ValueError, match="expected") as caught:
        ephemeral.read_secrets(text)
    assert "a" * 31 not in str(caught.value)
