"""A real accountd and its rate card: charged by it, told about it, changed in the middle."""

import asyncio
import json
import signal
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed

from shared.rate_card import CARD_BYTES_MAX, read_rates
from shared.usage import Kind, Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.conversation import conversation
from tests.support.harness import Cluster, eventually
from tests.support.rate_card import CARD, ask, batch, card_of, charges, daemon_of, reload, send
from tests.support.usage_socket import usage_socket


def test_a_row_has_its_tokens_its_credits_and_its_card(priced: Cluster) -> None:
    """Each is priced as what it is and rounded once; the top-up pays first; the audit holds."""
    send(
        priced,
        batch(input_tokens=9, total_tokens=9),  # 4.5
        batch(
            input_tokens=40, output_tokens=10, total_tokens=50, input_text_tokens=10,
            input_audio_tokens=20, input_cached_tokens=5, input_cached_audio_tokens=5,
        ),  # 20 x 0.5, 15 x 2.5, 5 x 0.1, 10 x 4
        batch("whisper-1", "transcription", billed_ms=10_333),  # 15.4995
        batch("gpt-4o-mini", input_tokens=3, output_tokens=2, total_tokens=5),
        batch(input_tokens=7, total_tokens=7, kind="estimate"),
    )  # fmt: skip
    assert charges(priced) == [(n, "2026-11") for n in (5, 88, 15, 5, 0)]
    rows = priced.usage_rows("acct")
    assert all(r["credits"] == r["topup_deducted"] + r["token_deducted"] for r in rows)
    assert [r["total_tokens"] for r in rows] == [7, 5, 0, 50, 9]
    assert rows[3]["input_cached_audio_tokens"] == 5
    found = priced.accountctl("usage", "acct")["totals"]
    assert (found["credits"], found["topup_deducted"], found["token_deducted"]) == (113, 100, 13)
    shown = priced.accountctl("account", "show", "acct")
    assert (shown["topup_remaining"], shown["token_remaining"]) == (0, 987)
    assert priced.audit()["ok"]
    assert daemon_of(priced).complaints() == []


def test_without_a_card_a_token_is_a_credit(prepared: Cluster) -> None:
    """The original rule, by the name that it has on rows; there is nothing to reload."""
    del prepared.env["ACCOUNTD_RATE_CARD"]
    prepared.start_accountd()
    prepared.create_account("acct", topup=5)
    send(prepared, batch(input_tokens=9, output_tokens=1, total_tokens=12, input_cached_tokens=9))
    assert charges(prepared) == [(12, "default")]
    assert ask(prepared) == {"version": "default", "text": ""}
    daemon_of(prepared).process.send_signal(signal.SIGHUP)
    eventually(lambda: "no rate card to reload" in daemon_of(prepared).log.read_text())
    assert daemon_of(prepared).stop() == 0


def test_gateways_are_told_the_very_card(priced: Cluster) -> None:
    """Its text makes the same prices there, also when it is as large as it may be."""
    answer = ask(priced)
    assert answer == {"version": "2026-11", "text": CARD}
    assert read_rates(answer["text"].encode()).entries == read_rates(CARD.encode()).entries
    large = CARD.replace("2026-11", "2026-12")
    large += "#" * (CARD_BYTES_MAX - len(large))
    reload(priced, large, "rate card loaded")
    assert ask(priced) == {"version": "2026-12", "text": large}


def test_a_new_card_counts_from_the_signal_on(priced: Cluster) -> None:
    """What was charged stays as it is; the quarantine is charged by what is in force then."""
    nobody = batch(input_tokens=100, total_tokens=100)
    orphan = replace(nobody, account_id="later")
    with usage_socket(priced) as push:
        push.send_multipart(encode_envelope(b"q" * 16, 1, encode_usage(orphan)))
        eventually(lambda: priced.audit()["rejected"] == 1)
    send(priced, batch(input_tokens=100, total_tokens=100))
    dearer = CARD.replace("input = 500_000", "input = 3_000_000").replace("2026-11", "2026-12")
    line = reload(priced, dearer, "rate card loaded")
    assert "version=2026-12" in line
    assert "entries=2" in line
    send(priced, batch(input_tokens=100, total_tokens=100), first=2)
    assert charges(priced) == [(50, "2026-11"), (300, "2026-12")]
    priced.create_account("later")
    (rejected,) = priced.accountctl("rejected", "list")["rejected"]
    priced.accountctl("rejected", "retry", str(rejected["id"]))
    (row,) = priced.usage_rows("later")
    assert (row["credits"], row["rate_card"]) == (300, "2026-12")
    assert priced.audit()["ok"]


