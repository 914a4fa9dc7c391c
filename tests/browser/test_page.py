"""The page in a real Chromium: a spoken turn, the money, and how it looks."""

import json
import re
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.chromium import AXE, DESKTOP, PHONE, PICTURES, Watched, watched
from browser.on_page import (
    STYLES,
    Samples,
    connect,
    demo,
    expect_said,
    finished,
    first_sound,
    hear_whole,
    keep_texts,
    sent_by_simulator,
    track,
    write,
)
from tests.support.harness import Cluster, eventually
from tests.support.speech import RATE_HZ

# What is said is short: whoever looks late at the meter sees silence.
KEEP_LOUDEST = """() => {
  const meter = document.getElementById('level-microphone');
  const keep = () => {
    window.loudest = Math.max(window.loudest, Number(meter.style.getPropertyValue('--level')));
  };
  window.loudest = 0;
  new MutationObserver(keep).observe(meter, { attributes: true });
}"""
# The browser takes its time to ask the user.
HOLD_MICROPHONE = """() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.late = {};
  const isGiven = new Promise((resolve) => { late.give = resolve; });
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await isGiven;
    late.stream = await open(wanted);
    return late.stream;
  };
}"""


# --- talking and hearing --------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_a_spoken_turn(cluster: Cluster, browser: Browser, style: str) -> None:
    """What the microphone hears comes back through the speakers, is shown, and is charged."""
    account = f"spoken-{style}"
    demo(cluster, account, tokens=600, topup=50)
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page, style=style)
        page.evaluate(KEEP_LOUDEST)
        page.click("#talk")
        eventually(lambda: page.evaluate("loudest") > 0.1)
        expect(finished(page, "user")).to_contain_text("peech of")
        expect(finished(page, "reply")).to_contain_text("I heard you")
        expect(page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
        expect(page.locator("#last-usage")).to_contain_text("tokens")
        sent = sent_by_simulator(cluster)
        hear_whole(page, sent)
        assert pitch(sent) == pytest.approx(220, rel=0.02)
        balances_agree(page, cluster, account)
        expect(page.locator("#changes li").first).to_contain_text("top-up")
        expect(page.locator("#bar-topup")).to_have_attribute("aria-valuenow", "0")
    assert cluster.gateways[0].complaints() == []


def pitch(samples: Samples) -> float:
    """The frequency of the tone in the middle of what was said, in Hz.

    By its usual period: on a busy machine Chromium's pretended microphone leaves gaps.
    """
    start = first_sound(samples) + RATE_HZ // 4
    middle = samples[start : start + RATE_HZ // 2]
    rises = [at for at, (a, b) in enumerate(pairwise(middle)) if a < 0 <= b]
    return RATE_HZ / statistics.median(b - a for a, b in pairwise(rises))


def balances_agree(page: Page, cluster: Cluster, account: str) -> None:
    """The page shows what ``accountctl account show`` says, after something was charged."""

    def agree() -> bool:
        shown = cluster.accountctl("account", "show", account)
        found = (page.locator(f"#credit-{x}") for x in ("topup", "tokens"))
        told = [bucket.get_attribute("data-value") for bucket in found]
        return told == [str(shown["topup_remaining"]), str(shown["token_remaining"])]

    eventually(lambda: cluster.usage_rows(account))
    eventually(agree)


def test_a_sample_in_place_of_a_microphone(cluster: Cluster, browser: Browser) -> None:
    """Nothing is asked of the user, and what comes back is heard whole."""
    demo(cluster, "sample")
    with watched(browser, cluster.address, allows=()) as seen:
        page = seen.page
        connect(page)
        page.click("#sample")
        expect(finished(page, "reply")).to_contain_text("I heard you")
        sent = sent_by_simulator(cluster)
        hear_whole(page, sent)
        page.click("#sample")
        finished(page, "reply", 1)
        page.click("#hush")
        eventually(lambda: not any(track(page, "speaker").samples[-RATE_HZ // 10 :]))


def test_a_microphone_that_comes_too_late_is_let_go(cluster: Cluster, browser: Browser) -> None:
    """Who hangs up while the browser asks for the permission is not listened to."""
    demo(cluster, "late")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        page.evaluate(HOLD_MICROPHONE)
        connect(page)
        page.click("#talk")
        page.click("#connect")
        expect(page.locator("#status")).to_have_text("Offline")
        page.evaluate("late.give()")
        state = "late.stream?.getAudioTracks()[0].readyState"
        eventually(lambda: page.evaluate(state) is not None)
        eventually(lambda: page.evaluate(state) == "ended")


def test_a_device_is_chosen(cluster: Cluster, browser: Browser) -> None:
    """The devices have their names once they may be used, and the chosen one is listened to."""
    demo(cluster, "device")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page)
        page.click("#talk")
        expect(page.locator("#talk-label")).to_have_text("Listening")
        page.select_option("#device", label="Fake Audio Input 2")
        expect(page.locator("#talk-label")).to_have_text("Listening")
        label = "recorded.stream.getAudioTracks()[0].label"
        eventually(lambda: page.evaluate(label) == "Fake Audio Input 2")


def test_a_change_of_style_leaves_nothing_behind(cluster: Cluster, browser: Browser) -> None:
    """Every rate has a worklet of its own, and the one before it ends."""
    demo(cluster, "styles")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page)
        page.click("#talk")
        for style in ("gemini", "openai", "gemini"):
            page.check(f"input[value={style}]")
            expect(page.locator("#status")).to_have_text("Connected")
            eventually(lambda: page.evaluate("recorded.runningBeside('microphone')") == ["capture"])


def test_what_others_use_is_not_called_ours(cluster: Cluster, browser: Browser) -> None:
    """The balance is the account's: what another page takes from it was not used on this one."""
    demo(cluster, "shared", tokens=10_000)
    with watched(browser, cluster.address) as seen, watched(browser, cluster.address) as other:
        connect(seen.page, model="sim-pace-0")
        connect(other.page, model="sim-pace-0")
        write(other.page, "Hello.")
        finished(other.page, "reply")
        expect(other.page.locator("#changes li").first).to_contain_text("Taken, after 1 usage here")
        other.page.click("#connect")
        change = seen.page.locator("#changes li").first
        expect(change).to_contain_text("Taken from the account")
        expect(change).to_contain_text("subscription")
        expect(seen.page.locator("#used-here")).to_have_text(
            "Nothing used here since the balance changed"
        )
        write(seen.page, "Hello.")
        finished(seen.page, "reply")
        seen.page.check("input[value=gemini]")  # a session that ends hands over what it used
        expect(change).to_contain_text("Taken, after 1 usage here")


@pytest.mark.parametrize("style", STYLES)
def test_a_tool_call_is_shown_and_answered(cluster: Cluster, browser: Browser, style: str) -> None:
    """The page tells the time, and the model goes on."""
    demo(cluster, f"tool-{style}")
    with watched(browser, cluster.address) as seen:
        connect(seen.page, style=style, model="sim-pace-0")
        write(seen.page, "Please call local_time.")
        expect(finished(seen.page, "tool")).to_contain_text("answered by this page")
        expect(finished(seen.page, "reply")).to_contain_text("I heard you")


# --- for developers, and for everybody ------------------------------------------------------------


def test_the_inspector_filters_pauses_and_copies(cluster: Cluster, browser: Browser) -> None:
    """What it shows is what it copies."""
    demo(cluster, "inspected")
    allows = ("clipboard-read", "clipboard-write")
    with watched(browser, cluster.address, allows=allows) as seen:
        page = seen.page
        page.click("#inspector > summary")
        connect(page, model="sim-pace-0")
        write(page, "Hello.")
        finished(page, "reply")
        page.fill("#inspector-filter", "received response.done")
        expect(page.locator(".message-type")).to_have_text(["response.done"])
        keep_texts(page, "#inspector-copy")
        page.click("#inspector-copy")
        expect_said(page, "#inspector-copy", "Copied")
        (copied,) = json.loads(page.evaluate("navigator.clipboard.readText()"))
        assert copied["message"]["response"]["status"] == "completed"
        page.click(".message summary")
        expect(page.locator(".message pre")).to_contain_text('"total_tokens"')
        page.click("#inspector-pause")
        write(page, "Hello again.")
        finished(page, "reply", 1)
        expect(page.locator("#inspector-count")).to_contain_text("since the pause")
        assert page.locator(".message").count() == 1
        page.click("#inspector-pause")
        expect(page.locator(".message-type")).to_have_text(["response.done"] * 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1280", "360"])
def test_the_page_is_accessible(
    cluster: Cluster, browser: Browser, size: dict[str, int], scheme: str
) -> None:
    """axe-core finds nothing, before and in a conversation; nothing is wider than the screen."""
    name = f"{size['width']}-{scheme}"
    demo(cluster, f"look-{name}", tokens=2_000, topup=250)
    with watched(browser, cluster.address, size=size, scheme=scheme) as seen:
        page = seen.page
        axe(seen)
        connect(page, model="" if PICTURES else "sim-pace-0")
        page.click("#sample")
        finished(page, "reply")
        for number, text in enumerate(
            ("What time is it? Ask local_time.", "Thank you!", "Bye."), start=1
        ):
            write(page, text)
            finished(page, "reply", number)
        expect(page.locator("#changes li").first).to_be_visible()
        axe(seen)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"]
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        above, below = (page.locator(x).bounding_box() for x in (".stage", "#inspector"))
        assert above
        assert below
        assert above["y"] + above["height"] <= below["y"]
        if PICTURES:
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
            page.wait_for_timeout(1_500)  # the chart is drawn once a second
            page.screenshot(path=Path(PICTURES) / f"page-{name}.png")


def axe(seen: Watched) -> None:
    """Check the page by every rule that axe-core has for WCAG and good practice."""
    assert AXE.exists(), "found no axe-core; `make test` installs it"
    seen.page.evaluate(AXE.read_text())
    found = seen.page.evaluate("axe.run()")
    assert [(x["id"], [n["html"] for n in x["nodes"]]) for x in found["violations"]] == []
