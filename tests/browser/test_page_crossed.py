"""The page talks to a provider that speaks another protocol than its client."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser.chromium import PICTURES, watched
from browser.on_page import connect, demo, finished, hear_whole, sent_by_simulator, write
from tests.support.harness import Cluster, eventually

# Style, provider, the model that is charged: the provider's default, as the page names none.
CROSSED = [
    ("openai", "gemini", "gemini-3.1-flash-live-preview"),
    ("beta", "gemini", "gemini-3.1-flash-live-preview"),
    ("gemini", "openai", "gpt-realtime"),
    ("openai", "gemini-eu", "gemini-3.1-flash-live-preview"),
]


@pytest.mark.parametrize(("style", "provider", "model"), CROSSED)
def test_a_spoken_turn_with_a_provider_of_another_protocol(
    cluster: Cluster, browser: Browser, style: str, provider: str, model: str
) -> None:
    """What is said is heard, answered, shown, and charged as that provider's."""
    account = f"crossed-{style}-{provider}"
    demo(cluster, account, tokens=10_000, topup=50)
    with watched(browser, cluster.address) as seen:
        page = seen.page
        connect(page, style=style, provider=provider)
        page.click("#sample")
        expect(finished(page, "user")).to_contain_text("peech of")
        expect(finished(page, "reply")).to_contain_text("I heard you")
        expect(page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
        expect(page.locator("#last-usage")).to_contain_text("tokens")
        hear_whole(page, sent_by_simulator(cluster))
        expect(page.locator("#changes li").first).to_contain_text("top-up")
        # OpenAI's transcriber has a row of its own.
        eventually(lambda: (provider, model) in charged(cluster, account))
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{account}.png", full_page=True)
    assert cluster.gateways[0].complaints() == []


def charged(cluster: Cluster, account: str) -> set[tuple[str, str]]:
    """The providers and models that the account has paid for."""
    return {(row["provider"], row["model"]) for row in cluster.usage_rows(account)}


@pytest.mark.parametrize(("style", "provider", "_model"), CROSSED)
def test_a_tool_call_of_a_provider_of_another_protocol(
    cluster: Cluster, browser: Browser, style: str, provider: str, _model: str
) -> None:
    """The page's function is declared there, called, and answered."""
    demo(cluster, f"crossed-tool-{style}-{provider}")
    with watched(browser, cluster.address) as seen:
        connect(seen.page, style=style, provider=provider)
        write(seen.page, "Please call local_time.")
        expect(finished(seen.page, "tool")).to_contain_text("answered by this page")
        expect(finished(seen.page, "reply")).to_contain_text("I heard you")
