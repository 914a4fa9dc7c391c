"""A card that accountd cannot use, and one that is checked before it does."""

import json
import signal
from pathlib import Path

import pytest

from shared.rate_card import CARD_BYTES_MAX
from shared.usage import Kind
from tests.support.harness import Cluster, eventually
from tests.support.rate_card import CARD, ask, batch, card_of, charges, daemon_of, reload, send

BAD_CARDS = [
    # the file; what the line says
    (CARD.replace("audio_input", "audio_inptu"), "entry 1: unknown key 'audio_inptu', did you"),
    (CARD.replace("500_000\naudio", "-1\naudio"), "entry 1: input: found -1, expected micro-"),
    (CARD.replace("_second", "_minute"), "entry 2: unknown key 'transcription_minute', did"),
    (CARD.replace("100_000", "0.1"), "entry 1: cached_input: found 0.1, expected micro-credits"),
    (CARD.replace('"whisper*"\ntranscription_second', '"gpt-realtime*"\naudio_input'),
     "entry 2: never counts, because entry 1 matches"),
    (CARD.replace("openai", "opnai"), "entry 1: provider: found 'opnai', expected one of azure,"),
    (CARD.replace("version", "version = '1'\nversion"), "not TOML: Cannot overwrite a value"),
    (CARD.replace('"2026-11"', "11"), "version: found 11, expected text of 1 to 64 printable"),
    (CARD.replace('version = "2026-11"', "audio"), "not TOML: "),
    (CARD + "#" * CARD_BYTES_MAX, f"found more than {CARD_BYTES_MAX} bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD_CARDS)
def test_a_bad_card_is_refused_at_the_start(prepared: Cluster, content: str, message: str) -> None:
    """One clear line that names the file, 78, and nothing is opened."""
    card_of(prepared).write_text(content)
    done = prepared.run("accountd", "serve")
    assert done.returncode == 78
    assert message in done.stderr
    assert f"ACCOUNTD_RATE_CARD: found '{card_of(prepared)}', " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not (prepared.folder / "run").exists()


def test_all_mistakes_of_a_start_are_one_line(prepared: Cluster) -> None:
    """Those of the card stand beside those of other settings."""
    card_of(prepared).write_text("[[rates]]\ninput = -1\n[[rates]]\nprovider = 'nobody'\n")
    done = prepared.run("accountd", "serve", LOG_LEVEL="loud")
    assert done.returncode == 78
    for place in ("version: found nothing", "entry 1: input", "entry 2: provider", "LOG_LEVEL"):
        assert place in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("name", "message"), [("none.toml", "No such file"), (".", "Is a dir")])
def test_a_card_that_cannot_be_read(prepared: Cluster, name: str, message: str) -> None:
    """The line says why."""
    path = prepared.folder / name
    done = prepared.run("accountd", "serve", ACCOUNTD_RATE_CARD=str(path))
    assert done.returncode == 78
    assert f"cannot read it: {message}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_bad_card_keeps_the_old_one_in_force(priced: Cluster) -> None:
    """Each is one line in the log that says what is wrong; charging goes on as before."""
    for content, message in BAD_CARDS:
        line = reload(priced, content, "rate card not reloaded")
        assert message in line.replace('\\"', '"')
        assert "charging goes on by version '2026-11'" in line
    assert len(daemon_of(priced).complaints()) == len(BAD_CARDS)
    card_of(priced).unlink()
    seen = len(daemon_of(priced).complaints())
    daemon_of(priced).process.send_signal(signal.SIGHUP)
    eventually(lambda: len(daemon_of(priced).complaints()) == seen + 1)
    send(priced, batch(input_tokens=100, total_tokens=100))
    assert charges(priced) == [(50, "2026-11")]
    assert ask(priced) == {"version": "2026-11", "text": CARD}


def test_other_prices_need_another_version(priced: Cluster) -> None:
    """A row's version says what it was charged by; comments may change under it."""
    other = CARD.replace("input = 500_000", "input = 3_000_000")
    line = reload(priced, other, "rate card not reloaded")
    assert "version: found '2026-11', which is in force with other entries" in line
    send(priced, batch(input_tokens=100, total_tokens=100))
    reload(priced, CARD + "# as agreed\n", "rate card loaded")
    send(priced, batch(input_tokens=100, total_tokens=100), first=2)
    assert charges(priced) == [(50, "2026-11"), (50, "2026-11")]
    assert ask(priced)["text"].endswith("# as agreed\n")


def test_a_check_can_begin_at_a_time(priced: Cluster) -> None:
    """What was used before does not count, nor do models that are merely known."""
    send(priced, batch(kind=Kind.DURATION, billed_ms=1_500))
    (row,) = priced.usage_rows("acct")
    at = row["created_at"]
    for since, status in ((at, 1), ("2100-01-01", 0)):
        checked = priced.run("accountctl", "rates", "check", "--since", since, "--json")
        found = json.loads(checked.stdout)
        assert (checked.returncode, len(found["past"])) == (status, status)
        named = {(k["provider"], k["model"], k["unit"]): k["costs"] for k in found["known"]}
        assert named["xai", "grok-voice-latest", "session_second"] == "nothing"
        assert ("openai", "gpt-realtime", "text_input") not in named
    refused = priced.run("accountctl", "rates", "check", "--since", "soon")
    assert "since: found 'soon', expected a date and time" in refused.stderr


def test_a_card_can_be_checked_before_it_is_used(priced: Cluster, tmp_path: Path) -> None:
    """Against past usage: the card in force names what the other one forgets."""
    send(priced, batch(kind=Kind.DURATION, billed_ms=1_500))
    better = tmp_path / "better.toml"
    better.write_text(CARD + "[[rates]]\nsession_second = 0\n")
    assert priced.run("accountctl", "rates", "check").returncode == 1
    checked = priced.run("accountctl", "rates", "check", str(better))
    assert checked.returncode == 0, checked.stderr
    assert "every unit of past usage has a price" in checked.stdout
    better.write_text("version = 5")
    refused = priced.run("accountctl", "rates", "check", str(better))
    assert refused.returncode == 78
    assert "version: found 5" in refused.stderr
