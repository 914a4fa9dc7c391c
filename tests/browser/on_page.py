"""What the tests of the page do on it, and what they see, hear and read there."""

import array
import base64
import json
import re
from collections.abc import Sequence
from typing import Any

from harness import Cluster
from playwright.sync_api import Page, expect

Samples = Sequence[int]  # 16-bit

SECRET = "s" * 64
STYLES = ("openai", "beta", "gemini")
# What a browser logs itself when a socket or a request fails, as some tests make them.
FAILURES = ("WebSocket connection to", "Failed to load resource")


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


def sent_on(page: Page) -> list[dict[str, Any]]:
    """Everything that the page sends from now on, as it grows."""
    told: list[dict[str, Any]] = []
    page.on(
        "websocket", lambda socket: socket.on("framesent", lambda x: told.append(json.loads(x)))
    )
    return told


def track(page: Page, name: str) -> tuple[Samples, int, int]:
    """(samples, the frame of the first, their rate in Hz) of what was heard: ``speaker``, the
    ``microphone`` as the page hears it, and as ``voice`` by the clock of the speaker.
    """
    found = page.evaluate("name => recorded.track(name)", name)
    return array.array("h", base64.b64decode(found["pcm"])), found["frame"], found["rate"]


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


def heard_whole(page: Page, sent: Samples) -> bool:
    """Whether exactly these samples left the speakers, without a gap."""
    heard, _, _ = track(page, "speaker")
    if not any(heard):
        return False
    start = first_sound(heard) - first_sound(sent)
    return heard[start : start + len(sent)] == sent
