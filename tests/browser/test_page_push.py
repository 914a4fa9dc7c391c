"""Push to talk in a real Chromium: the button is let go, however finger or key leave it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.chromium import QUIET_S, SPEECH_S, watched
from browser.on_page import FAILURES, connect, demo, finished, hear_of, sent_on
from tests.support.harness import Cluster

PUSHED_MS = 1_000 * SPEECH_S
PIECES_MIN = int((QUIET_S + SPEECH_S / 2) * 1_000 / 20)  # of 20 ms: there is speech in so many


def connect_to_push(page: Page, style: str = "openai") -> None:
    """Connect and choose to push."""
    connect(page, style=style, model="sim-pace-0")
    page.check("input[value=push]")
    expect(page.locator("#talk-label")).to_have_text("Hold to talk")
    expect(page.locator("#status")).to_have_text("Connected")


def speak(page: Page, told: list[dict[str, Any]]) -> None:
    """Hold what is pushed while something is said, and until enough of it was sent."""
    page.wait_for_timeout(PUSHED_MS)
    hear_of(page, lambda: sum(map(is_audio, told)) >= PIECES_MIN)


def is_audio(message: dict[str, Any]) -> bool:
    """Whether a message brings what the microphone hears."""
    is_gemini = "audio" in message.get("realtimeInput", {})
    return is_gemini or message.get("type") == "input_audio_buffer.append"


class Finger:
    """One that touches the screen."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._devtools = page.context.new_cdp_session(page)

    def down(self, selector: str) -> None:
        """Touch something."""
        x, y = middle(self._page, selector)
        self._dispatch("touchStart", [{"x": x, "y": y}])

    def up(self, kind: str = "touchEnd") -> None:
        """Let go, or be taken away."""
        self._dispatch(kind, [])

    def _dispatch(self, kind: str, points: list[dict[str, float]]) -> None:
        event = {"type": kind, "touchPoints": points}
        self._devtools.send("Input.dispatchTouchEvent", event)


def middle(page: Page, selector: str) -> tuple[float, float]:
    """Where something is."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("style", ["openai", "gemini"])
def test_push_to_talk_with_the_keyboard(cluster: Cluster, browser: Browser, style: str) -> None:
    """Held, the button sends; released, the turn ends; it is chosen while connected."""
    demo(cluster, f"push-{style}")
    with watched(browser, cluster.address) as seen:
        page = seen.page
        told = sent_on(page)
        connect_to_push(page, style)
        page.focus("#talk")
        page.keyboard.down(" ")
        speak(page, told)
        assert page.locator(".bubble").count() == 0
        page.keyboard.up(" ")
        expect(finished(page, "reply")).to_contain_text("I heard you")


# --- how it is let go -----------------------------------------------------------------------------


def leave_with_the_mouse(page: Page, meanwhile: Callable[[], None]) -> None:
    """Press, and let go elsewhere."""
    page.mouse.move(*middle(page, "#talk"))
    page.mouse.down()
    meanwhile()
    page.mouse.move(*middle(page, "#write-text"))
    page.mouse.up()


def have_the_touch_cancelled(page: Page, meanwhile: Callable[[], None]) -> None:
    """Touch, and have the browser take the finger away: a call, a gesture of the system."""
    touch = Finger(page)
    touch.down("#talk")
    meanwhile()
    touch.up("touchCancel")


def move_the_focus(page: Page, meanwhile: Callable[[], None]) -> None:
    """Hold the space bar, and be somewhere else before it is let go."""
    page.focus("#talk")
    page.keyboard.down(" ")
    meanwhile()
    page.focus("#write-text")


def repeat_the_key(page: Page, meanwhile: Callable[[], None]) -> None:
    """Hold it as keyboards do, which press again and again."""
    page.focus("#talk")
    page.keyboard.down(" ")
    meanwhile()
    for _ in range(5):
        page.keyboard.down(" ")
    page.keyboard.up(" ")


WAYS = [leave_with_the_mouse, have_the_touch_cancelled, move_the_focus, repeat_the_key]


@pytest.mark.parametrize("way", WAYS)
def test_the_button_is_let_go(
    cluster: Cluster, browser: Browser, way: Callable[[Page, Callable[[], None]], None]
) -> None:
    """One turn begins and ends, and nothing that is said afterwards is sent."""
    demo(cluster, way.__name__.replace("_", "-"))
    with watched(browser, cluster.address) as seen:
        page = seen.page
        told = sent_on(page)
        connect_to_push(page)

        def speak_on() -> None:
            expect(page.locator("#talk")).to_have_class("talk is-held")
            speak(page, told)

        way(page, speak_on)
        expect(page.locator("#talk")).to_have_class("talk")
        expect(finished(page, "reply")).to_contain_text("I heard you")
        assert kinds(told) == ["clear", "append", "commit"]
        assert told[-1]["type"] == "response.create"


def test_another_button_of_the_mouse_does_not_talk(cluster: Cluster, browser: Browser) -> None:
    """It opens a menu, and its release may never be told."""
    demo(cluster, "menu")
    with watched(browser, cluster.address) as seen:
        told = sent_on(seen.page)
        connect_to_push(seen.page)
        seen.page.mouse.move(*middle(seen.page, "#talk"))
        seen.page.mouse.down(button="right")
        seen.page.wait_for_timeout(PUSHED_MS)
        assert kinds(told) == []


def test_a_session_that_is_lost_lets_the_button_go(cluster: Cluster, browser: Browser) -> None:
    """What is held when a session ends is not held in the next one."""
    demo(cluster, "held")
    with watched(browser, cluster.address, expected=FAILURES) as seen:
        page = seen.page
        connect_to_push(page)
        touch = Finger(page)
        touch.down("#talk")  # a touch gives no focus that could be lost
        expect(page.locator("#talk")).to_have_class("talk is-held")
        page.evaluate("document.getElementById('connect').click()")
        expect(page.locator("#talk")).to_have_class("talk")
        told = sent_on(page)
        page.evaluate("document.getElementById('connect').click()")
        expect(page.locator("#status")).to_have_text("Connected")
        page.wait_for_timeout(300)
        assert kinds(told) == []
        touch.up()
        touch.down("#talk")
        hear_of(page, lambda: any(map(is_audio, told)))
        assert kinds(told) == ["clear", "append"]
        touch.up()


def kinds(told: list[dict[str, Any]]) -> list[str]:
    """What was done with the buffer; many appends in a row are one."""
    done = [x["type"].split(".")[1] for x in told if x["type"].startswith("input_audio_buffer.")]
    return [
        kind for at, kind in enumerate(done) if kind != "append" or done[at - 1 : at] != ["append"]
    ]
