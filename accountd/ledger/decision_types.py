"""What is decided about usage messages: the state that it needs, and what is to be written. Pure.

``decision`` decides; ``group_commit`` loads the state and writes the decision; the simulation does
both with a database in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Struct

from accountd.ledger.cascade import Deduction
from accountd.ledger.charging import Balance, Crossing
from accountd.ledger.estimates import EstimatesSeen
from accountd.ledger.payload_digests import DigestKey
from accountd.ledger.shared_responses import RepeatedResponse
from accountd.ledger.windows import ProducerWindow
from shared.fields import RejectReason
from shared.usage import UsageBatch


class Charge(Struct, frozen=True, gc=False):
    """A usage row to write, and what it takes from its account by the prices of ``rate_card``;
    ``unpriced`` are the units that the card has no price for, ``waived`` the credits that an
    estimate was waived.

    ``producer`` and ``sequence`` are None for a conflict that an operator had charged: the numbers
    belong to the message that came first.
    """

    producer: bytes | None
    sequence: int | None
    batch: UsageBatch
    deduction: Deduction
    rate_card: str
    unpriced: tuple[str, ...] = ()
    waived: int = 0


class Rejection(Struct, frozen=True, gc=False):
    """A message to keep whole, in quarantine. Without an envelope it has no producer, no digest."""

    producer: bytes | None
    sequence: int | None
    reason: RejectReason
    detail: str
    payload: bytes
    received_at: str
    digest: int | None = None


class CommittedState(Protocol):
    """The committed state, read inside the transaction that will write the decision."""

    def windows(self, producers: Iterable[bytes]) -> dict[bytes, ProducerWindow]:
        """The windows of those ``producers`` that are known, made anew: ``decide`` changes them."""

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """The balances of those ``accounts`` that exist."""

    def digests(self, sequences: Iterable[tuple[bytes, int]]) -> dict[DigestKey, int | None]:
        """What the rows of those applied ``sequences`` say, conflicts included.

        None is a row from before digests were kept. A sequence that left no row is not in it.
        """

    def estimates(self, after_ms_by_account: Mapping[str, int]) -> dict[str, EstimatesSeen]:
        """What is known of those accounts' estimates: when they began to be charged, and which were
        waived and metered after that Unix time.
        """

    def charged_shared(self, names: Iterable[bytes]) -> set[bytes]:
        """Those of the ``names`` of shared responses (see ``shared_responses``) that were
        charged.
        """


class QuarantineState(CommittedState, Protocol):
    """What a retry from quarantine reads beside that."""

    def charged_responses(self, account_id: str, session_id: str) -> set[str]:
        """The ids of all responses of a session that were charged."""


@dataclass(slots=True)
class Decision:
    """What to write about a group of messages, and what to report.

    Written in one transaction: ``charges``, ``rejections``, ``repeated``, ``crossings``, the
    ``balances`` that changed or are to be announced, the changed ``windows``, and that the
    estimates of ``estimates_begun`` are charged from now on, and ``applied_digests``: of each
    producer the digests of the sequences that were new. After its COMMIT ``digests`` are remembered
    and ``watermarks`` announced: those of all producers in the group, of one that
    sent only duplicates too.
    """

    now: str
    charges: list[Charge] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    repeated: list[RepeatedResponse] = field(default_factory=list)
    balances: dict[str, Balance] = field(default_factory=dict)
    crossings: list[Crossing] = field(default_factory=list)
    estimates_begun: list[str] = field(default_factory=list)  # accounts
    windows: dict[bytes, ProducerWindow] = field(default_factory=dict)
    digests: dict[DigestKey, int] = field(default_factory=dict)
    applied_digests: dict[bytes, dict[int, int]] = field(default_factory=dict)
    watermarks: dict[bytes, int] = field(default_factory=dict)
    overrun: list[bytes] = field(default_factory=list)  # producers that went on beyond their end
    duplicates: int = 0
    conflicts: int = 0  # the repetitions of a conflict too, which are not quarantined again

    @property
    def applied(self) -> int:
        """How many usage rows there are, estimates included."""
        return len(self.charges)

    @property
    def rejected(self) -> dict[RejectReason, int]:
        """How many messages go to quarantine, by reason."""
        counts: dict[RejectReason, int] = {}
        for rejection in self.rejections:
            counts[rejection.reason] = counts.get(rejection.reason, 0) + 1
        return counts


class Retried(NamedTuple):
    """A message that can be applied now: its charge, what that leaves of the account's balance, and
    the account whose estimates are charged from now on.
    """

    charge: Charge
    left: Balance
    estimates_begun: Sequence[str] = ()
