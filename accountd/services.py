"""The objects of the daemon's one writing thread: all that change the database."""

from collections.abc import Sequence
from dataclasses import dataclass

from accountd.accounts.accounts import Accounts
from accountd.accounts.authorizations import Authorizations
from accountd.accounts.conversations import Conversations
from accountd.accounts.grants import Grants
from accountd.accounts.handles import Handles
from accountd.accounts.recalls import Recalls
from accountd.data.retention import RowRetention
from accountd.data.wal import Wal
from accountd.fleet.providers import Providers
from accountd.ledger.group_commit import Ledger
from accountd.ledger.rate_card_file import RateCardFile
from accountd.ledger.rejected import Quarantine
from accountd.notifications.counters import Counters
from accountd.notifications.low_credit import LowCredit


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the daemon that write, on its one writing connection."""

    ledger: Ledger
    accounts: Accounts
    recalls: Recalls
    authorizations: Authorizations
    grants: Grants
    handles: Handles
    conversations: Conversations
    providers: Providers
    quarantine: Quarantine
    rate_card: RateCardFile
    low_credit: LowCredit
    wal: Wal
    retentions: Sequence[RowRetention]
    counts: Counters
