"""The page in a real Chromium: a spoken turn, an interruption, the money, and what goes wrong."""

import array
import base64
import json
import os
import re
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from harness import Cluster, cluster_folder, eventually
from playwright.sync_api import Browser, Page, expect
from speech import RATE_HZ

from browser.chromium import DESKTOP, HERE, SPEECH_S, Watched, chromium, watched
from gateway.auth import hash_key
from gateway.ephemeral import Claims, mint

AXE = HERE.parent / "clients" / "node" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("RTS_PICTURES")  # a folder: the pictures of docs/ are made anew in it
Samples = Sequence[int]  # 16-bit

SECRET = "s" * 64
STYLES = ("openai", "beta", "gemini")
BARGE_IN_MS = 150
PHONE = {"width": 360, "height": 740}
# What a browser logs itself when a socket or a request fails, as some tests make them.
# Both are there before the provider can say that it has stopped.
WRITE_AT_ONCE = """texts => {
  for (const text of texts) {
    document.getElementById('write-text').value = text;
    document.getElementById('write').requestSubmit();
  }
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
FAILURES = ("WebSocket connection to", "Failed to load resource")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A gateway with the page and the demo, and the simulator as every provider."""
    with cluster_folder() as running:
        (running.folder / "ephemeral.secret").write_text(SECRET)
        running.start_accountd()
        simulator = running.start_simulator()
        host = f"http://{simulator.field('listen')}"
        running.env |= {
            "GATEWAY_PAGE": "yes",
            "GATEWAY_EPHEMERAL_SECRET_FILE": str(running.folder / "ephemeral.secret"),
            "GATEWAY_DEMO_KEY_FILE": str(running.folder / "demo.key"),
            "AZURE_OPENAI_API_KEY": "azure-provider-key",
            "AZURE_OPENAI_ENDPOINT": host,
            "GEMINI_API_KEY": "gemini-provider-key",
            "GEMINI_BASE_URL": host,
        }
        running.start_gateway(script=HERE / "recording_gateway.py")
        yield running


@pytest.fixture(scope="module")
def browser(cluster: Cluster) -> Iterator[Browser]:
    """One browser for all."""
    with chromium(cluster.folder) as running:
        yield running


def demo(cluster: Cluster, account: str, *, tokens: int = 10**6, topup: int = 0) -> str:
    """Make ``account`` the demo's; its key."""
    key = cluster.create_account(account, tokens=tokens, topup=topup)
    (cluster.folder / "demo.key").write_text(key)
    return key


def connect(page: Page, *, style: str = "openai", model: str = "") -> None:
    """Choose, connect, and wait until the session can be used."""
    page.check(f"input[value={style}]")
    page.fill("#model", model)
    page.click("#connect")
    expect(page.locator("#status")).to_have_text("Connected")


def write(page: Page, text: str) -> None:
    """Write in place of speaking."""
    page.fill("#write-text", text)
    page.press("#write-text", "Enter")


def finished(page: Page, who: str, number: int = 0) -> Any:
    """The bubble of somebody, once it is complete."""
    bubble = page.locator(f'.bubble[data-who="{who}"]').nth(number)
    expect(bubble).not_to_have_class(re.compile("is-live"))
    return bubble


def track(page: Page, name: str) -> tuple[Samples, float, int]:
    """(samples, when they began in ms, their rate in Hz) of what was heard."""
    found = page.evaluate("name => recorded.track(name)", name)
    return array.array("h", base64.b64decode(found["pcm"])), found["startsAt"], found["rate"]


