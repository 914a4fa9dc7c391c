"""How operators write limits, in options and in settings."""

from typing import Any

import pytest

from accountd.accounts.limit_words import (
    ACCOUNT_LIMITS,
    KEY_LIMITS,
    parse_account_limits,
    parse_key_limits,
)
from accountd.request_params import AMOUNT_MAX
from shared.limits import NAMES_MAX, Limits, Period

BY_NAME = {words.name: words for words in KEY_LIMITS}
WORDS: list[tuple[str, str, dict[str, Any]]] = [
    ("sessions", "20", {"sessions": 20}),
    ("sessions", "none", {"sessions": None}),
    ("sessions", "default", {}),
    ("new-sessions", "60", {"new_sessions_per_minute": 60}),
    ("session-length", "2h", {"session_s": 7_200}),
    ("session-length", "90m", {"session_s": 5_400}),
    ("session-length", "45s", {"session_s": 45}),
    ("session-tokens", str(AMOUNT_MAX), {"session_tokens": AMOUNT_MAX}),
    ("session-credits", "1", {"session_credits": 1}),
    ("spending", "5000/day", {"spending_credits": 5_000, "spending_period": "day"}),
    ("spending", "1/total", {"spending_credits": 1, "spending_period": "total"}),
    ("spending", "none", {"spending_credits": None}),
    ("providers", "azure-eu,openai", {"providers": ["azure-eu", "openai"]}),
    ("providers", "any", {"providers": None}),
    ("models", "gpt-realtime,models/x:1@eu", {"models": ["gpt-realtime", "models/x:1@eu"]}),
]


@pytest.mark.parametrize(("name", "word", "values"), WORDS)
def test_a_word_is_read_and_written(name: str, word: str, values: dict[str, Any]) -> None:
    """What is shown of a limit can be given to its option."""
    words = BY_NAME[name]
    assert words.values(word) == values
    if values:
        text = "" if word == words.nothing else f"{name}={word.replace(',', '+')}"
        assert words.word(parse_key_limits(text) if text else Limits()) == word


def test_names_are_kept_once() -> None:
    """In the order in which they were given, without blanks around them."""
    assert BY_NAME["models"].values("b, a,b") == {"models": ["b", "a"]}


WRONG = [
    # of which limit; the word; what is said
    *[("sessions", word, "expected an integer from 1 to 1000000, none or default")
      for word in ("", "0", "-1", "1000001", "1.0", "1e3", " 5", "1_0", "None", "any",
                   "\N{ARABIC-INDIC DIGIT ONE}", "9" * 400)],
    *[("session-length", word, "expected a time like 2h, 90m or 45s, up to 720h, none or default")
      for word in ("", "0s", "0h", "2", "h", "-1h", "1h30m", "721h", "1d", "2 h", "2H")],
    *[("spending", word, "N/day, N/month, N/total, none or default")
      for word in ("", "5000", "/day", "0/day", "-1/day", "5/week", "5/day/day", "5/",
                   f"{AMOUNT_MAX + 1}/day")],
    *[("providers", word, "any or default")
      for word in ("", "none", "opnai", "OpenAI", "openai,", "azure-", "openai_2", "simulator")],
    ("providers", "xai,mistral", "azure, gemini, openai, xai, or names that begin so, like "
     "azure-eu, with commas between them; not 'mistral'"),
    *[("models", word, "any or default")
      for word in ("", "none", "ANY", "a b", "a+b", "a,,b",
                   "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "x" * 257, "a\nb")],
    ("models", ",".join(map(str, range(NAMES_MAX + 1))), "expected at most 100 names, not 101"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "word", "message"), WRONG)
def test_a_wrong_word_is_refused(name: str, word: str, message: str) -> None:
    """It is said what is expected."""
    with pytest.raises(ValueError, match="expected") as refused:
        BY_NAME[name].values(word)
    assert message in str(refused.value)


def test_the_limits_of_a_setting() -> None:
    """With blanks, and in any order; a plus stands between names."""
    text = "spending=9/total , sessions=2,providers=openai+xai,models=m,session-length=none"
    assert parse_key_limits(text) == Limits(
        sessions=2, spending_credits=9, spending_period=Period.TOTAL,
        providers=("openai", "xai"), models=("m",),
    )  # fmt: skip


def test_all_mistakes_of_a_setting_are_reported() -> None:
    """Each names the entry that it is in."""
    text = "sessions=0,calls=5,spending=5/year,sessions=3,session-tokens=4,session-tokens=5,,models"
    with pytest.raises(ValueError, match="expected NAME=LIMIT,NAME=LIMIT; ") as refused:
        parse_key_limits(text)
    said = str(refused.value)
    for part in (
        "'sessions=0': expected an integer from 1", "'calls=5': expected one of sessions, new-",
        "'spending=5/year': expected credits", "session-tokens is there twice",
        "'': expected one of sessions", "'models': expected names of models",
    ):  # fmt: skip
        assert part in said


def test_what_an_account_may_spend_is_its_credit() -> None:
    """Everything else can be limited of both."""
    assert {words.name for words in KEY_LIMITS} - {words.name for words in ACCOUNT_LIMITS} == {
        "spending"
    }
    assert parse_account_limits("sessions=5") == Limits(sessions=5)
    with pytest.raises(ValueError, match="'spending=5/day': expected one of sessions, new-sess"):
        parse_account_limits("spending=5/day")
