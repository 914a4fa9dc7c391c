"""The text that ``make up`` prints: a program to paste, and the commands to run after it."""

from collections.abc import Mapping

_TEXT = """
ready: {url}, and {url_tls} for clients that insist on TLS
(the addresses, the key, the account and the file with the certificate are in var/cluster.env)

Talk to it in a browser: {page}

Talk to it with the official SDK (pip install "openai[realtime]"):

--------------------------------------------------------------------------------
import asyncio
from openai import AsyncOpenAI

client = AsyncOpenAI(
    base_url="{base_url}",
    api_key="{key}",
)

async def main():
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(
            session={{"type": "realtime", "output_modalities": ["text"]}},
        )
        await connection.conversation.item.create(item={{
            "type": "message", "role": "user",
            "content": [{{"type": "input_text", "text": "Say hello!"}}],
        }})
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
            elif event.type == "response.done":
                print("\\n", event.response.usage.total_tokens, "tokens")
                break

asyncio.run(main())
--------------------------------------------------------------------------------

Over TLS: base_url="{base_url_tls}" and SSL_CERT_FILE={ca_file} in the environment
(Node: NODE_EXTRA_CA_CERTS).

Then see what it cost:   {accountctl} usage {account}
Stop everything:         make down
"""


def snippet_of(text: str) -> str:
    """The Python program between the two rulers in the text of ``render``."""
    return text.split("-" * 80)[1]


def render(values: Mapping[str, str], *, accountctl: str) -> str:
    """The text for a cluster; ``accountctl`` is the command line that runs accountctl there."""
    url = values["GATEWAY_URL"]
    return _TEXT.format(
        url=url,
        page=base_url(url).removesuffix("v1"),
        base_url=base_url(url),
        url_tls=values["GATEWAY_URL_TLS"],
        base_url_tls=base_url(values["GATEWAY_URL_TLS"]),
        ca_file=values["CA_FILE"],
        key=values["API_KEY"],
        account=values["ACCOUNT_ID"],
        accountctl=accountctl,
    )


def base_url(url: str) -> str:
    """The URL with http(s) in place of ws(s), as SDKs expect it."""
    return url.replace("ws", "http", 1) + "/v1"
