"""A real Chromium with a microphone that plays a file, and pages that are watched."""

import os
import re
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.support.paths import ROOT, TESTS
from tests.support.speech import RATE_HZ, silence, tone

CHROMIUM = Path("/usr/bin/chromium")
HERE = Path(__file__).parent
AXE = TESTS / "clients" / "node" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("RTS_PICTURES")  # a folder: the pictures of docs/ are made anew in it
WAIT_MS = 15_000
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
# What the microphone hears once it is opened, in seconds.
QUIET_S, SPEECH_S = 0.4, 1.0


def utterance() -> bytes:
    """What is said into the fake microphone, as 24 kHz PCM."""
    return silence(QUIET_S) + tone(SPEECH_S) + silence(30.0)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser whose microphone says ``utterance`` once, each time it is opened."""
    if not CHROMIUM.exists():
        pytest.fail(f"found no {CHROMIUM}; on Debian: apt-get install chromium (.ci/run does)")
    speech = folder / "speech.wav"
    with wave.open(str(speech), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(utterance())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",  # containers run as root
                "--use-fake-device-for-media-stream",
                "--host-resolver-rules=MAP voice.test 127.0.0.1",  # a name that is not secure
                f"--use-file-for-fake-audio-capture={speech}%noloop",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what must not happen on it. ``complaints`` are console errors, exceptions,
    violations of the policy and requests to anywhere else.
    """

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    # Failures that the test itself brings about, by a part of their text.
    expected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Begin to watch."""
        self.page.on("console", lambda said: said.type == "error" and self._note(said.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", lambda request: self._check(request.url))
        self.page.on("websocket", lambda socket: self._check(socket.url))

    def _check(self, url: str) -> None:
        own = (self.origin, self.origin.replace("http", "ws", 1), "data:", "blob:")
        if not url.startswith(own):
            self._note(f"request to {url}")

    def _note(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.complaints.append(text)


def tune(context: BrowserContext, module: str, constants: Mapping[str, int]) -> None:
    """Serve pages a module with other numbers, as ``tuned.py`` starts programs with them."""
    text = (ROOT / "gateway" / "web" / module).read_text()
    for name, value in constants.items():
        text, found = re.subn(rf"\bconst {name} = [\d_]+;", f"const {name} = {value};", text)
        assert found == 1, f"{module} has no number {name}"

    def serve(route: Route) -> None:
        route.fulfill(response=route.fetch(), body=text)

    context.route(f"**/web/{module}", serve)


@contextmanager
def watched(
    browser: Browser,
    address: str,
    *,
    path: str = "/",
    allows: Sequence[str] = ("microphone",),
    size: dict[str, int] | None = None,
    scheme: str = "light",
    expected: tuple[str, ...] = (),
    tuned: Mapping[str, Mapping[str, int]] | None = None,
) -> Iterator[Watched]:
    """A page of the gateway at ``address`` in a context of its own; it must end unblemished.

    ``tuned`` are numbers that its modules have in place of their own, by module and name.
    """
    origin = f"http://{address}"
    context = browser.new_context(
        viewport=size or DESKTOP,
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    try:
        context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        # What is not granted here is denied.
        context.grant_permissions(allows, origin=origin)
        context.add_init_script(path=HERE / "recorder.js")
        for module, constants in (tuned or {}).items():
            tune(context, module, constants)
        page = context.new_page()
        seen = Watched(page, origin, expected=expected)
        page.goto(origin + path)
        yield seen
        assert not seen.complaints, seen.complaints
    finally:
        context.close()
