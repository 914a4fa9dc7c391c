"""The settings of a gateway, checked together and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.limits import GRANT_CACHE_S_MAX
from gateway.spool_keeper import Retention
from shared import config
from shared.config import Address, Checker


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Everything that a gateway needs to know. Secrets stay out of its text."""

    listen: Address
    reuse_port: bool
    ops_listen: Address | None
    openai_base_url: str
    openai_api_key: str = field(repr=False)
    usage_endpoint: str
    rpc_endpoint: str
    events_endpoint: str
    spool_dir: Path | None
    retention: Retention
    grant_cache_s: float
    log_level: str
    log_as_json: bool


def load(settings: Mapping[str, str | None]) -> GatewayConfig:
    """Check all settings; raises one ``ConfigError`` that names every mistake."""
    checker = Checker(settings)
    api_key = checker.secret("OPENAI_API_KEY", advice="set it, or OPENAI_API_KEY_FILE")
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        checker.problem("OPENAI_API_KEY: expected printable ASCII without spaces")
    loaded = GatewayConfig(
        listen=checker.value("GATEWAY_LISTEN", config.address),
        reuse_port=checker.value("GATEWAY_REUSE_PORT", config.one_of("yes", "no")) == "yes",
        ops_listen=checker.optional("GATEWAY_OPS_LISTEN", config.address),
        openai_base_url=checker.value("OPENAI_BASE_URL", config.websocket_url),
        openai_api_key=api_key,
        usage_endpoint=checker.value("ACCOUNTD_USAGE_ENDPOINT", config.endpoint),
        rpc_endpoint=checker.value("ACCOUNTD_RPC_ENDPOINT", config.endpoint),
        events_endpoint=checker.value("ACCOUNTD_EVENTS_ENDPOINT", config.endpoint),
        spool_dir=checker.optional("GATEWAY_SPOOL_DIR", Path),
        retention=Retention(
            seconds=checker.value("GATEWAY_SPOOL_RETENTION_S", config.number(0, 30 * 86_400)),
            size=int(checker.value("GATEWAY_SPOOL_RETENTION_BYTES", config.number(0, 2**40))),
        ),
        grant_cache_s=checker.value("GATEWAY_GRANT_CACHE_S", config.number(0, GRANT_CACHE_S_MAX)),
        log_level=checker.value("LOG_LEVEL", config.one_of("DEBUG", "INFO", "WARNING", "ERROR")),
        log_as_json=checker.value("LOG_FORMAT", config.one_of("logfmt", "json")) == "json",
    )
    checker.finish()
    return loaded
