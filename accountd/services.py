"""The objects of the daemon's one writing thread: all that change the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.accounts.conversations import Conversations
from accountd.accounts.grants import Grants
from accountd.accounts.handles import Handles
from accountd.accounts.live_sessions import LiveSessions
from accountd.accounts.recalls import Recalls
from accountd.accounts.stored_limits import StoredLimits
from accountd.config import AccountdConfig
from accountd.data.retention import RetentionRule, RowRetention
from accountd.data.wal import Wal
from accountd.fleet.providers import Providers
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.charging import Balance
from accountd.ledger.group_commit import Ledger
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.rejected import Quarantine
from accountd.ledger.shared_responses import DAYS
from accountd.maintenance.backups import Backups
from accountd.maintenance.custody import Custody
from accountd.notifications.counters import Counters
from accountd.notifications.low_credit import LowCredit
from accountd.notifications.webhook import WebhookSender
from shared.announcements import key_of_purse

# Tables whose rows expire. Those of handles and conversations are not here: theirs are settings.
RETENTION_RULES: Final = (
    RetentionRule("shared_responses", ["name"], "day", timedelta(days=DAYS)),
    # Longer than any session lasts, and than a gateway may be cut off that still has one.
    RetentionRule("recalls", ["number"], "created_at", timedelta(days=DAYS)),
    RetentionRule("repeated_usage", ["producer", "sequence"], "received_at", timedelta(days=DAYS)),
)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the daemon that write, on its one writing connection."""

    ledger: Ledger
    accounts: Accounts
    recalls: Recalls
    limits: StoredLimits
    live_sessions: LiveSessions
    authorizations: Authorizations
    grants: Grants
    handles: Handles
    conversations: Conversations
    providers: Providers
    quarantine: Quarantine
    rate_card: RateCardFile
    low_credit: LowCredit
    wal: Wal
    backups: Backups
    custody: Custody
    retentions: Sequence[RowRetention]
    counts: Counters

    def balances(self, names: Iterable[str]) -> dict[str, Balance]:
        """What accounts have, and keys may spend, by the names of both in announcements."""
        wanted = list(names)
        purses = [name for name in wanted if key_of_purse(name) is not None]
        found = self.limits.spending.balances(purses) if purses else {}
        return self.ledger.balances(wanted) | found


def open_services(config: AccountdConfig, connection: Any) -> Services:
    """All parts, on the one connection that writes."""
    rate_card = RateCardFile(config.rate_card, config.rates)
    changes, counts, estimates = ChangedAccounts(), Counters(), config.estimates
    recalls = Recalls()
    sessions = LiveSessions()
    limits = StoredLimits(config.limits, recalls, sessions, changes)
    ledger = Ledger(connection, rate_card, estimates=estimates)
    webhook = WebhookSender(config.webhook) if config.webhook else None
    return Services(
        ledger=ledger,
        accounts=Accounts(changes, plans=config.plans, recalls=recalls),
        recalls=recalls,
        limits=limits,
        live_sessions=sessions,
        authorizations=Authorizations(recalls, limits.reader, sessions),
        grants=Grants(changes, plans=config.plans),
        handles=Handles(connection, days=config.handles_days),
        conversations=Conversations(connection, hours=config.conversations_hours),
        providers=Providers(connection),
        quarantine=Quarantine(
            connection,
            ledger.usage,
            rate_card,
            changes,
            estimates=estimates,
            on_begun=counts.estimates_begun,
        ),
        rate_card=rate_card,
        low_credit=LowCredit(connection, webhook),
        wal=Wal(connection, config.database.path),
        backups=Backups(config.database.path, config.database.key, config.backups),
        custody=Custody(connection, config.journal, config.database.key),
        retentions=[RowRetention(connection, rule) for rule in RETENTION_RULES],
        counts=counts,
    )
