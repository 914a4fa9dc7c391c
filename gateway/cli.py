"""The command ``rts-gateway``."""

import os
import sys

import click
import uvloop

from gateway import app, build, limits
from gateway.config import load
from shared import config, core_dumps, logs
from shared.config import setting
from shared.file_descriptors import raise_limit


@click.group()
@click.version_option(package_name="realtime-switch")
def cli() -> None:
    """Relay voice sessions to the provider and meter them."""


@cli.command()
@setting(
    "GATEWAY_LISTEN",
    default="127.0.0.1:8080",
    help="Where clients connect with ws, HOST:PORT; off: only with wss.",
)
@setting(
    "GATEWAY_TLS_LISTEN",
    help="Where clients connect with wss, HOST:PORT; with a certificate 127.0.0.1:8443.",
)
@setting(
    "GATEWAY_TLS_CERT", help="The certificate and its chain, a PEM file; SIGHUP reads it anew."
)
@setting("GATEWAY_TLS_KEY", help="The certificate's key, a PEM file without a password.")
@setting(
    "GATEWAY_REUSE_PORT", default="no", help="yes: several gateways share the ports (SO_REUSEPORT)."
)
@setting("GATEWAY_OPS_LISTEN", help="A second port for /healthz and /readyz, HOST:PORT.")
@setting(
    "OPENAI_BASE_URL",
    default="https://api.openai.com/v1",
    help="OpenAI; /realtime is appended. Its key: OPENAI_API_KEY or OPENAI_API_KEY_FILE.",
)
@setting(
    "AZURE_OPENAI_ENDPOINT",
    help="The Azure OpenAI resource, https://NAME.openai.azure.com. Its key:"
    " AZURE_OPENAI_API_KEY or …_FILE.",
)
@setting(
    "XAI_BASE_URL",
    default="https://api.x.ai/v1",
    help="xAI; /realtime is appended. Its key: XAI_API_KEY or XAI_API_KEY_FILE.",
)
@setting(
    "GEMINI_BASE_URL",
    default="https://generativelanguage.googleapis.com",
    help="Gemini Live; /ws/… is appended. Its key: GEMINI_API_KEY or GEMINI_API_KEY_FILE.",
)
@setting(
    "GATEWAY_MODELS_FILE",
    help="A TOML file that maps model names to providers and says which account may use which.",
)
@setting(
    "ACCOUNTD_USAGE_ENDPOINT",
    default=config.DEFAULT_USAGE_ENDPOINT,
    help="accountd's usage socket: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@setting(
    "ACCOUNTD_RPC_ENDPOINT",
    default=config.DEFAULT_RPC_ENDPOINT,
    help="accountd's request socket: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@setting(
    "ACCOUNTD_EVENTS_ENDPOINT",
    default=config.DEFAULT_EVENTS_ENDPOINT,
    help="accountd's announcements: ipc://PATH or tcp://127.0.0.1:PORT.",
)
@setting(
    "GATEWAY_PAGE",
    default="no",
    help="yes: serve the page at / and the console at /console, on the clients' port.",
)
@setting(
    "GATEWAY_EPHEMERAL_SECRET_FILE",
    help="A file with the secret that signs ephemeral keys, in the next line the one before;"
    " SIGHUP reads it anew. Without it there are none.",
)
@setting(
    "GATEWAY_DEMO_KEY_FILE",
    help="A file with the key of a demo account: the page gets ephemeral keys for it.",
)
@setting(
    "GATEWAY_TRUSTED_PROXIES",
    help="Addresses and networks of the proxies in front, with commas between them: what they say"
    " of a client's address is believed.",
)
@setting(
    "GATEWAY_CLIENT_ADDRESS",
    default="x-forwarded-for",
    help="How they say it: x-forwarded-for (the header), or proxy-v2 (PROXY protocol, version 2,"
    " without which their connections are cut).",
)
@setting(
    "GATEWAY_CONNECTIONS_MAX",
    default="0",
    help="Sessions and calls at once; more get 503. 0: as many as the limit of open files allows.",
)
@setting(
    "GATEWAY_CONNECTIONS_PER_ADDRESS",
    default="0",
    help="Connections at once of one address, of any kind; more get 429. 0: any number.",
)
@setting(
    "GATEWAY_SESSIONS_PER_KEY_S",
    default="100",
    help="Sessions that a key may begin in a second, for ten seconds at once; more get 429. 0: any"
    " number.",
)
@setting(
    "GATEWAY_KEYS_IN_URLS",
    default="allow",
    help="allow or refuse: keys of clients in URLs (?key=, ?rs_key=, …), which proxies and browsers"
    " write down.",
)
@setting(
    "GATEWAY_DEMO_HOSTS",
    help="Names under which the demo's page may be opened, with commas between them, beside"
    " localhost and addresses.",
)
@setting(
    "GATEWAY_SPOOL_DIR",
    help="A folder on this host's disk where metered usage survives a gateway that is killed.",
)
@setting(
    "GATEWAY_SPOOL_RETENTION_S",
    default=f"{limits.SPOOL_RETENTION_S:.0f}",
    help="Seconds for which the spool keeps usage that is durable, to refill a restored accountd.",
)
@setting(
    "GATEWAY_SPOOL_RETENTION_BYTES",
    default=str(limits.SPOOL_RETENTION_BYTES),
    help="Bytes above which the spool removes the oldest usage that is durable.",
)
@setting(
    "GATEWAY_GRANT_CACHE_S",
    default=f"{limits.AUTHORIZATION_CACHE_S_MAX:.0f}",
    help="While accountd is away, a key that it let in so many seconds ago is let in (0 to 60).",
)
@setting(
    "GATEWAY_NEAR_EMPTY_RESPONSES",
    default=str(limits.NEAR_EMPTY_RESPONSES),
    help="Usage is sent at once while an account has credit for fewer typical responses than this.",
)
@setting(
    "GATEWAY_TYPICAL_RESPONSE_CREDITS",
    default=str(limits.TYPICAL_RESPONSE_CREDITS),
    help="What a response is taken to cost, until one has cost more: while an account has more"
    " sessions than its credit pays responses for, they take turns. 0: they never do.",
)
@setting(
    "GATEWAY_UNKNOWN_HANDLES",
    default="allow",
    help="allow: a call, conversation or session to resume that no account was given here belongs"
    " to the first that names it; refuse: nobody may name it.",
)
@setting(
    "GATEWAY_STORE_CONVERSATIONS",
    default="no",
    help="yes: accountd stores the conversation of a session that its client named (rs_sessid), so"
    " that a client which connects again with that name continues it.",
)
@setting(
    "GATEWAY_KEEP_SESSIONS",
    default="yes",
    help="yes: a session that loses its provider's connection goes on over another one, which is"
    " told the conversation; no: it ends, where nothing is translated.",
)
@setting(
    "GATEWAY_DRAIN_CLOSE_CODE",
    default="1001",
    help="How sessions are closed when the gateway stops: 1001 (going away) or 1012 (restart).",
)
@setting("LOG_LEVEL", default="INFO", help="DEBUG, INFO, WARNING or ERROR.")
@setting("LOG_FORMAT", default="logfmt", help="logfmt or json, on stderr.")
def serve(**settings: str | None) -> None:
    """Serve until SIGTERM, then let responses finish and hand over all usage."""
    core_dumps.forbid()
    loaded = load(settings)
    logs.configure(service="gateway", level=loaded.log_level, as_json=loaded.log_as_json)
    build.check()
    raise_limit()
    # numpy's library would keep a thread for each core; what is computed here is too small for two.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(uvloop.run(app.run(loaded)))


def main() -> None:
    """Entry point of ``rts-gateway``."""
    config.run(cli)