async def test_a_session_costs_what_the_provider_reported(priced: Cluster) -> None:
    """Through a real gateway: every row is the price of its responses in the provider's log."""
    priced.start_simulator()
    priced.start_gateway()
    key = priced.create_account("talker", topup=7)
    async with conversation(priced.url, key) as client:
        await client.respond_times(7)
    rows = await asyncio.to_thread(
        eventually, lambda: len(r := priced.usage_rows("talker")) == 2 and r
    )
    sent = {entry["response_id"]: entry["usage"] for entry in priced.usage_sent()}
    for row in rows:
        exact = sum(fee(sent[name]) for name in row["response_ids"])
        assert row["credits"] == floor(exact + Fraction(1, 2))
        assert row["credits"] != row["total_tokens"]
    assert sum(row["input_cached_text_tokens"] for row in rows) > 0
    assert priced.audit()["ok"]


def fee(usage: dict[str, Any]) -> Fraction:
    """A usage of OpenAI by the first entry of the card, which does not tell text from the rest."""
    into = usage["input_token_details"]
    audio = into["audio_tokens"] - into["cached_tokens_details"]["audio_tokens"]
    plain = usage["input_tokens"] - into["cached_tokens"] - audio
    micro = 500_000 * plain + 2_500_000 * audio + 100_000 * into["cached_tokens"]
    return Fraction(micro + 4_000_000 * usage["output_tokens"], 1_000_000)


async def test_live_sessions_are_held_to_a_new_card_at_once(priced: Cluster) -> None:
    """Not only from the next charge on: by then a batch of responses may have cost too much."""
    priced.start_simulator()
    gateway = priced.start_gateway()
    key = priced.create_account("talker", tokens=50_000)
    dearer = CARD.replace("output = 4_000_000", "output = 90_000_000_000").replace("-11", "-12")
    async with conversation(priced.url, key) as client:
        await asyncio.to_thread(eventually, lambda: "version=2026-11" in gateway.log.read_text())
        await asyncio.to_thread(reload, priced, dearer, "rate card loaded")
        await asyncio.to_thread(eventually, lambda: "version=2026-12" in gateway.log.read_text())
        await client.respond()
        with pytest.raises(ConnectionClosed) as closed:
            await client.socket.send("{}")
            while True:
                await client.socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == "insufficient_quota"
    (row,) = await asyncio.to_thread(eventually, lambda: priced.usage_rows("talker"))
    assert (row["responses"], row["rate_card"]) == (1, "2026-12")


def test_a_signal_in_the_middle_of_a_burst(priced: Cluster) -> None:
    """Every row is priced by the card that it names, the old one first, and none is lost."""
    dearer = CARD.replace("input = 500_000", "input = 3_000_000").replace("2026-11", "2026-12")
    burst, price_by_card = 900, {"2026-11": 50, "2026-12": 300}
    with usage_socket(priced) as push:
        one = encode_usage(batch(input_tokens=100, total_tokens=100))
        for sequence in range(1, burst + 1):
            push.send_multipart(encode_envelope(b"p" * 16, sequence, one))
            if sequence == burst // 3:
                eventually(lambda: priced.usage_rows("acct"))
                card_of(priced).write_text(dearer)
                daemon_of(priced).process.send_signal(signal.SIGHUP)
            if sequence == 2 * burst // 3:  # what is sent from here on comes after the signal
                eventually(lambda: "rate card loaded" in daemon_of(priced).log.read_text())
        eventually(lambda: len(priced.usage_rows("acct")) == burst)
    found = charges(priced)
    assert all(charged == price_by_card[card] for charged, card in found)
    cards = [card for _, card in found]
    assert cards == sorted(cards)
    assert set(cards) == set(price_by_card)
    assert priced.audit()["ok"]


