"""A browser makes a call from a page of another origin, by its own rules, with an offer of its."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.harness import Cluster, eventually
from tests.support.http_client import ask

# As OpenAI's guide to WebRTC has it: an offer for a microphone's track, sent alone.
CALL = """
async ({ url, key }) => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("audio");
  await peer.setLocalDescription(await peer.createOffer());
  const answer = await fetch(url, {
    method: "POST",
    body: peer.localDescription.sdp,
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/sdp" },
  });
  peer.close();
  return {
    status: answer.status,
    location: answer.headers.get("Location"),
    text: await answer.text(),
  };
}
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of no origin at all."""
    found = browser.new_page()
    yield found
    found.close()


def call(page: Page, cluster: Cluster, key: str) -> dict[str, Any]:
    """What a page hears when it makes a call."""
    url = f"http://{cluster.address}/v1/realtime/calls"
    answer = page.evaluate(CALL, {"url": url, "key": key})
    assert isinstance(answer, dict)
    return answer


def test_a_page_makes_a_call(cluster: Cluster, page: Page) -> None:
    """It reads the answer and the call's name; the call is charged."""
    key = cluster.create_account("caller")
    session = {"type": "realtime", "model": "sim-caller-1,pace-0"}
    made = ask(
        cluster.address, "POST", "/v1/realtime/client_secrets", key=key,
        body=json.dumps({"session": session}),
    )  # fmt: skip
    answer = call(page, cluster, made.json["value"])
    assert (answer["status"], answer["text"][:3]) == (201, "v=0")
    call_id = answer["location"].rpartition("/")[2]
    eventually(lambda: sum(row["responses"] for row in cluster.usage_rows("caller")) == 1)
    (told,) = [x for x in cluster.usage_sent() if x["session"] == call_id]
    (row,) = cluster.usage_rows("caller")
    assert row["response_ids"] == [told["response_id"]]
    assert row["total_tokens"] == told["charge"]["total_tokens"]


def test_a_page_reads_why_not(cluster: Cluster, page: Page) -> None:
    """A refusal is no error of the network to it."""
    answer = call(page, cluster, "rslive_v1_" + "0" * 48)
    assert answer["status"] == 400  # before the key is asked about: no model is named
    assert "found no model" in answer["text"]
