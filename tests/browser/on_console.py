"""An account whose usage the console shows, and the console itself, as a test looks at it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Browser, Page, expect

from browser.chromium import watched
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.conversation import conversation
from tests.support.harness import Cluster, eventually
from tests.support.usage_socket import usage_socket

SESSIONS = 24  # three pages
DAYS = 27
PRODUCER = b"c" * 16
MODELS = (("gpt-realtime", "response", 1.0), ("gemini-live-2.5-flash", "response", 0.5),
          ("gpt-4o-transcribe", "transcription", 0.15))  # fmt: skip
UNKNOWN_KEY = "rslive_v1_" + "0a" * 24


@dataclass
class Account:
    """An account that has used something, its cluster, and a key for it."""

    cluster: Cluster
    key: str
    id: str = "acct"

    def usage(self, *options: str) -> dict[str, Any]:
        """What ``accountctl usage`` says."""
        found = self.cluster.accountctl("usage", self.id, *options)
        assert isinstance(found, dict)
        return found


async def speak(account: Account) -> None:
    """A session of two responses."""
    async with conversation(account.cluster.url, account.key, rs_sessid="spoken") as talking:
        await talking.respond_times(2)


def report(cluster: Cluster) -> int:
    """Report the sessions of the last weeks to accountd as a gateway does; how many batches."""
    made = random.Random(6)
    begin = datetime.now(UTC) - timedelta(days=DAYS)
    number = 0
    with usage_socket(cluster) as push:
        for index in range(SESSIONS):
            at = begin + timedelta(days=DAYS * index / SESSIONS)
            for model, kind, share in MODELS:
                number += 1
                tokens = int(made.uniform(2_000, 12_000) * share)
                batch = UsageBatch(
                    "acct", f"call-{index:02}", "openai", model, kind, 4, (f"r{number}",),
                    Usage(tokens // 3, tokens - tokens // 3, tokens), int(at.timestamp() * 1000),
                )  # fmt: skip
                push.send_multipart(encode_envelope(PRODUCER, number, encode_usage(batch)))
        eventually(lambda: len(cluster.usage_rows("acct")) == number)
    return number


@contextmanager
def console(
    browser: Browser,
    account: Account,
    *,
    address: str = "",
    refused: tuple[int, ...] = (),
    **look: Any,
) -> Iterator[Page]:
    """The console, open at its door; that of the gateway at ``address``, else of the first one. It
    may not complain, but of answers with a status among ``refused``, nor have a key anywhere at the
    end.
    """
    expected = tuple(f"responded with a status of {status}" for status in refused)
    address = address or account.cluster.address
    with watched(browser, address, path="/console", expected=expected, **look) as seen:
        page, asked = seen.page, list[str]()
        page.on("request", lambda request: asked.append(request.url))
        yield page
        kept = page.evaluate(
            """[document.documentElement.outerHTML, location.href, document.cookie,
                JSON.stringify({...localStorage, ...sessionStorage})]"""
        )
        assert not any(k in text for text in [*kept, *asked] for k in (account.key, UNKNOWN_KEY))


def sign_in(page: Page, key: str) -> None:
    """Sign in by keyboard and wait until everything is shown."""
    offer(page, key)
    expect(page.locator("#status")).to_contain_text("As of")
    expect(page.locator("#page")).to_have_text("Page 1")


def offer(page: Page, key: str) -> None:
    """Type a key and press Enter."""
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")


def cells(page: Page, region: str) -> list[dict[str, str]]:
    """The rows of a table by the heads of its columns, the sums included."""
    found = page.evaluate(
        """region => {
            const table = document.querySelector(`${region} table`);
            const text = (row) => [...row.cells].map((cell) => cell.textContent);
            return [text(table.tHead.rows[0]),
                    ...[...table.tBodies[0].rows, ...(table.tFoot?.rows ?? [])].map(text)];
        }""", region,
    )  # fmt: skip
    return [dict(zip(found[0], row, strict=True)) for row in found[1:]]


def number(text: str | None) -> int:
    """A number as the console writes it."""
    assert text is not None
    return int(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))