def sent_by_simulator(cluster: Cluster) -> Samples:
    """The audio of the session that was opened last."""
    newest = max((cluster.folder / "audio").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return array.array("h", newest.read_bytes())


def first_sound(samples: Samples) -> int:
    """The index of the first sample that is not silence."""
    return next(at for at, x in enumerate(samples) if x)


def heard_whole(page: Page, sent: Samples) -> bool:
    """Whether exactly these samples left the speakers, without a gap."""
    heard, _, _ = track(page, "speaker")
    if not any(heard):
        return False
    start = first_sound(heard) - first_sound(sent)
    return heard[start : start + len(sent)] == sent


# --- talking and hearing --------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_a_spoken_turn(cluster: Cluster, browser: Browser, style: str) -> None:
    """What the microphone hears comes back through the speakers, is shown, and is charged."""
    account = f"spoken-{style}"
    demo(cluster, account, tokens=600, topup=50)
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page, style=style)
        page.click("#talk")
        eventually(lambda: level(page) > 0.1)
        expect(finished(page, "user")).to_contain_text("peech of")
        expect(finished(page, "reply")).to_contain_text("I heard you")
        expect(page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
        expect(page.locator("#last-usage")).to_contain_text("tokens")
        sent = sent_by_simulator(cluster)
        eventually(lambda: heard_whole(page, sent))
        assert pitch(sent) == pytest.approx(220, rel=0.02)
        balances_agree(page, cluster, account)
        expect(page.locator("#charges li").first).to_contain_text("top-up")
        expect(page.locator("#bar-topup")).to_have_attribute("aria-valuenow", "0")
    assert cluster.gateways[0].complaints() == []


def level(page: Page) -> float:
    """What the microphone's meter shows, from 0 to 1."""
    meter = page.locator("#level-microphone")
    return float(meter.evaluate("meter => meter.style.getPropertyValue('--level')") or 0)


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


@pytest.mark.parametrize("style", ["openai", "gemini"])
def test_speaking_interrupts_at_once(cluster: Cluster, browser: Browser, style: str) -> None:
    """From the first sound at the microphone to silence it takes less than 150 ms of audio time;
    the provider is told what was really played.
    """
    demo(cluster, f"barge-{style}")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        told: list[dict[str, Any]] = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda x: told.append(read(x))))
        connect(page, style=style, model="sim-reply_ms-8000")
        write(page, "Tell me something long.")
        expect(page.locator("#latency")).to_have_text(re.compile("ms"))
        page.click("#talk")
        expect(page.locator('.bubble[data-who="reply"]').first).to_contain_text("interrupted")
        page.wait_for_timeout(300)  # what was to come by then, and must not
        heard, heard_from, _ = track(page, "speaker")
        said, said_from, rate = track(page, "microphone")
        spoke_at = said_from + first_sound(said) * 1000 / rate
        played = [at for at, x in enumerate(heard) if x]
        # What comes later is the answer to what was said.
        cut = next(
            (a for a, b in pairwise(played) if b - a > RATE_HZ // 10),
            played[-1],
        )
        silent_after = heard_from + cut * 1000 / RATE_HZ - spoke_at
        print(f"{style}: silent {silent_after:.0f} ms after the first sound at the microphone")
        assert -20 < silent_after < BARGE_IN_MS
        if style == "openai":
            (truncation,) = [x for x in told if x.get("type") == "conversation.item.truncate"]
            heard_ms = (cut - played[0]) * 1000 / RATE_HZ
            # Less what was on its way to the device.
            assert heard_ms - 120 < truncation["audio_end_ms"] <= heard_ms + 10


def read(frame: str | bytes) -> dict[str, Any]:
    """A frame that the page sent."""
    found = json.loads(frame)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("style", ["openai", "gemini"])
def test_push_to_talk_with_the_keyboard(cluster: Cluster, browser: Browser, style: str) -> None:
    """Held, the button sends; released, the turn ends; it is chosen while connected."""
    demo(cluster, f"push-{style}")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page, style=style, model="sim-pace-0")
        page.check("input[value=push]")
        expect(page.locator("#talk-label")).to_have_text("Hold to talk")
        expect(page.locator("#status")).to_have_text("Connected")
        page.focus("#talk")
        page.keyboard.down(" ")
        page.wait_for_timeout(1_000 * SPEECH_S)
        assert page.locator(".bubble").count() == 0
        page.keyboard.up(" ")
        expect(finished(page, "reply")).to_contain_text("I heard you")


