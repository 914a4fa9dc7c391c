"""The settings of accountd, checked together and frozen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from accountd.accounts.conversations import HOURS_MAX
from accountd.accounts.handles import DAYS_MAX
from accountd.accounts.limit_words import parse_account_limits, parse_key_limits
from accountd.accounts.limits import UNLIMITED, LimitDefaults
from accountd.accounts.plans import TokensByPlan, parse_plans
from accountd.data import database, unopenable
from accountd.data.journal import SUFFIX
from accountd.data.links import belongs_to, followed
from accountd.ledger.estimates import UNCHARGED_MAX, EstimatePolicy
from accountd.ledger.rate_card_file import read_rate_card
from accountd.maintenance.backup_schedule import KEEP_MAX, BackupSchedule, parse_every
from accountd.notifications.webhook import WebhookTarget, parse_secret, parse_url
from shared import config
from shared.config import Address, Checker
from shared.errors import ConfigError
from shared.rates import DEFAULT_RATES, Rates

_HOW_TO_SIGN: Final = (
    "set ACCOUNTD_WEBHOOK_SECRET_FILE or ACCOUNTD_WEBHOOK_SECRET, e.g. to"
    ' "whsec_$(openssl rand -base64 32)"'
)


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """The database's path and key. ``repr`` does not show the key."""

    path: Path
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountdConfig:
    """Everything that the daemon needs to know."""

    database: DatabaseConfig
    journal: Path
    usage_endpoint: str
    rpc_endpoint: str
    events_endpoint: str
    estimates: EstimatePolicy
    handles_days: int
    conversations_hours: int
    rate_card: Path | None
    rates: Rates  # the rate card at the start; SIGHUP may load another one
    plans: TokensByPlan
    limits: LimitDefaults
    webhook: WebhookTarget | None
    backups: BackupSchedule | None
    ops_listen: Address | None
    log_level: str
    log_as_json: bool


def load(settings: Mapping[str, str | None]) -> AccountdConfig:
    """Check the settings of ``accountd serve``; raises one ``ConfigError`` for all mistakes."""
    checker = Checker(settings)
    ledger = _database(checker)
    loaded = AccountdConfig(
        database=ledger,
        journal=_journal(checker, ledger.path),
        usage_endpoint=checker.value("ACCOUNTD_USAGE_ENDPOINT", config.endpoint),
        rpc_endpoint=checker.value("ACCOUNTD_RPC_ENDPOINT", config.endpoint),
        events_endpoint=checker.value("ACCOUNTD_EVENTS_ENDPOINT", config.endpoint),
        estimates=_estimates(checker),
        handles_days=checker.value("ACCOUNTD_HANDLES_DAYS", config.integer(1, DAYS_MAX)),
        conversations_hours=checker.value(
            "ACCOUNTD_CONVERSATIONS_HOURS", config.integer(1, HOURS_MAX)
        ),
        rate_card=checker.optional("ACCOUNTD_RATE_CARD", Path),
        rates=checker.optional("ACCOUNTD_RATE_CARD", _rates) or DEFAULT_RATES,
        plans=checker.value("ACCOUNTD_PLANS", parse_plans),
        limits=LimitDefaults(
            key=checker.optional("ACCOUNTD_KEY_LIMITS", parse_key_limits) or UNLIMITED,
            account=checker.optional("ACCOUNTD_ACCOUNT_LIMITS", parse_account_limits) or UNLIMITED,
        ),
        webhook=_webhook(checker),
        backups=_backups(checker),
        ops_listen=checker.optional("ACCOUNTD_OPS_LISTEN", config.address),
        log_level=checker.value("LOG_LEVEL", config.one_of("DEBUG", "INFO", "WARNING", "ERROR")),
        log_as_json=checker.value("LOG_FORMAT", config.one_of("logfmt", "json")) == "json",
    )
    checker.finish()
    return loaded


def load_database(settings: Mapping[str, str | None]) -> DatabaseConfig:
    """Check the settings of ``accountd migrate``."""
    checker = Checker(settings)
    loaded = _database(checker)
    checker.finish()
    return loaded


def load_journal(settings: Mapping[str, str | None], path: Path) -> Path:
    """Where the journal of the database at ``path`` is."""
    return _journal(Checker(settings), path)


def _journal(checker: Checker, path: Path) -> Path:
    journal = followed(checker.optional("ACCOUNTD_JOURNAL", Path) or Path(f"{path}{SUFFIX}"))
    if belongs_to(path, journal):
        what = "is of the database itself"
    elif os.path.isdir(journal):
        what = "is a folder"
    elif _is_key_file(journal):
        what = "is the file of the database's key"
    else:
        return journal
    raise ConfigError(f"ACCOUNTD_JOURNAL: {journal} {what}", hint="name another file")


def _is_key_file(path: Path) -> bool:
    key_file = os.environ.get("DB_ENCRYPTION_KEY_FILE")
    return key_file is not None and path.absolute() == followed(Path(key_file)).absolute()


def _rates(text: str) -> Rates:
    return read_rate_card(Path(text))


def _estimates(checker: Checker) -> EstimatePolicy:
    are_charged = checker.value("ACCOUNTD_CHARGE_ESTIMATES", config.one_of("yes", "no")) == "yes"
    bound = config.integer(0, UNCHARGED_MAX)
    return EstimatePolicy(are_charged, checker.value("ACCOUNTD_ESTIMATES_UNCHARGED_MAX", bound))


def _backups(checker: Checker) -> BackupSchedule | None:
    folder = checker.optional("ACCOUNTD_BACKUP_DIR", Path)
    every_s = checker.value("ACCOUNTD_BACKUP_EVERY", parse_every)
    keep = checker.value("ACCOUNTD_BACKUP_KEEP", config.integer(1, KEEP_MAX))
    return None if folder is None else BackupSchedule(folder, every_s, keep)


def _webhook(checker: Checker) -> WebhookTarget | None:
    url = checker.optional("ACCOUNTD_WEBHOOK_URL", parse_url)
    if url is None:
        return None
    text = checker.secret("ACCOUNTD_WEBHOOK_SECRET", advice=_HOW_TO_SIGN)
    if not text:
        return None  # finish() raises
    try:
        return WebhookTarget(url, parse_secret(text))
    except ValueError as exc:
        checker.problem(f"ACCOUNTD_WEBHOOK_SECRET: {exc}; {_HOW_TO_SIGN}")
        return None


def _database(checker: Checker) -> DatabaseConfig:
    path = checker.value("DB_PATH", Path)
    if path:
        path = followed(path)
        database.finish_interrupted(path)  # it may be the key file that is replaced
    key = checker.secret(
        "DB_ENCRYPTION_KEY",
        advice="set DB_ENCRYPTION_KEY_FILE (or DB_ENCRYPTION_KEY) to 64 hex digits or a passphrase",
    )
    if path and not key and (traces := unopenable.traces_of(path)):
        checker.problem(f"put back the key that {traces[0]} was made with: no other one opens it")
    return DatabaseConfig(path, key)
