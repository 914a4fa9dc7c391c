"""openai-python dials again where that may help, and never where it cannot."""

import asyncio
import http
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from openai import AsyncOpenAI
from openai.types.websocket_reconnection import ReconnectingEvent
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.fake_provider import scripted

SWITCHING = 101
# What the provider answers to one handshake after the other; the last answer stands.
FOR_GOOD = [(400,), (401,), (403,), (404,)]
PASSING = [(503, SWITCHING), (429, SWITCHING), (500, 503, SWITCHING)]


def model_of(answers: tuple[int, ...]) -> str:
    """By its name the provider knows what to answer."""
    return "then-".join(map(str, answers))


async def test_a_refusal_for_good_is_dialled_once_and_one_that_passes_until_it_has() -> None:
    """A typing error in a model's name is no endless loop; a provider that restarts is found."""
    dials: Counter[str] = Counter()

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        (model,) = parse_qs(urlsplit(request.path).query)["model"]
        answers = list(map(int, model.split("then-")))
        status = answers[min(dials[model], len(answers) - 1)]
        dials[model] += 1
        return None if status == SWITCHING else connection.respond(http.HTTPStatus(status), "")

    async def script(provider: ServerConnection) -> None:
        await provider.send('{"type":"session.created","event_id":"event_1","session":{}}')
        await provider.wait_closed()

    async with scripted(script, answer=answer) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "acct")
        base = f"http://{cluster.address}/v1"
        async with AsyncOpenAI(api_key=key, base_url=base) as client:
            for answers in FOR_GOOD:
                types, close_codes, code = await listened(client, model_of(answers))
                assert (types, close_codes, code) == (["error"], [], 1008), answers
                assert dials[model_of(answers)] == 1, answers
            for answers in PASSING:
                types, close_codes, code = await listened(client, model_of(answers))
                refusals = len(answers) - 1
                assert types == ["error"] * refusals + ["session.created"], answers
                assert close_codes == [1013] * refusals, answers
                assert dials[model_of(answers)] == len(answers), answers


async def listened(client: AsyncOpenAI, model: str) -> tuple[list[str], list[int], int]:
    """What an application hears until its session is there or is lost, the closes on which the SDK
    dialled again, and the code of the last close (0: it is open).
    """
    types: list[str] = []
    close_codes: list[int] = []

    def reconnecting(event: ReconnectingEvent) -> Any:
        close_codes.append(event.close_code)

    connecting = client.realtime.connect(
        model=model, on_reconnecting=reconnecting, initial_delay=0.01, max_delay=0.01
    )
    async with connecting as connection:
        try:
            async for event in connection:
                types.append(event.type)
                if event.type == "session.created":
                    return types, close_codes, 0
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return types, close_codes, closed.rcvd.code
    pytest.fail("the SDK ended without a word")
