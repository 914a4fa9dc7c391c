"""The console in a real Chromium, against a real gateway, accountd and simulator."""

import asyncio
import csv
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from accountd.ctl.client import call
from accountd.reports.console import GRANTS_MAX, KEYS_MAX
from browser.chromium import AXE, PICTURES, chromium
from browser.on_console import (
    UNKNOWN_KEY,
    Account,
    cells,
    console,
    number,
    offer,
    report,
    sign_in,
    speak,
)
from tests.support.harness import cluster_folder, eventually
from tests.support.tuned import SOON_AWAY

AWAY_MS = 30_000  # the gateway's deadline for accountd, 2 s, and the time of a busy machine
HEIGHT = 1_000  # of the pictures


# --- what is there -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """Four weeks of sessions that were reported to accountd, and one through the gateway now."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.start_simulator()
        cluster.start_gateway(GATEWAY_PAGE="yes")
        used = Account(cluster, cluster.create_account("acct", tokens=400_000, topup=150_000))
        sent = report(cluster)
        cluster.accountctl("account", "topup", "acct", "90000", "--id", "later")
        # In a thread: Playwright keeps an event loop in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, speak(used)).result()
        eventually(lambda: len(cluster.usage_rows("acct")) > sent)
        yield used


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests."""
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


# --- what it shows -------------------------------------------------------------------------------


def test_the_numbers_are_those_of_accountctl(browser: Browser, account: Account) -> None:
    """Balance, groups, sums and statement, for the period that is chosen."""
    with console(browser, account) as page:
        sign_in(page, account.key)
        shown = account.cluster.accountctl("account", "show", account.id)
        for bucket, name in (("topup", "topup_remaining"), ("tokens", "token_remaining")):
            assert number(page.locator(f"[data-bucket={bucket}]").text_content()) == shown[name]
        for days in (30, 7):
            page.get_by_label(f"{days} days").check()
            expect(page.get_by_role("main")).to_have_attribute("aria-busy", "false")
            since = (datetime.now(UTC) - timedelta(days=days - 1)).strftime("%Y-%m-%d")
            for by in ("day", "model", "kind"):
                told = account.usage("--by", by, "--since", since)
                assert amounts_shown(page, by) == sorted(
                    (group["total_tokens"], group["credits"])
                    for group in (*told["groups"], told["totals"])
                )
            moved = cells(page, "#statement")
            assert [number(row["Top-up"]) for row in moved] == [
                told["opening"]["topup_remaining"], told["granted"]["topup_delta"],
                -told["charged"]["topup_deducted"], told["closing"]["topup_remaining"],
            ]  # fmt: skip


def amounts_shown(page: Page, by: str) -> list[tuple[int, int]]:
    """Tokens and credits of every group and of the total, sorted."""
    rows = cells(page, f"#by-{by}")
    return sorted((number(row["Tokens"]), number(row["Credits"])) for row in rows)


def test_the_chart_has_a_column_for_every_day(browser: Browser, account: Account) -> None:
    """Each says its day and credits; together they are what was charged."""
    with console(browser, account) as page:
        sign_in(page, account.key)
        expect(page.locator("svg.columns .column")).to_have_count(30)
        titles = page.locator("svg.columns .column title").all_text_contents()
        charged = sum(number(re.search(r": ([\d,]+) credit", title)[1]) for title in titles)
        assert charged == account.usage()["totals"]["credits"]


def test_the_last_choice_is_shown(browser: Browser, account: Account) -> None:
    """An answer that comes late does not take the place of what was asked after it."""
    by_day, held = "**/api/usage?by=day*", list[Route]()

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    with console(browser, account) as page:
        sign_in(page, account.key)
        columns = page.locator("svg.columns .column")
        page.route(by_day, hold_first)
        with page.expect_request(by_day):
            page.get_by_label("7 days").check()
        page.get_by_label("90 days").check()
        expect(columns).to_have_count(90)
        with page.expect_response(by_day) as late:
            held[0].continue_()
        late.value.finished()
        page.evaluate("fetch('/healthz').then((answer) => answer.text())")  # comes after it
        expect(columns).to_have_count(90)


def test_pages_of_sessions_and_of_charges(browser: Browser, account: Account) -> None:
    """Down to the oldest and back: every session and every charge once, newest first."""
    charges = [row["session_id"] for row in account.usage()["rows"]]
    lists = {"Sessions": list(dict.fromkeys(charges)), "Charges": charges}
    with console(browser, account) as page:
        sign_in(page, account.key)
        for name, expected in lists.items():
            page.get_by_label(name, exact=True).check()
            expect(page.get_by_role("group", name=f"Recent {name.lower()}")).to_be_visible()
            pages = list(turned(page, "Older"))
            assert [row["Session"] for found in pages for row in found] == expected
            assert list(turned(page, "Newer")) == pages[::-1]


def turned(page: Page, direction: str) -> Iterator[list[dict[str, str]]]:
    """The page of the list that is shown, and all in a direction."""
    button = page.get_by_role("button", name=direction)
    while True:
        yield cells(page, "#list")
        if button.get_attribute("aria-disabled") == "true":
            return
        before = page.locator("#page").text_content()
        button.click()
        expect(page.locator("#page")).not_to_have_text(before)


def test_the_csv_is_that_of_accountctl(browser: Browser, account: Account) -> None:
    """Every charge of the chosen period, with the same numbers."""
    with console(browser, account) as page:
        sign_in(page, account.key)
        page.get_by_label("7 days").check()
        with page.expect_download() as saved:
            page.get_by_role("button", name="Export CSV").click()
        since = (datetime.now(UTC) - timedelta(days=6)).strftime("%Y-%m-%d")
        told = account.cluster.run("accountctl", "usage", account.id, "--since", since, "--csv")
        assert saved.value.suggested_filename == "usage.csv"
        expected = list(csv.DictReader(told.stdout.splitlines()))
        found = csv.DictReader(saved.value.path().read_text().splitlines())
        assert [{name: row[name] for name in expected[0]} for row in found] == expected


def test_the_keys_of_the_account(browser: Browser, account: Account) -> None:
    """Indicator, label, state and last use, never the key or its hash."""
    with console(browser, account) as page:
        sign_in(page, account.key)
        told = account.cluster.accountctl("key", "list", account.id)["keys"]
        found = cells(page, "#keys")
        assert [row["Key"] for row in found] == [k["key_indicator"] + k["label"] for k in told]
        assert not any(key["key_hash"] in page.content() for key in told)


def test_what_a_list_leaves_out_is_said(browser: Browser, account: Account) -> None:
    """Of very many keys and grants the newest are shown, and how many there are."""
    key = account.cluster.create_account("many")
    ask = partial(call, account.cluster.env["ACCOUNTD_RPC_ENDPOINT"])
    for index in range(KEYS_MAX):
        ask("key.create", {"account_id": "many", "label": f"key {index}"})
    for _ in range(GRANTS_MAX):
        ask("account.topup", {"account_id": "many", "amount": 1})
    with console(browser, account) as page:
        sign_in(page, key)
        told = page.locator("#keys .hint")
        expect(told).to_have_text(f"The newest {KEYS_MAX} of {KEYS_MAX + 1} keys are shown.")
        assert len(cells(page, "#keys")) == KEYS_MAX
        page.get_by_text("Grants", exact=True).click()
        expect(page.get_by_role("group", name="Grants of the period")).to_be_visible()
        told = page.locator("#statement .hint")
        expect(told).to_contain_text(f"newest {GRANTS_MAX} of {GRANTS_MAX + 1} grants")
        found = cells(page, "#statement details")
        assert [number_of["Top-up"] for number_of in found] == ["+1"] * GRANTS_MAX
        assert_accessible(page)
    with console(browser, account) as page:
        sign_in(page, account.key)
        expect(page.locator("#keys table")).to_be_visible()
        expect(page.locator("#keys .hint")).to_have_count(0)


def test_an_account_that_has_used_nothing(browser: Browser, account: Account) -> None:
    """It says so, and has no empty charts. Without credits or disabled it may look, and is told."""
    key = account.cluster.create_account("fresh", tokens=-20)
    with console(browser, account) as page:
        sign_in(page, key)
        expect(page.locator("#by-day")).to_have_text("Nothing was charged in this period.")
        expect(page.locator("#list")).to_have_text("No sessions in this period.")
        expect(page.locator("[data-bucket=tokens]")).to_have_text("\N{MINUS SIGN}20")
        expect(page.locator("#notice")).to_contain_text("No credits left")
        account.cluster.accountctl("account", "disable", "fresh")
        page.get_by_role("button", name="Refresh").click()
        expect(page.locator("#notice")).to_contain_text("disabled")


# --- the door ------------------------------------------------------------------------------------


def test_keys_that_do_not_open(browser: Browser, account: Account) -> None:
    """Each is refused in words of its own, and the next try works."""
    ctl = account.cluster.accountctl
    revoked = ctl("key", "create", account.id, "--label", "revoked")
    ctl("key", "revoke", revoked["key_hash"])
    past = account.cluster.expired_key(account.id)
    with console(browser, account, refused=(401,)) as page:
        for key, words in (
            ("", "Paste the API key"),
            ("sk-something", "does not look like a key"),
            ("ek_something", "ephemeral key"),
            (UNKNOWN_KEY, "not known here"),
            (revoked["key"], "was revoked"),
            (past, "has expired"),
        ):
            offer(page, key)
            expect(page.get_by_role("alert").filter(visible=True)).to_contain_text(words)
            expect(page.get_by_label("API key")).to_be_focused()
        sign_in(page, account.key)


def test_a_key_that_is_revoked_signs_out(browser: Browser, account: Account) -> None:
    """With the next question: nothing stays on the screen."""
    made = account.cluster.accountctl("key", "create", account.id, "--label", "short")
    with console(browser, account, refused=(401,)) as page:
        sign_in(page, made["key"])
        account.cluster.accountctl("key", "revoke", made["key_hash"])
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("was revoked")
        assert_forgotten(page)


def test_signing_out_and_reloading_forget_the_key(browser: Browser, account: Account) -> None:
    """Nothing is shown any more, and the key has to be typed again."""
    with console(browser, account) as page:
        sign_in(page, account.key)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("The key is forgotten.")).to_be_visible()
        assert_forgotten(page)
        sign_in(page, account.key)
        page.reload()
        assert_forgotten(page)
        sign_in(page, account.key)
        page.get_by_role("link", name="realtime-switch").click()
        expect(page).to_have_title("realtime-switch")
        page.go_back()
        assert_forgotten(page)


def assert_forgotten(page: Page) -> None:
    """The door is shown, its field is empty, and behind it there is nothing."""
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("button", name="Refresh")).to_be_hidden()
    assert page.get_by_label("API key").input_value() == ""
    assert "@example.org" not in page.content()


# --- how it looks --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_accessible_in_every_look(
    browser: Browser, account: Account, width: int, scheme: str
) -> None:
    """axe-core finds nothing at the door and at the desk, and nothing is wider than the screen."""
    size = {"width": width, "height": HEIGHT}
    with console(browser, account, size=size, scheme=scheme) as page:
        offer(page, "wrong")
        assert_accessible(page)
        sign_in(page, account.key)
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"console-{width}-{scheme}.png")
        page.get_by_text("As a table").click()
        assert_accessible(page)


def assert_accessible(page: Page) -> None:
    """axe-core has no complaint."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(({violations}) => violations)")
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []


