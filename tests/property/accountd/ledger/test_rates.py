"""The ledger under cards that change: a real encrypted database against the rules written out."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import floor
from operator import mul
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accountd.accounts.grants import Grants
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.estimates import UNCHARGED_DEFAULT
from accountd.ledger.group_commit import Ledger
from accountd.ledger.rate_card_file import RateCardFile
from accountd.reports.audit import audit
from accountd.request_params import Params
from shared.rate_card import read_rates
from shared.rates import PRICE_MAX, Rates
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import TOKENS_BY_DEFAULT_PLAN, create_account, empty_database

NOW = "2026-11-23T12:00:00.000Z"
PRODUCER = b"p" * 16
_BALANCE = "SELECT topup_remaining, token_remaining FROM accounts"
_ROWS = (
    "SELECT total_tokens, credits, topup_deducted, token_deducted, rate_card, unpriced"
    " FROM usage_metrics ORDER BY id"
)

prices = st.integers(0, 3_000_000) | st.integers(0, PRICE_MAX)
counts = st.integers(0, 20)
steps = st.one_of(
    st.tuples(st.just("response"), counts, counts, counts, counts),
    st.tuples(st.just("estimate"), counts, counts, counts, counts),
    st.tuples(st.just("card"), prices, prices, prices, st.none() | prices),
    st.tuples(st.just("topup"), st.integers(1, 100)),
)


@contextmanager
def opened_ledger(rate_card: RateCardFile) -> Iterator[tuple[Any, Ledger]]:
    """A real encrypted file with one account: 50 tokens and 30 top-up credits."""
    with empty_database() as opened:
        create_account("a", tokens=50, topup=30)
        yield opened, Ledger(opened.connection(), rate_card)


def card_of(number: int, of_each: list[int | None]) -> Rates:
    """A card whose prices are for plain input, audio, output and, where it has one, a search."""
    names = ("input", "audio_input", "output", "web_search")
    named = zip(names, of_each, strict=True)
    lines = [f"{name} = {price}" for name, price in named if price is not None]
    return read_rates("\n".join([f'version = "v{number}"', "[[rates]]", *lines]).encode())


def message(kind: str, sequence: int, of_each: list[int]) -> list[bytes]:
    """A response with so many tokens of plain input, audio and output, and so many searches."""
    plain, audio, out, searches = of_each
    usage = Usage(
        plain + audio, out, plain + audio + out, input_audio_tokens=audio, web_searches=searches
    )
    batch = UsageBatch("a", "s", "openai", "m", kind, 1, (f"r{sequence}",), usage, 0)
    return encode_envelope(PRODUCER, sequence, encode_usage(batch))


@settings(max_examples=40)
@given(st.lists(steps, max_size=12))
def test_every_charge_is_by_the_card_in_force(taken: list[tuple[Any, ...]]) -> None:
    """After each step the credits are exact, the top-up has paid first, and the audit adds up; what
    the card has no price for costs nothing and is named on its row.
    """
    rate_card, price_of_each = RateCardFile(), [10**6, 10**6, 10**6, None]
    topup, tokens, expected, let_off = 30, 50, [], 0
    with opened_ledger(rate_card) as (opened, ledger):
        for number, (what, *numbers) in enumerate(taken, start=1):
            if what == "card":
                rate_card.rates, price_of_each = card_of(number, numbers), numbers
            elif what == "topup":
                asked = Params({"account_id": "a", "amount": numbers[0]})
                Grants(ChangedAccounts(), plans=TOKENS_BY_DEFAULT_PLAN).topup(asked)
                topup += numbers[0]
            else:
                ledger.apply([message(what, number, numbers)], now=NOW)
                exact = Fraction(sum(map(mul, numbers, (p or 0 for p in price_of_each))), 10**6)
                charged = floor(exact + Fraction(1, 2))
                if what == "estimate" and charged and let_off <= UNCHARGED_DEFAULT:
                    let_off += 1
                    charged = 0 if let_off <= UNCHARGED_DEFAULT else charged
                first = min(charged, topup)
                topup, tokens = topup - first, tokens - (charged - first)
                unpriced = "web_search" if numbers[-1] and price_of_each[-1] is None else ""
                expected.append(
                    (sum(numbers[:-1]), charged, first, charged - first,
                     rate_card.rates.version, unpriced)
                )  # fmt: skip
            assert opened.execute_sql(_BALANCE).fetchall() == [(topup, tokens)]
            assert not audit(Params({}))["drift"]
        assert opened.execute_sql(_ROWS).fetchall() == expected
