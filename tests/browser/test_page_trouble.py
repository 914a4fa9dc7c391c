"""The page in a real Chromium when something is wrong: it says what, and what it does about it."""

import re
import signal
import time

import pytest
from playwright.sync_api import Browser, expect

from browser.chromium import PHONE, watched
from browser.on_page import (
    FAILURES,
    SECRET,
    connect,
    demo,
    expect_said,
    finished,
    keep_texts,
    start_gateway,
    write,
)
from gateway.door.client_key import hash_key
from gateway.door.ephemeral import Claims, mint
from tests.support.harness import Cluster, eventually

# Two seconds of silence, and three for the answer to the question whether the gateway is there.
SOON_HANGING = {"silence.js": {"SILENCE_MS": 2_000}, "keys.js": {"PROBE_MS": 3_000}}
SOON_AGAIN = {"backoff.js": {"MOST_MS": 1_000}}
# What takes seconds, on a busy machine.
PATIENT_MS = 30_000
# Less than Chromium waits for the end of a closing handshake, 60 s, or the page for that of an
# opening one, 12 s.
OFFLINE_MS = 8_000

# The page waits for ever before it tries again.
NO_LONG_WAITS = """() => {
  const wait = window.setTimeout.bind(window);
  window.setTimeout = (done, ms, ...rest) => (ms > 700 ? 0 : wait(done, ms, ...rest));
}"""
LOST = (*FAILURES, "ERR_CONNECTION_REFUSED")


def test_the_gateway_goes_and_comes_back(cluster: Cluster, browser: Browser) -> None:
    """The page says so, tries again by itself, and goes on with the next gateway."""
    demo(cluster, "lost")
    address = cluster.address
    with watched(browser, address, expected=LOST, tuned=SOON_AGAIN) as seen:
        page = seen.page
        connect(page, model="sim-pace-0")
        cluster.gateways.pop(0).stop(signal.SIGKILL)
        expect(page.locator("#notice-title")).to_have_text("The gateway cannot be reached")
        start_gateway(cluster, address)
        expect(page.locator("#status")).to_have_text("Connected", timeout=PATIENT_MS)
        expect(page.locator("#notice")).to_be_hidden()
        write(page, "Are you there?")
        expect(finished(page, "reply")).to_contain_text("I heard you")


def test_who_does_not_want_to_wait_says_so(cluster: Cluster, browser: Browser) -> None:
    """Every attempt is counted and says when the next one is; the button tries at once."""
    demo(cluster, "impatient")
    address = cluster.address
    with watched(browser, address, expected=LOST) as seen:
        page = seen.page
        connect(page, model="sim-pace-0")
        page.evaluate(NO_LONG_WAITS)
        cluster.gateways.pop(0).stop(signal.SIGKILL)
        expect(page.locator("#notice-title")).to_have_text("The connection was lost")
        expect(page.locator("#notice-countdown")).to_contain_text("Attempt 1: trying again in")
        page.click("#retry")
        expect(page.locator("#notice-title")).to_have_text("The gateway cannot be reached")
        expect(page.locator("#notice-countdown")).to_contain_text("Attempt 2: trying again in")
        start_gateway(cluster, address)
        page.click("#retry")
        expect(page.locator("#status")).to_have_text("Connected")
        expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("way", ["written", "spoken"])
def test_a_gateway_that_hangs_is_left(cluster: Cluster, browser: Browser, way: str) -> None:
    """Its connection looks like a quiet one: where an answer is due, the page asks, says what it
    does, and goes on when the gateway does.
    """
    demo(cluster, f"hangs-{way}")
    gateway = cluster.gateways[0].process
    tuned = SOON_HANGING | SOON_AGAIN
    with watched(browser, cluster.address, expected=FAILURES, tuned=tuned) as seen:
        page = seen.page
        connect(page, model="sim-pace-0")
        keep_texts(page, "#notice-countdown")
        gateway.send_signal(signal.SIGSTOP)
        try:
            if way == "written":
                write(page, "Are you there?")
            else:
                page.click("#sample")
            title = page.locator("#notice-title")
            expect(title).to_have_text("The gateway does not answer", timeout=PATIENT_MS)
            expect_said(page, "#notice-countdown", "Attempt 1: trying again in")
            expect(page.locator("#status")).to_have_text("Connecting…")
        finally:
            gateway.send_signal(signal.SIGCONT)
        expect(page.locator("#status")).to_have_text("Connected", timeout=PATIENT_MS)
        expect(page.locator("#notice")).to_be_hidden()
        write(page, "Are you there now?")
        expect(finished(page, "reply")).to_contain_text("I heard you")


def test_who_hangs_up_is_not_held_by_a_gateway_that_hangs(
    cluster: Cluster, browser: Browser
) -> None:
    """Nobody waits for the end of a closing handshake."""
    demo(cluster, "hung-up")
    gateway = cluster.gateways[0].process
    with watched(browser, cluster.address, expected=FAILURES) as seen:
        page = seen.page
        connect(page)
        gateway.send_signal(signal.SIGSTOP)
        try:
            page.click("#connect")
            expect(page.locator("#status")).to_have_text("Offline", timeout=OFFLINE_MS)
            page.click("#connect")
            expect(page.locator("#status")).to_have_text("Connecting…")
            page.click("#connect")
            expect(page.locator("#status")).to_have_text("Offline", timeout=OFFLINE_MS)
        finally:
            gateway.send_signal(signal.SIGCONT)


