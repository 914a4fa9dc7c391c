"""Reading a rate card: what is read, and what is refused in one line."""

import pytest

from shared.provider_kinds import KINDS
from shared.rate_card import CARD_BYTES_MAX, RateCardError, read_rates
from shared.rates import DEFAULT_RATES, PRICE_KEYS, Rates
from tests.support.paths import EXAMPLE_RATES as EXAMPLE

VERSION = 'version = "v1"\n'
CARD = (
    VERSION
    + """
    [[rates]]
    provider = "openai"
    model = "gpt-*"
    audio_input = 10_000_000
    [[rates]]
    input = 1_000_000
"""
)

BAD_CARDS = [
    # content; what the line says
    (b"", "version: found nothing, expected text of 1 to 64 printable characters"),
    (b"soup", "not TOML: Expected '=' after a key"),
    (b"version = 7", "version: found 7, expected text"),
    (b'version = ""', "version: found '', expected text"),
    (b'version = "a\\nb"', r"version: found 'a\nb', expected text"),
    (b'version = "%b"' % (b"v" * 65), "expected text of 1 to 64"),
    (b'version = "default"', "expected another name: that is the built-in card"),
    (b'version = "a"\nversion = "b"', "not TOML: Cannot overwrite a value"),
    (b'vresion = "a"', "unknown key 'vresion', did you mean version?; version: found nothing"),
    (b"version = \xff", "not UTF-8: byte 10 is 0xff"),
    (b"x = " + b"[" * 20_000, "nested too deeply"),
    (VERSION.encode() + b"x = 1" + b"0" * 5_000, "not TOML: Exceeds the limit"),
    (VERSION.encode() + b"#" * CARD_BYTES_MAX, f"more than {CARD_BYTES_MAX} bytes"),
]
BAD_ENTRIES = [
    # the text after the version; what the line says
    ("[rates]", "rates: expected entries that begin with [[rates]]"),
    ("rates = 5", "rates: expected entries"),
    ("rates = [5]", "rates: expected entries"),
    ("[[rate]]", "unknown key 'rate', did you mean rates?"),
    ("[[rates]]\naudio_inptu = 5", "entry 1: unknown key 'audio_inptu', did you mean audio_input?"),
    ("[[rates]]\nfoo = 5", "entry 1: unknown key 'foo', expected provider, model, input, text_inp"),
    ("[[rates]]\nsession_minute = 5", "unknown key 'session_minute', did you mean session_second?"),
    ("[[rates]]\ninput = -1", "entry 1: input: found -1, expected micro-credits, an integer from"),
    ("[[rates]]\ninput = 0.5", "entry 1: input: found 0.5, expected micro-credits"),
    ("[[rates]]\ninput = true", "entry 1: input: found True, expected micro-credits"),
    ("[[rates]]\ninput = '5 credits'", "input: found '5 credits', expected micro-credits"),
    ("[[rates]]\ninput = 2027-01-31", "input: found datetime.date(2027, 1, 31), expected micro-"),
    ("[[rates]]\noutput = 1_000_000_000_001", "found 1000000000001, expected micro-credits"),
    ("[[rates]]\nmodel = 4", "entry 1: model: found 4, expected a pattern"),
    ("[[rates]]\nmodel = ''", "entry 1: model: found '', expected a pattern"),
    ("[[rates]]\nprovider = 'opnai-2'", "'opnai-2', expected one of azure"),
    ("[[rates]]\nprovider = 'opnai'", f"'opnai', expected one of {', '.join(KINDS)}"),
    ("[[rates]]\n[[rates]]\nmodel = 'm'", "entry 2: never counts, because entry 1 matches all"),
    ("[[rates]]\nmodel = 'm'\n[[rates]]\nprovider = 'xai'\nmodel = 'm'", "entry 2: never counts"),
    ("[[rates]]\nprovider = 'xai'\n" * 2, "entry 2: never counts, because entry 1 matches all"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"), [*BAD_CARDS, *((f"{VERSION}{e}".encode(), m) for e, m in BAD_ENTRIES)]
)
def test_a_bad_card_is_refused_in_one_line(content: bytes, message: str) -> None:
    """What was found, what was expected, and where."""
    with pytest.raises(RateCardError) as raised:
        read_rates(content)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_all_mistakes_of_a_card_are_reported_together() -> None:
    """Nobody should have to start a daemon five times."""
    with pytest.raises(RateCardError) as raised:
        read_rates(
            b"[[rates]]\ninput = -1\nmodel = 5\n[[rates]]\nprice = 1\n[[rates]]\noutput = 1.5"
        )
    assert str(raised.value).count("found") == 4
    for place in ("version:", "entry 1: model:", "entry 1: input:", "entry 2: unknown", "entry 3:"):
        assert place in str(raised.value)


@pytest.mark.parametrize("content", [b'version = "v"\r\n', b'\xef\xbb\xbfversion = "v"'])
def test_a_card_may_come_from_any_editor(content: bytes) -> None:
    """Lines of Windows, a byte order mark; a card without entries is the original rule by name."""
    card = read_rates(content)
    assert (card.version, card.entries) == ("v", ())
    assert read_rates(card.text.encode()).version == "v"


def test_a_card_travels_as_its_text() -> None:
    """Read again elsewhere it has the same prices."""
    card = read_rates(CARD.encode())
    again = read_rates(card.text.encode())
    assert (again.version, again.entries) == (card.version, card.entries)
    assert DEFAULT_RATES.text == ""


def test_the_example_is_a_card_that_names_what_there_is() -> None:
    """Operators begin with it."""
    content = EXAMPLE.read_bytes()
    card = read_rates(content)
    assert isinstance(card, Rates)
    unnamed = {name for name in PRICE_KEYS if f"\n{name} = " not in content.decode()}
    assert unnamed == {"text_input", "text_output"}, "they are the plain input and output there"
