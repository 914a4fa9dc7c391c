"""The settings of a gateway, checked together and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.callers.client_address import Telling, TrustedProxies, read_networks
from gateway.delivery.retention import Retention
from gateway.door.allowed_models import ModelTable, read_table
from gateway.door.further_providers import FurtherProvider
from gateway.limits import AUTHORIZATION_CACHE_S_MAX
from gateway.providers.catalog import CATALOG, PROVIDER_NAMES, ProviderConfig
from shared import config, secret_files
from shared.config import Address, Checker
from shared.errors import ConfigError, cause_of
from shared.provider_kinds import kind_of

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
    providers: tuple[ProviderConfig, ...]
    models: ModelTable
    usage_endpoint: str
    rpc_endpoint: str
    events_endpoint: str
    serves_page: bool
    ephemeral_secrets: Path | None
    demo_key: Path | None
    allows_keys_in_urls: bool
    proxies: TrustedProxies
    connections_max: int
    connections_per_address: int
    sessions_per_key_s: float
    demo_hosts: frozenset[str]
    spool_dir: Path | None
    retention: Retention
    grant_cache_s: float
    near_empty_responses: int
    typical_credits: int
    allows_unknown_handles: bool
    stores_conversations: bool
    keeps_sessions: bool
    drain_close_code: int
    log_level: str
    log_as_json: bool

    @property
    def may_translate(self) -> bool:
        """Whether there are providers of both families, so that a client may ask for one that
        speaks another protocol.
        """
        kinds = {kind_of(provider.name) for provider in self.providers}
        return "gemini" in kinds and len(kinds) > 1


def load(settings: Mapping[str, str | None]) -> GatewayConfig:
    """Check all settings; raises one ``ConfigError`` that names every mistake."""
    checker = Checker(settings)
    listen = checker.value("GATEWAY_LISTEN", _address_or_off)
    models = checker.optional("GATEWAY_MODELS_FILE", _models) or ModelTable()
    loaded = GatewayConfig(
        listen=listen,
        tls=_load_tls(checker, listen, is_plain_off=settings.get("gateway_listen") == OFF),
        reuse_port=checker.value("GATEWAY_REUSE_PORT", config.one_of("yes", "no")) == "yes",
        ops_listen=checker.optional("GATEWAY_OPS_LISTEN", config.address),
        providers=_providers(checker, models),
        models=models,
        usage_endpoint=checker.value("ACCOUNTD_USAGE_ENDPOINT", config.endpoint),
        rpc_endpoint=checker.value("ACCOUNTD_RPC_ENDPOINT", config.endpoint),
        events_endpoint=checker.value("ACCOUNTD_EVENTS_ENDPOINT", config.endpoint),
        serves_page=checker.value("GATEWAY_PAGE", config.one_of("yes", "no")) == "yes",
        ephemeral_secrets=checker.optional("GATEWAY_EPHEMERAL_SECRET_FILE", Path),
        demo_key=checker.optional("GATEWAY_DEMO_KEY_FILE", Path),
        allows_keys_in_urls=checker.value("GATEWAY_KEYS_IN_URLS", config.one_of("allow", "refuse"))
        == "allow",
        proxies=_proxies(checker),
        connections_max=checker.value("GATEWAY_CONNECTIONS_MAX", config.integer(0, 10_000_000)),
        connections_per_address=checker.value(
            "GATEWAY_CONNECTIONS_PER_ADDRESS", config.integer(0, 10_000_000)
        ),
        sessions_per_key_s=checker.value("GATEWAY_SESSIONS_PER_KEY_S", config.number(0, 10_000)),
        demo_hosts=checker.optional("GATEWAY_DEMO_HOSTS", config.host_names) or frozenset(),
        spool_dir=checker.optional("GATEWAY_SPOOL_DIR", Path),
        retention=Retention(
            seconds=checker.value("GATEWAY_SPOOL_RETENTION_S", config.number(0, 30 * 86_400)),
            size=checker.value("GATEWAY_SPOOL_RETENTION_BYTES", config.integer(0, 2**40)),
        ),
        grant_cache_s=checker.value(
            "GATEWAY_GRANT_CACHE_S", config.number(0, AUTHORIZATION_CACHE_S_MAX)
        ),
        near_empty_responses=checker.value(
            "GATEWAY_NEAR_EMPTY_RESPONSES", config.integer(0, 1_000_000)
        ),
        typical_credits=checker.value(
            "GATEWAY_TYPICAL_RESPONSE_CREDITS", config.integer(0, 10**12)
        ),
        allows_unknown_handles=checker.value(
            "GATEWAY_UNKNOWN_HANDLES", config.one_of("allow", "refuse")
        )
        == "allow",
        stores_conversations=checker.value(
            "GATEWAY_STORE_CONVERSATIONS", config.one_of("yes", "no")
        )
        == "yes",
        keeps_sessions=checker.value("GATEWAY_KEEP_SESSIONS", config.one_of("yes", "no")) == "yes",
        drain_close_code=int(
            checker.value("GATEWAY_DRAIN_CLOSE_CODE", config.one_of("1001", "1012"))
        ),
        log_level=checker.value("LOG_LEVEL", config.one_of("DEBUG", "INFO", "WARNING", "ERROR")),
        log_as_json=checker.value("LOG_FORMAT", config.one_of("logfmt", "json")) == "json",
    )
    if loaded.demo_key:
        _check_demo_key(checker, loaded.demo_key, has_secrets=loaded.ephemeral_secrets is not None)
    checker.finish()
    return loaded


def _providers(checker: Checker, models: ModelTable) -> tuple[ProviderConfig, ...]:
    """Those that there is a key for; one at least. Of each kind its first, then what the models
    file adds.
    """
    found = []
    problems_before = checker.problems
    for entry in CATALOG:
        key = checker.optional_secret(entry.key_setting)
        if not key:
            continue
        _check_key(checker, entry.key_setting, key)
        base_url = checker.value(entry.url_setting, config.websocket_url)
        found.append(ProviderConfig(entry.kind, base_url, key))
    found += [_further(checker, each) for each in models.further]
    if not found and checker.problems == problems_before:
        names = ", ".join(entry.key_setting for entry in CATALOG)
        checker.problem(f"no provider: found none of {names}; set one, or its …_FILE")
    return tuple(found)


def _further(checker: Checker, given: FurtherProvider) -> ProviderConfig:
    """A provider of the models file. Without an address of its own it is at that of its kind."""
    where = f"GATEWAY_MODELS_FILE: providers.{given.name}"
    key = checker.secret(
        given.key_setting, advice=f"set it, or {given.key_setting}_FILE: {where} names it"
    )
    _check_key(checker, given.key_setting, key)
    url_setting = next(e.url_setting for e in CATALOG if e.kind == kind_of(given.name))
    base_url = None
    if not given.base_url:
        base_url = checker.optional(url_setting, config.websocket_url)
        if base_url is None:
            checker.problem(f"{where}: found no base_url, and no {url_setting}; set one of them")
    else:
        try:
            base_url = config.websocket_url(given.base_url)
        except ValueError as exc:
            checker.problem(
                f"{where}: base_url: found {config.without_secrets(given.base_url)!r}, {exc}"
            )
    return ProviderConfig(given.name, base_url or "", key)


def _check_key(checker: Checker, name: str, key: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        checker.problem(f"{name}: expected printable ASCII without spaces")


def _models(text: str) -> ModelTable:
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"cannot read it: {cause_of(exc)}") from None
    return read_table(content, providers=PROVIDER_NAMES)


def _proxies(checker: Checker) -> TrustedProxies:
    networks = checker.optional("GATEWAY_TRUSTED_PROXIES", read_networks) or ()
    one_of = config.one_of(*(telling.value for telling in Telling))
    telling = Telling(
        checker.value("GATEWAY_CLIENT_ADDRESS", one_of) or Telling.FORWARDED_FOR.value
    )
    if telling is Telling.PROXY_V2 and not networks:
        checker.problem("GATEWAY_CLIENT_ADDRESS is proxy-v2 without GATEWAY_TRUSTED_PROXIES")
    return TrustedProxies(networks, telling)


def _check_demo_key(checker: Checker, path: Path, *, has_secrets: bool) -> None:
    """It may come later: the demo's account is made once the gateways run."""
    if not has_secrets:
        checker.problem("GATEWAY_DEMO_KEY_FILE is set without GATEWAY_EPHEMERAL_SECRET_FILE")
    if not path.exists():
        return
    try:
        secret_files.check("GATEWAY_DEMO_KEY_FILE", path)
    except ConfigError as exc:
        checker.problem(str(exc))


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