def test_a_provider_that_says_nothing_is_named(cluster: Cluster, browser: Browser) -> None:
    """The gateway answers when it is asked: the session stays, and the user decides."""
    demo(cluster, "silent")
    with watched(
        browser, cluster.address, size=PHONE, expected=FAILURES, tuned=SOON_HANGING
    ) as seen:
        page = seen.page
        connect(page, model="sim-stall-reply")
        write(page, "Tell me something.")
        expect(page.locator("#notice-title")).to_have_text("No answer yet", timeout=PATIENT_MS)
        expect(page.locator("#status")).to_have_text("Connected")
        # The notice takes of the conversation's height, and not the end of it.
        expect(page.locator(".bubble-text").last).to_be_in_viewport()
        page.fill("#model", "sim-pace-0")
        page.click("#retry")
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#status")).to_have_text("Connected")
        write(page, "And now?")
        expect(finished(page, "reply", 1)).to_contain_text("I heard you")


def test_a_session_that_was_closed_has_its_message(cluster: Cluster, browser: Browser) -> None:
    """It is tried again, until the user gives up."""
    demo(cluster, "failing")
    with watched(browser, cluster.address, expected=FAILURES) as seen:
        page = seen.page
        page.fill("#model", "sim-refuse-503")
        page.click("#connect")
        expect(page.locator("#notice-title")).to_have_text("The gateway asks to try again later")
        expect(page.locator("#notice-countdown")).to_contain_text("trying again")
        page.click("#connect")
        expect(page.locator("#status")).to_have_text("Offline")
        expect(page.locator("#notice")).to_be_hidden()


def test_a_denied_microphone_has_its_message(cluster: Cluster, browser: Browser) -> None:
    """And the sample still works."""
    demo(cluster, "denied")
    with watched(browser, cluster.address, allows=()) as seen:
        connect(seen.page)
        seen.page.click("#talk")
        expect(seen.page.locator("#notice")).to_contain_text("The microphone is blocked")
        expect(seen.page.locator("#sample")).to_be_enabled()


def test_a_page_that_is_not_secure_says_so(cluster: Cluster, browser: Browser) -> None:
    """Browsers give it no sound: there is nothing to connect."""
    address = cluster.address.replace("127.0.0.1", "voice.test")
    # The browser says that it ignores a header that only secure pages can have.
    expected = ("Cross-Origin-Opener-Policy",)
    with watched(browser, address, allows=(), expected=expected) as seen:
        expect(seen.page.locator("#notice")).to_contain_text("This page needs a secure address")
        expect(seen.page.locator("#connect")).to_be_disabled()


def test_no_credit_has_its_message_before_and_during(cluster: Cluster, browser: Browser) -> None:
    """A session ends when the credit does, and no other one begins."""
    demo(cluster, "spent", tokens=20)
    with watched(browser, cluster.address, expected=FAILURES) as seen:
        page = seen.page
        connect(page, model="sim-pace-0")
        write(page, "This is more than I can afford.")
        expect(page.locator("#notice-title")).to_have_text("No credits left")
        expect(page.locator("#status")).to_have_text("Offline")
        page.click("#notice-close")
        eventually(lambda: cluster.accountctl("account", "show", "spent")["token_remaining"] <= 0)
        page.click("#connect")
        expect(page.locator("#notice-title")).to_have_text("No credits left")


KEYS = [
    ("expired", "The key has expired"),
    ("unknown", "The key is not accepted"),
    ("not ephemeral", "This is not an ephemeral key"),
    ("disabled", "The account is disabled"),
    ("other model", "The model is not allowed"),
    ("other page", "The key is for another page"),
    ("other model, this page", "The model is not allowed"),
]


@pytest.mark.parametrize(("state", "title"), KEYS)
def test_a_pasted_key_that_is_refused_has_its_message(
    cluster: Cluster, browser: Browser, state: str, title: str
) -> None:
    """The browser shows the page nothing of a refused upgrade; the page finds out."""
    account = f"refused-{re.sub('[^a-z]+', '-', state)}"
    own = cluster.create_account(account)
    key_hash = hash_key(own)
    assert key_hash is not None
    expires_at = int(time.time()) + (-5 if state == "expired" else 60)
    model = "gpt-other" if "other model" in state else None
    origin = {
        "other page": "https://app.example.org",
        "other model, this page": f"http://{cluster.address}",
    }.get(state)
    key = mint(Claims(account, key_hash, expires_at, model, origin), SECRET.encode())
    if state == "disabled":
        cluster.accountctl("account", "disable", account)
    with watched(browser, cluster.address, expected=FAILURES) as seen:
        pasted = {"unknown": key + "x", "not ephemeral": own}.get(state, key)
        seen.page.fill("#key", pasted)
        seen.page.click("#connect")
        expect(seen.page.locator("#notice-title")).to_have_text(title)
        expect(seen.page.locator("#status")).to_have_text("Offline")