def test_what_a_balance_cannot_hold_is_rejected(priced: Cluster) -> None:
    """The dearest row that there can be fits; a thousand of them would not, and none is cut."""
    dear = 'version = "dear"\n[[rates]]\ninput = 1_000_000_000_000\n'
    reload(priced, dear, "rate card loaded")
    tokens = 10_000_000_000
    row = UsageBatch(
        "acct", "s", "openai", "m", "response", 1_000, ("r",), Usage(tokens, 0, tokens), 0
    )
    with usage_socket(priced) as push:
        for sequence in range(1, 1_001):
            push.send_multipart(encode_envelope(b"p" * 16, sequence, encode_usage(row)))
        rejected = eventually(lambda: priced.audit()["rejected_by_reason"])
        eventually(lambda: (a := priced.audit())["usage_rows"] + a["rejected"] == 1_000)
    assert list(rejected) == ["out_of_range"]
    found = priced.accountctl("account", "show", "acct")
    assert -(2**63) <= found["token_remaining"] < -(2**63) + 10**16
    assert priced.usage_rows("acct")[0]["credits"] == 10**16


UNPRICED = """
version = "2026-11"
[[rates]]
model = "gpt-realtime*"
input = 1_000_000
"""


def test_usage_without_a_price_is_marked_counted_and_told(prepared: Cluster) -> None:
    """On the row, in the metrics, once in the log, by accountctl usage and by rates check."""
    card_of(prepared).write_text(UNPRICED)
    accountd = prepared.start_accountd()
    prepared.create_account("acct", topup=5)
    minutes = batch(kind=Kind.TRANSCRIPTION, billed_ms=45_000)
    send(prepared, minutes, minutes)
    rows = prepared.usage_rows("acct")
    assert [(row["credits"], row["unpriced"]) for row in rows] == [(0, "transcription_second")] * 2
    assert accountd.log.read_text().count("usage has no price") == 1
    told = prepared.run("accountctl", "usage", "acct").stdout
    assert "unpriced: transcription_second of openai gpt-realtime, 2 rows" in told
    checked = prepared.run("accountctl", "rates", "check", "--json")
    (past,) = json.loads(checked.stdout)["past"]
    assert (checked.returncode, past["unit"], past["amount"], past["rows"]) == (
        1, "transcription_second", 90, 2,
    )  # fmt: skip


def test_what_no_unit_stands_for_is_marked_counted_and_told(prepared: Cluster) -> None:
    """Once for each field in the log, with its sum by rates check, until a card says it is free."""
    prepared.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
    accountd = prepared.start_accountd()
    prepared.create_account("acct", topup=50)
    video = json.dumps({"billable_video_seconds": 3600, "serviceTier": "priority"})
    tool = json.dumps({"tool_usage": {"computer": {"num_seconds": 90}}})
    plain = batch(input_tokens=2, total_tokens=2)
    rows = [replace(plain, raw=raw) for raw in ((video,), (video, tool), (), ('{"tier": "x"}',))]
    send(prepared, *rows)
    marks = [row["unpriced"] for row in prepared.usage_rows("acct")]
    assert marks == ["", "", "other", "other"]  # the newest first
    assert accountd.metrics()['rts_accountd_unpriced_total{unit="other"}'] == 2
    told = [line for line in accountd.complaints() if "usage has no price" in line]
    fields = ["billable_video_seconds", "tool_usage.computer.num_seconds"]
    assert [any(f"field={field}" in line for line in told) for field in fields] == [True, True]
    assert len(told) == 2
    checked = prepared.run("accountctl", "rates", "check", "--json")
    past = json.loads(checked.stdout)["past"]
    assert [(p["unit"], p["field"], p["amount"], p["rows"]) for p in past] == [
        ("other", fields[0], 7200, 2), ("other", fields[1], 90, 1),
    ]  # fmt: skip
    assert checked.returncode == 1
    assert fields[1] in prepared.run("accountctl", "rates", "check").stdout
    free = prepared.folder / "free.toml"
    free.write_text(CARD + "[[rates]]\nother = 0\n")
    assert prepared.run("accountctl", "rates", "check", str(free)).returncode == 0
