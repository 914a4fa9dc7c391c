"""openai-python makes a call, joins it over a sideband, and ends it."""

from openai import AsyncOpenAI

from clients.outcome import Outcome, Where

OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


async def call(where: Where) -> Outcome:
    """A call as a server has it: its caller's offer in, the provider's answer out, then control."""
    outcome = Outcome()
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    answer = await client.realtime.calls.create(
        sdp=OFFER, session={"type": "realtime", "model": where.model}
    )
    assert answer.text.startswith("v=0")
    call_id = answer.response.headers["Location"].rpartition("/")[2]
    async with client.realtime.connect(call_id=call_id) as connection:
        await connection.response.create(response={"output_modalities": ["text"]})
        async for event in connection:
            assert event.type != "error", event
            if event.type == "response.output_text.delta":
                outcome.words += event.delta
            elif event.type == "response.done":
                break
    await client.realtime.calls.hangup(call_id)
    return outcome


CLIENTS = {"openai-python calls": (call, "gpt-realtime")}
