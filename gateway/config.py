"""The settings of a gateway, checked together and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.limits import GRANT_CACHE_S_MAX
from gateway.models import ModelTable, read_table
from gateway.providers.catalog import CATALOG, PROVIDER_NAMES, ProviderConfig
from gateway.spool_keeper import Retention
from shared import config
from shared.config import Address, Checker


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Everything that a gateway needs to know. Secrets stay out of its text."""

    listen: Address
    reuse_port: bool
    ops_listen: Address | None
    providers: tuple[ProviderConfig, ...]
    models: ModelTable
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
    loaded = GatewayConfig(
        listen=checker.value("GATEWAY_LISTEN", config.address),
        reuse_port=checker.value("GATEWAY_REUSE_PORT", config.one_of("yes", "no")) == "yes",
        ops_listen=checker.optional("GATEWAY_OPS_LISTEN", config.address),
        providers=_providers(checker),
        models=checker.optional("GATEWAY_MODELS_FILE", _models) or ModelTable(),
        usage_endpoint=checker.value("ACCOUNTD_USAGE_ENDPOINT", config.endpoint),
        rpc_endpoint=checker.value("ACCOUNTD_RPC_ENDPOINT", config.endpoint),
        events_endpoint=checker.value("ACCOUNTD_EVENTS_ENDPOINT", config.endpoint),
        spool_dir=checker.optional("GATEWAY_SPOOL_DIR", Path),
        retention=Retention(
            seconds=checker.value("GATEWAY_SPOOL_RETENTION_S", config.number(0, 30 * 86_400)),
            size=checker.value("GATEWAY_SPOOL_RETENTION_BYTES", config.integer(0, 2**40)),
        ),
        grant_cache_s=checker.value("GATEWAY_GRANT_CACHE_S", config.number(0, GRANT_CACHE_S_MAX)),
        log_level=checker.value("LOG_LEVEL", config.one_of("DEBUG", "INFO", "WARNING", "ERROR")),
        log_as_json=checker.value("LOG_FORMAT", config.one_of("logfmt", "json")) == "json",
    )
    checker.finish()
    return loaded


def _providers(checker: Checker) -> tuple[ProviderConfig, ...]:
    """Those that there is a key for; one at least."""
    found = []
    problems_before = checker.problems
    for entry in CATALOG:
        key = checker.optional_secret(entry.key_setting)
        if not key:
            continue
        if not key.isascii() or not key.isprintable() or " " in key:
            checker.problem(f"{entry.key_setting}: expected printable ASCII without spaces")
        base_url = checker.value(entry.url_setting, config.websocket_url)
        found.append(ProviderConfig(entry.name, base_url, key))
    if not found and checker.problems == problems_before:
        names = ", ".join(entry.key_setting for entry in CATALOG)
        checker.problem(f"no provider: found none of {names}; set one, or its …_FILE")
    return tuple(found)


def _models(text: str) -> ModelTable:
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ValueError(f"cannot read it: {reason}") from None
    return read_table(content, providers=PROVIDER_NAMES)
