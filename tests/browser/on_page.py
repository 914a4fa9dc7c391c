"""What the tests of the page do on it, and what they see, hear and read there."""

import array
import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from playwright.sync_api import Page, expect

from browser.chromium import HERE
from tests.support.harness import Cluster, eventually
from tests.support.private_files import write_private

T = TypeVar("T")
Samples = Sequence[int]  # 16-bit

SECRET = "s" * 64
STYLES = ("openai", "beta", "gemini")
# What a browser logs itself when a socket or a request fails, as some tests make them.
FAILURES = ("WebSocket connection to", "Failed to load resource")


# Keeps every text of an element from now on: what is shown for a moment only can be missed.
KEEP_TEXTS = """selector => {
  const element = document.querySelector(selector);
  const texts = [];
  (window.texts ??= {})[selector] = texts;
  const keep = () => { texts.push(element.textContent); };
  new MutationObserver(keep).observe(element, { childList: true, subtree: true });
}"""


def start_gateway(cluster: Cluster, address: str) -> None:
    """The page's gateway, which serves the recorder beside it."""
    cluster.start_gateway(script=HERE / "recording_gateway.py", GATEWAY_LISTEN=address)


def demo(cluster: Cluster, account: str, *, tokens: int = 10**6, topup: int = 0) -> str:
    """Make ``account`` the demo's; its key."""
    key = cluster.create_account(account, tokens=tokens, topup=topup)
    write_private(cluster.folder / "demo.key", key)
    return key


def connect(page: Page, *, style: str = "openai", model: str = "", provider: str = "") -> None:
    """Choose, connect, and wait until the session can be used. ``provider``: another than the
    style's own.
    """
    page.check(f"input[value={style}]")
    page.select_option("#provider", provider)
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


def sent_on(page: Page) -> list[dict[str, Any]]:
    """Everything that the page sends from now on, as it grows."""
    told: list[dict[str, Any]] = []
    page.on(
        "websocket", lambda socket: socket.on("framesent", lambda x: told.append(json.loads(x)))
    )
    return told


def hear_of(page: Page, check: Callable[[], T]) -> T:
    """The first true answer of ``check``, while what the page sends is heard."""

    def look() -> T:
        page.evaluate("0")  # nothing is told of the page but while something is asked of it
        return check()

    return eventually(look)


def keep_texts(page: Page, selector: str) -> None:
    """Keep every text that an element has from now on."""
    page.evaluate(KEEP_TEXTS, selector)


def expect_said(page: Page, selector: str, text: str) -> None:
    """Wait until the element has said ``text``, though perhaps for a moment, since it is kept."""
    page.wait_for_function(
        "([selector, text]) => texts[selector].some((said) => said.includes(text))",
        arg=[selector, text],
    )


class Track(NamedTuple):
    """What was heard; ``frame`` is that of the first sample. ``ran_dry`` are the indices at which
    the page had nothing to play any more, ``quantum`` the samples that it plays at once.
    """

    samples: Samples
    frame: int
    rate_hz: int
    quantum: int
    ran_dry: Sequence[int]


def track(page: Page, name: str) -> Track:
    """What was heard of the ``speaker``, the ``microphone`` as the page hears it, and as ``voice``
    by the clock of the speaker.
    """
    found = page.evaluate("name => recorded.track(name)", name)
    samples = array.array("h", base64.b64decode(found["pcm"]))
    ran_dry = [frame - found["frame"] for frame in found["dry"]]
    return Track(samples, found["frame"], found["rate"], found["quantum"], ran_dry)


def sent_by_simulator(cluster: Cluster) -> Samples:
    """The audio of the session that was opened last."""
    newest = max((cluster.folder / "audio").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return array.array("h", newest.read_bytes())


def first_sound(samples: Samples) -> int:
    """The index of the first sample that is not silence."""
    return next(at for at, x in enumerate(samples) if x)


def sounds(samples: Samples) -> list[int]:
    """The indices of the samples that are not silence: gaps on a busy machine do not count."""
    return [at for at, x in enumerate(samples) if x]


def hear_whole(page: Page, sent: Samples) -> None:
    """Wait until exactly these samples have left the speakers.

    There is a gap only where the page says that nothing was there to be played: on a busy machine
    pieces come late.
    """
    missing = ["nothing yet"]

    def is_heard() -> bool:
        missing[:] = _missing(page, sent)
        return not missing

    try:
        eventually(is_heard)
    except AssertionError:
        raise AssertionError(f"not heard whole: {', '.join(missing)}") from None


def _missing(page: Page, sent: Samples) -> list[str]:
    """What is wrong with what was heard; nothing when it is what was sent."""
    recorded = track(page, "speaker")
    if not any(recorded.samples):
        return ["only silence"]
    heard = _without_waiting(recorded)
    start = first_sound(heard) - first_sound(sent)
    heard = heard[start : start + len(sent)]
    if heard == sent:
        return []
    same = next((at for at, (x, y) in enumerate(zip(heard, sent, strict=False)) if x != y), None)
    return [
        f"{len(heard)} of {len(sent)} samples",
        f"the first that differs is {same}",
        f"it began at {start} of {len(recorded.samples)} and ran dry at {recorded.ran_dry}",
        f"{page.locator('.bubble').count()} bubbles",
    ]


def _without_waiting(recorded: Track) -> Samples:
    """What was recorded, without the silence from where it ran dry to where it went on."""
    samples, _, _, quantum, ran_dry = recorded
    heard = array.array("h")
    begin = 0
    for end in ran_dry:
        heard.extend(samples[begin:end])
        begin = -(-end // quantum) * quantum  # it goes on with a whole quantum
        while begin < len(samples) and not any(samples[begin : begin + quantum]):
            begin += quantum
    heard.extend(samples[begin:])
    return heard
