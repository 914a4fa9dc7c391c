"""The business rule and the ledger, against the rule written out independently."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accountd.ledger.cascade import cascade
from accountd.ledger.estimates import UNCHARGED_DEFAULT
from accountd.ledger.group_commit import Ledger
from accountd.ledger.response_ids import unpack
from accountd.ledger.usage_index import UsageIndex
from accountd.ledger.usage_rows import UsageRows
from accountd.ledger.windows import ProducerWindow, Verdict
from accountd.reports.audit import audit
from accountd.request_params import Params
from shared.usage import EndOfProducer, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.database import create_account, empty_database

NOW = "2026-11-23T12:00:00.000Z"
PRODUCERS = [bytes([n]) * 16 for n in range(3)]

SPENT = """
    SELECT k.key_hash, s.day, s.credits FROM key_spending s JOIN usage_keys k ON k.number = s.key
    ORDER BY 1, 2
"""


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**10))
def test_topup_pays_before_subscription(topup: int, used: int) -> None:
    """Token by token: each one comes from the top-up while there is any, else from the plan."""
    deduction = cascade(topup=topup, used=used)
    assert deduction.topup + deduction.tokens == used
    assert deduction.topup >= 0
    assert deduction.tokens >= 0
    assert topup - deduction.topup >= min(topup, 0), "a top-up never falls below zero"
    assert deduction.tokens == 0 or topup - deduction.topup <= 0, "the plan pays only afterwards"


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_cascade_is_the_rule_token_by_token(topup: int, used: int) -> None:
    """The rule acted out: a bucket of coins, taken one at a time."""
    top, plan = topup, 0
    for _ in range(used):
        if top > 0:
            top -= 1
        else:
            plan += 1
    deduction = cascade(topup=topup, used=used)
    assert (topup - deduction.topup, deduction.tokens) == (top, plan)


@given(st.lists(st.integers(1, 12), max_size=40))
def test_every_sequence_is_applied_once_in_any_order(sequences: list[int]) -> None:
    """The first time a sequence comes it is applied, every other time it is a duplicate."""
    window = ProducerWindow()
    verdicts = [window.judge(sequence) for sequence in sequences]
    seen: set[int] = set()
    for sequence, verdict in zip(sequences, verdicts, strict=True):
        assert verdict is (Verdict.DUPLICATE if sequence in seen else Verdict.APPLY)
        seen.add(sequence)
    contiguous = next(n for n in range(14) if n + 1 not in seen)
    assert window.applied_through == contiguous
    assert window.ahead == {n for n in seen if n > contiguous}
    assert window.missing(at_most=99) == [
        n for n in range(contiguous + 1, max(window.ahead, default=0)) if n not in seen
    ]


@given(st.lists(st.integers(1, 12), max_size=20), st.lists(st.integers(1, 12), max_size=20))
def test_a_window_knows_what_changed_since_it_was_loaded(
    before: list[int], after: list[int]
) -> None:
    """Writing only the differences gives the same state as writing everything."""
    first = ProducerWindow()
    for sequence in before:
        first.judge(sequence)
    stored = set(first.ahead)
    second = ProducerWindow(first.applied_through, stored)
    for sequence in after:
        second.judge(sequence)
    assert (stored - second.no_longer_ahead) | second.newly_ahead == second.ahead
    assert second.is_changed == bool(set(after) - set(before))


DAY_MS = 24 * 3_600_000
KEYS = ["", "one key", "another"]
usages = st.tuples(
    st.sampled_from(["a", "b"]), st.integers(0, 2_000), st.integers(0, 2_000),
    st.sampled_from(KEYS), st.sampled_from([0, DAY_MS - 1, DAY_MS, 20_000 * DAY_MS]),
)  # fmt: skip
Sent = tuple[str, int, int, str, int]


def message(number: int, usage: Sent) -> list[bytes]:
    """The wire form of the ``number``-th usage; producers take turns."""
    account, tokens_in, tokens_out, key_hash, metered_at_ms = usage
    batch = UsageBatch(
        account, "s", "openai", "m", "response", 1, (f"r{number}",),
        Usage(tokens_in, tokens_out, tokens_in + tokens_out), metered_at_ms, key_hash=key_hash,
    )  # fmt: skip
    return encode_envelope(
        PRODUCERS[number % len(PRODUCERS)], number // len(PRODUCERS) + 1, encode_usage(batch)
    )


def cuts_to_edges(cuts: list[int], count: int) -> list[int]:
    """Where groups begin and end."""
    return [0, *sorted({cut % (count + 1) for cut in cuts}), count]


def apply_in_groups(messages: list[list[bytes]], cuts: list[int]) -> list[Any]:
    """Balances and rows after applying the messages cut into groups at ``cuts``."""
    edges = cuts_to_edges(cuts, len(messages))
    with empty_database() as opened:
        for account in ("a", "b"):
            create_account(account, tokens=5_000, topup=3_000)
        index = UsageIndex(opened.connection(), segment_rows=3, portion_rows=2)
        ledger = Ledger(opened.connection(), usage=UsageRows(opened.connection(), index))
        for start, end in itertools.pairwise(edges):
            ledger.apply(messages[start:end], now=NOW)
        assert audit(Params({}))["ok"]
        rows = opened.execute_sql(
            "SELECT account_id, response_ids, total_tokens, topup_deducted, token_deducted"
            " FROM usage_metrics ORDER BY id"
        ).fetchall()
        balances = opened.execute_sql(
            "SELECT id, topup_remaining, token_remaining FROM accounts ORDER BY id"
        ).fetchall()
        spent = opened.execute_sql(SPENT).fetchall()
    return [rows, balances, spent]


@settings(max_examples=25)
@given(st.lists(usages, max_size=12), st.lists(st.integers(0, 12), max_size=5), st.data())
def test_any_grouping_gives_the_same_balances(
    sent: list[Sent], cuts: list[int], data: st.DataObject
) -> None:
    """One by one, all at once, in groups, with duplicates: rows, balances and what each key spent
    in a day are the same.
    """
    messages = [message(number, usage) for number, usage in enumerate(sent)]
    one_by_one = apply_in_groups(messages, list(range(len(messages))))
    assert apply_in_groups(messages, cuts) == one_by_one
    doubled = list(messages)
    for _ in range(3):
        if doubled:
            repeated = data.draw(st.sampled_from(messages))
            doubled.insert(data.draw(st.integers(doubled.index(repeated), len(doubled))), repeated)
    assert apply_in_groups(doubled, cuts) == one_by_one
    rows, balances, spent = one_by_one
    assert [unpack(row[1]) for row in rows] == [[f"r{n}"] for n in range(len(sent))]
    for account, topup, tokens in balances:
        used = sum(i + o for name, i, o, *_ in sent if name == account)
        assert (topup, tokens) == (max(3_000 - used, 0), 5_000 - max(used - 3_000, 0))
    days = sorted({(key, ms // DAY_MS) for *_, key, ms in sent if key})
    assert spent == [
        (key, day, sum(i + o for _, i, o, k, ms in sent if (k, ms // DAY_MS) == (key, day)))
        for key, day in days
    ]


sequences = st.integers(1, 8)
contents = st.sampled_from(
    ["one", "two", "estimate", "end", "stranger", "junk", "heard", "overheard", "guessed"]
)
SHARED = ("heard", "overheard", "guessed")  # of one response, by three sockets
arrivals = st.lists(st.tuples(st.sampled_from(PRODUCERS[:2]), sequences, contents), max_size=30)


def content(name: str) -> bytes:
    """A payload of each sort; "one" and "two" cost 1 and 2 tokens, "heard" and "overheard" 3."""
    if name in ("end", "junk"):
        return encode_usage(EndOfProducer()) if name == "end" else b"\xc1"
    tokens = {"one": 1, "two": 2, "heard": 3, "overheard": 3}.get(name, 50)
    account = "nobody" if name == "stranger" else "a"
    kind = "estimate" if name in ("estimate", "guessed") else "response"
    return encode_usage(
        UsageBatch(
            account, f"s {name}", "openai", "m", kind, 1, ("r",), Usage(tokens, 0, tokens), 0,
            is_shared=name in SHARED, key_hash="a key",
        )
    )  # fmt: skip


def charges(names: list[str]) -> tuple[int, int, int]:
    """Tokens, rows and repetitions of new contents in this order, by the rules: what is shared is
    charged once, and three estimates are let off, which do not count as a charge.
    """
    tokens = rows = repeated = let_off = 0
    is_shared_charged = False
    for name in names:
        if name in SHARED and is_shared_charged:
            repeated += 1
            continue
        rows += name in ("one", "two", "estimate", *SHARED)
        is_let_off = name in ("estimate", "guessed") and let_off < UNCHARGED_DEFAULT
        let_off += is_let_off
        if not is_let_off:
            tokens += {"one": 1, "two": 2, "heard": 3, "overheard": 3, "estimate": 50,
                       "guessed": 50}.get(name, 0)  # fmt: skip
            is_shared_charged = is_shared_charged or name in SHARED
    return tokens, rows, repeated


def outcomes(sent: list[tuple[bytes, int, str]]) -> dict[str, Any]:
    """The rules written out: the first content of a sequence counts, another one is a conflict."""
    first: dict[tuple[bytes, int], str] = {}
    conflicts: set[tuple[bytes, int, str]] = set()
    for producer, sequence, name in sent:
        if first.setdefault((producer, sequence), name) != name:
            conflicts.add((producer, sequence, name))
    names = list(first.values())
    rejected = names.count("stranger") + names.count("junk") + len(conflicts)
    ends: dict[bytes, int] = {}
    for (producer, sequence), name in first.items():
        if name == "end":
            ends[producer] = min(sequence, ends.get(producer, sequence))
    through = {
        p: next(n for n in range(10) if (p, n + 1) not in first) for p in {p for p, _ in first}
    }
    tokens, rows, repeated = charges(names)
    return {
        "charged": tokens,
        "spent": tokens,
        "rows": rows,
        "repeated": repeated,
        "rejected": rejected,
        "producers": {p: (n, ends.get(p)) for p, n in through.items()},
    }


@settings(max_examples=40)
@given(arrivals, st.lists(st.integers(0, 30), max_size=5), st.booleans())
def test_the_ledger_is_the_rules_written_out(
    sent: list[tuple[bytes, int, str]], cuts: list[int], is_slow: bool
) -> None:
    """Any arrivals, in any grouping: charges, quarantine, watermarks and ends are what they say."""
    messages = [encode_envelope(p, n, content(name)) for p, n, name in sent]
    edges = list(range(len(messages) + 1)) if is_slow else cuts_to_edges(cuts, len(messages))
    with empty_database() as opened:
        create_account("a", tokens=0, topup=5)
        ledger = Ledger(opened.connection())
        decisions = [ledger.apply(messages[i:j], now=NOW) for i, j in itertools.pairwise(edges)]
        audited = audit(Params({}))
        assert (audited["drift"], audited["wrong_spending"]) == ([], [])
        found = {
            "charged": opened.execute_sql(
                "SELECT 5 - topup_remaining - token_remaining FROM accounts"
            ).fetchone()[0],
            "spent": sum(row[2] for row in opened.execute_sql(SPENT)),
            "rows": opened.execute_sql("SELECT count(*) FROM usage_metrics").fetchone()[0],
            "repeated": opened.execute_sql("SELECT count(*) FROM repeated_usage").fetchone()[0],
            "rejected": opened.execute_sql("SELECT count(*) FROM rejected_usage").fetchone()[0],
            "producers": {
                bytes(p): (n, e)
                for p, n, e in opened.execute_sql(
                    "SELECT producer, applied_through, ended_at FROM producers"
                )
            },
        }
    assert found == outcomes(sent)
    handled = sum(d.applied + d.duplicates + d.conflicts + len(d.repeated) for d in decisions)
    ends = sum(name == "end" for name in {(p, n): x for p, n, x in reversed(sent)}.values())
    quarantined = sum(n for d in decisions for r, n in d.rejected.items() if r != "conflict")
    assert handled + ends + quarantined == len(sent), "every message has exactly one outcome"
