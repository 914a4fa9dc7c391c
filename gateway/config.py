"""The settings of a gateway, checked together and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.limits import GRANT_CACHE_S_MAX
from gateway.spool_keeper import Retention
from shared import config
from shared.config import Address, Checker

OFF: Final = "off"
DEFAULT_TLS_LISTEN: Final = Address("127.0.0.1", 8443)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Where wss is served, and with what."""

    listen: Address
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Everything that a gateway needs to know. Secrets stay out of its text."""

    listen: Address | None
    tls: TlsConfig | None
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
    listen = checker.value("GATEWAY_LISTEN", _address_or_off)
    loaded = GatewayConfig(
        listen=listen,
        tls=_load_tls(checker, listen, is_plain_off=settings.get("gateway_listen") == OFF),
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


def _address_or_off(text: str) -> Address | None:
    return None if text == OFF else config.address(text)


def _load_tls(checker: Checker, plain: Address | None, *, is_plain_off: bool) -> TlsConfig | None:
    cert = checker.optional("GATEWAY_TLS_CERT", Path)
    key = checker.optional("GATEWAY_TLS_KEY", Path)
    listen = checker.optional("GATEWAY_TLS_LISTEN", config.address)
    if cert is not None and key is not None:
        tls = TlsConfig(listen or DEFAULT_TLS_LISTEN, cert, key)
        if tls.listen == plain and plain.port:
            checker.problem(f"GATEWAY_TLS_LISTEN: found {plain}, which is GATEWAY_LISTEN, too")
        return tls
    if cert is not None or key is not None:
        found, missing = ("CERT", "KEY") if key is None else ("KEY", "CERT")
        checker.problem(f"GATEWAY_TLS_{found} is set without GATEWAY_TLS_{missing}; set both")
    elif listen is not None:
        checker.problem("GATEWAY_TLS_LISTEN is set without GATEWAY_TLS_CERT and GATEWAY_TLS_KEY")
    elif is_plain_off:
        checker.problem("GATEWAY_LISTEN is off and there is no GATEWAY_TLS_CERT: nothing to serve")
    return None
