"""Clients that hold an ephemeral key, which a server made with the SDK."""

from dataclasses import replace

from openai import AsyncOpenAI
from openai.types.realtime import RealtimeSessionCreateRequestParam

from clients import genai_python, openai_python, programs
from clients.matrix import Client
from clients.outcome import Outcome, Where


def ephemeral(client: Client, *, is_bound: bool) -> Client:
    """``client``, unmodified, with such a key, bound to its model or not."""

    async def run(where: Where) -> Outcome:
        session: RealtimeSessionCreateRequestParam = {"type": "realtime"}
        if is_bound:
            session["model"] = where.model
        async with AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1") as server:
            secret = await server.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60}, session=session
            )
        return await client(replace(where, key=secret.value))

    return run


_ALL = {**openai_python.CLIENTS, **genai_python.CLIENTS, **programs.CLIENTS}
# openai-agents names a model of its own in session.update, whatever the URL says: it may not use a
# key that is bound to another one.
_IS_BOUND_BY_NAME = {
    "openai-python async": True,
    "google-genai ephemeral key": True,
    "openai-agents": False,
    "openai-node OpenAIRealtimeWS": True,
    "@openai/agents-realtime": True,
    "@google/genai": True,
}
CLIENTS = {
    f"{name}, ephemeral": (ephemeral(_ALL[name][0], is_bound=is_bound), _ALL[name][1])
    for name, is_bound in _IS_BOUND_BY_NAME.items()
}
