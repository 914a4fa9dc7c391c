"""A program with pipecat's service for Gemini Live in a pipeline of its own."""

import asyncio
import os
import ssl

from google.genai import types
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService

from clients.heavy.pipecat_openai import hold


async def main() -> None:
    """The conversation of the service for OpenAI."""
    provider = os.environ["PROVIDER"]
    there = f"/provider/{provider}" if provider else ""
    tls = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    service = GeminiLiveLLMService(
        api_key=os.environ["API_KEY"],
        http_options=types.HttpOptions(
            base_url=os.environ["GATEWAY_URL_TLS"].replace("wss", "https", 1) + there,
            async_client_args={"ssl": tls},
        ),
        settings=GeminiLiveLLMService.Settings(model=os.environ["MODEL"]),
    )
    print((await hold(service)).to_json())


if __name__ == "__main__":
    asyncio.run(main())