def test_a_sample_in_place_of_a_microphone(cluster: Cluster, browser: Browser) -> None:
    """Nothing is asked of the user, and what comes back is heard whole."""
    demo(cluster, "sample")
    with watched(browser, cluster.address, allows=()) as seen:
        page = seen.page
        connect(page)
        page.click("#sample")
        expect(finished(page, "reply")).to_contain_text("I heard you")
        sent = sent_by_simulator(cluster)
        eventually(lambda: heard_whole(page, sent))
        page.click("#sample")
        finished(page, "reply", 1)
        page.click("#hush")
        eventually(lambda: not any(track(page, "speaker")[0][-RATE_HZ // 10 :]))


@pytest.mark.parametrize("style", STYLES)
def test_writing_interrupts_and_is_answered(cluster: Cluster, browser: Browser, style: str) -> None:
    """A provider takes no second request while it answers: the page waits until it may ask."""
    demo(cluster, f"written-{style}")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page, style=style, model="sim-reply_ms-8000")
        write(page, "Tell me something long.")
        expect(page.locator("#latency")).to_have_text(re.compile("ms"))
        write(page, "Something else, please.")
        expect(finished(page, "reply")).to_contain_text("interrupted")
        expect(page.locator('.bubble[data-who="reply"]').nth(1)).to_contain_text("I heard")
        assert page.locator('.bubble[data-who="problem"]').count() == 0


def test_a_new_session_is_heard_whatever_its_items_are_called(
    cluster: Cluster, browser: Browser
) -> None:
    """Gemini's replies are counted in each session: the first one of this session was cut."""
    demo(cluster, "again")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page, style="gemini", model="sim-reply_ms-8000")
        write(page, "Tell me something long.")
        expect(page.locator("#latency")).to_have_text(re.compile("ms"))
        page.click("#connect")
        expect(page.locator("#status")).to_have_text("Offline")
        connect(page, style="gemini", model="sim-pace-0")
        write(page, "Something short.")
        expect(finished(page, "reply", 1)).to_contain_text("first sound after")


def test_all_that_was_written_during_a_reply_is_asked(cluster: Cluster, browser: Browser) -> None:
    """What is shown as said was sent."""
    demo(cluster, "twice")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        told: list[dict[str, Any]] = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda x: told.append(read(x))))
        connect(page, model="sim-reply_ms-8000")
        write(page, "Tell me something long.")
        expect(page.locator("#latency")).to_have_text(re.compile("ms"))
        texts = ["First this.", "Then that."]
        page.evaluate(WRITE_AT_ONCE, texts)
        expect(page.locator('.bubble[data-who="reply"]').nth(1)).to_contain_text("I heard")
        sent = [x["item"] for x in told if x["type"] == "conversation.item.create"]
        assert [item["content"][0]["text"] for item in sent][1:] == texts
        assert page.locator('.bubble[data-who="problem"]').count() == 0


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


@pytest.mark.parametrize("style", STYLES)
def test_a_tool_call_is_shown_and_answered(cluster: Cluster, browser: Browser, style: str) -> None:
    """The page tells the time, and the model goes on."""
    demo(cluster, f"tool-{style}")
    with watched(browser, cluster.address) as seen:
        connect(seen.page, style=style, model="sim-pace-0")
        write(seen.page, "Please call local_time.")
        expect(finished(seen.page, "tool")).to_contain_text("answered by this page")
        expect(finished(seen.page, "reply")).to_contain_text("I heard you")


# --- what goes wrong ------------------------------------------------------------------------------


def test_the_gateway_goes_and_comes_back(cluster: Cluster, browser: Browser) -> None:
    """The page says so, tries again, and goes on with the next gateway."""
    demo(cluster, "lost")
    address = cluster.address
    expected = (*FAILURES, "ERR_CONNECTION_REFUSED")
    with watched(browser, address, expected=expected) as seen:
        page = seen.page
        connect(page, model="sim-pace-0")
        cluster.gateways.pop(0).stop(signal.SIGKILL)
        expect(page.locator("#notice-title")).to_have_text("The connection was lost")
        expect(page.locator("#notice-countdown")).to_contain_text("Attempt 1: trying again in")
        expect(page.locator("#notice-title")).to_have_text("The gateway cannot be reached")
        expect(page.locator("#notice-countdown")).to_contain_text("Attempt 2")
        script = HERE / "recording_gateway.py"
        cluster.start_gateway(script=script, GATEWAY_LISTEN=address)
        page.click("#retry")
        expect(page.locator("#status")).to_have_text("Connected")
        expect(page.locator("#notice")).to_be_hidden()
        write(page, "Are you there?")
        expect(finished(page, "reply")).to_contain_text("I heard you")


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
]


@pytest.mark.parametrize(("state", "title"), KEYS)
def test_a_pasted_key_that_is_refused_has_its_message(
    cluster: Cluster, browser: Browser, state: str, title: str
) -> None:
    """The browser shows the page nothing of a refused upgrade; the page finds out."""
    account = f"refused-{state.replace(' ', '-')}"
    own = cluster.create_account(account)
    key_hash = hash_key(own)
    assert key_hash is not None
    expires_at = int(time.time()) + (-5 if state == "expired" else 60)
    model = "gpt-other" if state == "other model" else None
    key = mint(Claims(account, key_hash, expires_at, model, None), SECRET.encode())
    if state == "disabled":
        cluster.accountctl("account", "disable", account)
    with watched(browser, cluster.address, expected=FAILURES) as seen:
        pasted = {"unknown": key + "x", "not ephemeral": own}.get(state, key)
        seen.page.fill("#key", pasted)
        seen.page.click("#connect")
        expect(seen.page.locator("#notice-title")).to_have_text(title)
        expect(seen.page.locator("#status")).to_have_text("Offline")


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
        page.click("#inspector-copy")
        expect(page.locator("#inspector-copy")).to_have_text("Copied")
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
        expect(page.locator("#charges li").first).to_be_visible()
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