# --- accountd away -------------------------------------------------------------------------------


def test_what_comes_after_signing_out_is_not_shown(browser: Browser, account: Account) -> None:
    """The answers of questions that were under way find nobody."""
    daemon = account.cluster.accountd
    assert daemon is not None
    with console(browser, account) as page:
        sign_in(page, account.key)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            with page.expect_request("**/api/account"):
                page.get_by_role("button", name="Refresh").click()
            page.get_by_role("button", name="Sign out").click()
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        eventually(lambda: account.usage()["adds_up"])
        assert_forgotten(page)


def test_accountd_goes_away_and_comes_back(browser: Browser, account: Account) -> None:
    """What is shown stays, with its time; the door waits; afterwards everything works."""
    gateway = account.cluster.start_gateway(tuned=SOON_AWAY, GATEWAY_PAGE="yes")
    address = gateway.field("listen")
    with console(browser, account, address=address, refused=(503,)) as page:
        sign_in(page, account.key)
        assert account.cluster.accountd is not None
        account.cluster.accountd.stop()
        eventually(lambda: "accountd unreachable" in gateway.log.read_text())
        page.get_by_role("button", name="Refresh").click()
        alert = page.get_by_role("alert").filter(visible=True)
        expect(alert).to_contain_text("away", timeout=AWAY_MS)
        expect(page.locator("[data-sum]")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        offer(page, account.key)
        expect(alert).to_contain_text("away", timeout=AWAY_MS)
        account.cluster.start_accountd()

        def is_open() -> bool:
            page.keyboard.press("Enter")
            return page.locator("#desk").is_visible()

        eventually(is_open)
        expect(page.locator("#status")).to_contain_text("As of")
