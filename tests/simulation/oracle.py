"""What must be true at the end of a world: every forwarded response is charged exactly once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accountd.ledger.cascade import cascade
from accountd.ledger.decision_types import Charge, Decision, Rejection
from accountd.ledger.estimates import PERIOD_MS, UNCHARGED_DEFAULT
from shared.fields import RejectReason, WireError
from shared.usage import Kind, LostBatch, UsageBatch
from shared.wire import decode_usage, encode_usage

if TYPE_CHECKING:
    from .accountd_sim import Database
    from .world import World

DAY_MS = 24 * 3_600_000
Message = tuple[bytes | None, int | None]  # producer and sequence
LOST = encode_usage(LostBatch())


@dataclass
class Oracle:
    """Records what happened, and compares it with what was charged."""

    tokens: dict[str, int] = field(default_factory=dict)  # of each response, by its id
    account: dict[str, str] = field(default_factory=dict)
    # Of each response: the keys of the sessions that heard it, and the days in which they did.
    keys: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)  # their events were forwarded
    in_memory: set[str] = field(default_factory=set)  # they are in no journal
    # The producers whose journals have it: two of them, where two gateways heard a shared response.
    journals: dict[str, set[bytes]] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)  # may be lost, and may not be doubled
    volatile: set[bytes] = field(default_factory=set)  # producers without a journal
    damaged: set[bytes] = field(default_factory=set)  # producers whose journal has holes, as found
    harmed: set[bytes] = field(default_factory=set)  # producers whose journal was damaged
    cut: set[bytes] = field(default_factory=set)  # producers whose journal a power failure cut
    ended: set[bytes] = field(default_factory=set)  # producers whose end was durable once
    charged: set[Message] = field(default_factory=set)  # commits, lost ones too
    broken_rules: list[str] = field(default_factory=list)  # seen when they were broken
    gone: set[bytes] = field(default_factory=set)  # producers whose folder was removed
    unsynced: set[bytes] = field(default_factory=set)  # producers whose fsync failed once
    torn: set[bytes] = field(default_factory=set)  # and whose messages a power failure took then
    torn_names: set[str] = field(default_factory=set)  # the responses in those
    # By producer: the sequence up to which it may have dropped its messages, because the newest
    # boot of accountd that it knew had called them durable. Only those may a restore lose.
    forgotten: dict[bytes, float] = field(default_factory=dict)
    _durable: dict[bytes, int] = field(default_factory=dict)
    committed_through: dict[bytes, int] = field(default_factory=dict)  # by any boot of accountd
    history: dict[str, set[Message]] = field(default_factory=dict)  # of each response, the same

    def metered(self, name: str, account: str, tokens: int) -> None:
        """A response is about to be reported."""
        self.account[name], self.tokens[name] = account, tokens

    def heard(self, name: str, *, key_hash: str, wall_ms: int) -> None:
        """A session hears of it: what it costs counts for this key, if it is the first."""
        self.keys.setdefault(name, set()).add((key_hash, wall_ms // DAY_MS))

    def forwarded(self, name: str, *, journal: bytes | None) -> None:
        """Its event went to the client: it must be charged. ``journal``: whose journal has it."""
        self.owed.add(name)
        if journal is None:
            self.in_memory.add(name)
        else:
            self.journals.setdefault(name, set()).add(journal)

    def committed(self, decision: Decision) -> None:
        """A group was committed."""
        for producer, window in decision.windows.items():
            before = self.committed_through.get(producer, 0)
            self.committed_through[producer] = max(before, window.applied_through)
        self.ended.update(p for p, window in decision.windows.items() if window.ended_at)
        for charge in decision.charges:
            self.charged.add((charge.producer, charge.sequence))
            for name in charge.batch.response_ids:
                self.history.setdefault(name, set()).add((charge.producer, charge.sequence))

    def claimed(self, producer: bytes, through: int) -> None:
        """A gateway says what it has seen to be durable: more than ever was would be expected for
        ever.
        """
        if through > self.committed_through.get(producer, 0):
            self.broken_rules.append(f"{producer.hex()[:4]} claims {through}, never durable")

    def may_lose(self, names: Iterable[str]) -> None:
        """These were only in the memory of a killed process, unless they are durable already."""
        self.excused.update(name for name in names if name not in self.history)

    def lost_from(self, producer: bytes, kept: set[str]) -> None:
        """A power failure left only the responses ``kept`` in the journal of ``producer``."""
        if producer not in self.harmed:  # else it is the damage that took them
            for name in self.journals.keys() - kept:
                self.journals[name].discard(producer)

    def cut_off(self, message: "Message", names: Iterable[str]) -> None:
        """A power failure took a sealed message. Unless an fsync had failed, it was never sent."""
        producer, sequence = message
        assert producer is not None
        if producer in self.unsynced:
            self.torn.add(producer)
            self.torn_names.update(names)
        elif message in self.charged:
            name = f"{producer.hex()[:4]} {sequence}"
            self.broken_rules.append(f"{name} was charged and not on the disk")

    def acknowledged(self, producer: bytes, through: int) -> None:
        """The newest boot of accountd that this gateway knows has called messages durable."""
        self._durable[producer] = through
        if producer in self.volatile:
            self._forget(producer, through)

    def pruned(self, producer: bytes, acknowledged: int) -> None:
        """A journal was pruned of messages that its gateway knows to be durable."""
        self._forget(producer, min(acknowledged, self._durable.get(producer, 0)))

    def left(self, producer: bytes) -> None:
        """A process has ended: what was only in its memory is lost."""
        if producer in self.volatile:
            self._forget(producer, float("inf"))

    def _forget(self, producer: bytes, through: float) -> None:
        self.forgotten[producer] = max(self.forgotten.get(producer, 0), through)

    def _is_forgotten(self, message: "Message") -> bool:
        producer, sequence = message
        return producer is not None and (sequence or 0) <= self.forgotten.get(producer, 0)

    # --- the end ----------------------------------------------------------------------------------

    def problems(self, world: "World") -> list[str]:
        """Everything that is wrong; an empty list when nothing is."""
        return [
            *self.broken_rules,
            *self._wrong_rows(world.db),
            *self._doubled_or_lost(world),
            *self._wrong_balances(world),
            *self._wrong_spending(world.db),
            *self._wrong_windows(world),
            *self._wrong_rejections(world),
            *self._unfounded_repetitions(world.db),
        ]

    def _wrong_rows(self, db: "Database") -> list[str]:
        found = []
        for row in db.rows:
            batch = row.batch
            expected = sum(self.tokens[name] for name in batch.response_ids)
            accounts = {self.account[name] for name in batch.response_ids}
            if batch.usage.total_tokens != expected or accounts != {batch.account_id}:
                found.append(f"row {row.sequence}: {batch}, expected {expected} of {accounts}")
            if batch.responses != len(batch.response_ids):
                found.append(f"row {row.sequence} has {batch.responses} responses: {batch}")
        return found

    def _doubled_or_lost(self, world: "World") -> list[str]:
        times = Counter(name for row in world.db.rows for name in row.batch.response_ids)
        doubled = [
            f"{name} charged {n} times"
            for name, n in times.items()
            if n > 1 and name not in self.torn_names
        ]
        kept = _kept(world.db.rejections)
        lost = [
            f"{name} lost"
            for name in sorted(self.owed - times.keys() - self.excused)
            if not self._is_explained(name, kept, world)
        ]
        return doubled + lost

    def _is_explained(self, name: str, kept: "Kept", world: "World") -> bool:
        """Whether the loss is one that the design allows, and that is visible to an operator."""
        messages = self.history.get(name, set())
        journals = self.journals.get(name, set())
        visible = self.damaged | {producer for producer, _ in kept.lost}
        if journals and journals <= self.harmed & visible:
            return True
        if world.is_cloned and name in kept.names:
            return True
        # fsync failed, the power too, and then accountd lost it: no copy is left.
        if name in self.torn_names and (name in kept.names or world.restores):
            return True
        return bool(world.restores) and any(
            self._is_forgotten(message)
            and (message in kept.lost or message[0] in self.gone | self.volatile)
            for message in messages
        )

    def _unfounded_repetitions(self, db: "Database") -> list[str]:
        charged = {name for row in db.rows for name in row.batch.response_ids}
        return [
            f"{name} was taken for a repetition, and nobody has charged it"
            for repetition in db.repeated
            for name in repetition.batch.response_ids
            if name not in charged
        ]

    def _wrong_balances(self, world: "World") -> list[str]:
        left = dict(world.opening)
        waived = _let_off(world.db.rows)
        for number, row in enumerate(world.db.rows):
            topup, tokens = left[row.batch.account_id]
            used = 0 if number in waived else row.batch.usage.total_tokens
            taken = cascade(topup=topup, used=used)
            left[row.batch.account_id] = (topup - taken.topup, tokens - taken.tokens)
            if taken != row.deduction:
                return [f"row {row.sequence} took {row.deduction}, expected {taken}"]
        stored = {name: (b.topup, b.tokens) for name, b in world.db.accounts.items()}
        return [] if stored == left else [f"balances {stored}, expected {left}"]

    def _wrong_spending(self, db: "Database") -> list[str]:
        spent: Counter[tuple[str, int]] = Counter()
        for row in db.rows:
            batch = row.batch
            for name in batch.response_ids:
                if batch.key_hash not in {key for key, _ in self.keys[name]}:
                    return [f"{name} counts for {batch.key_hash!r}, heard by {self.keys[name]}"]
            days = {day for name in batch.response_ids for _, day in self.keys[name]}
            day = batch.metered_at_ms // DAY_MS
            if day not in days:
                return [f"row {row.sequence} counts for day {day}, heard in {days}"]
            if batch.key_hash:
                spent[batch.key_hash, day] += row.deduction.topup + row.deduction.tokens
        found = {of: credits_ for of, credits_ in db.spent.items() if credits_}
        expected = {of: credits_ for of, credits_ in spent.items() if credits_}
        return [] if found == expected else [f"keys spent {found}, expected {expected}"]

    def _wrong_windows(self, world: "World") -> list[str]:
        found = []
        lost = {producer for producer, _ in _kept(world.db.rejections).lost}
        for producer, (through, ahead, ended_at) in world.db.stored.items():
            was_lost = bool(world.restores) and producer in self.ended
            # One power failure took all its messages, and a second one the end that was said for
            # it: what is left looks like a journal whose end was pruned.
            # So does one that was sent after an fsync had failed, and then lost its power, and one
            # whose only readable record was damaged: a tail that is no record looks torn.
            is_unlike = producer in lost or producer in self.harmed or world.plan.sync_errors > 0
            was_cut = producer in self.cut and is_unlike
            is_lost_for_good = producer in self.gone and (was_lost or was_cut)
            if producer in self.volatile | self.torn or world.is_cloned or is_lost_for_good:
                continue
            # The end marker in a damaged journal may have been lost, and said again.
            is_complete = ended_at == through or (producer in self.damaged and ended_at is not None)
            if ahead or not is_complete:
                found.append(
                    f"producer {producer.hex()[:4]} is not complete: through {through},"
                    f" ahead {sorted(ahead)}, ended at {ended_at}"
                )
        return found

    def _wrong_rejections(self, world: "World") -> list[str]:
        return [
            f"rejected {r.producer.hex()[:4]} {r.sequence}: {r.reason} {r.detail}"
            for r in world.db.rejections
            if r.producer is not None
            and not (_is_named_right(r) and (world.is_cloned or self._may_be_rejected(r, world)))
        ]

    def _may_be_rejected(self, rejection: Rejection, world: "World") -> bool:
        producer = rejection.producer
        # A damaged seal that is the last record is taken for a torn tail. accountd knows of its
        # message: then what is unsealed may have been in it, and is doubtful.
        is_doubtful = rejection.reason == RejectReason.DOUBTFUL
        is_harm = producer in self.harmed and (is_doubtful or _is_lost_row(rejection))
        if producer in self.damaged or is_harm:
            return True
        if producer in self.torn or (producer in self.cut and _is_lost_row(rejection)):
            return True
        is_forgotten = self._is_forgotten((producer, rejection.sequence))
        # Under one number the placeholder and a straggler with the real content may both come.
        is_conflict = rejection.reason == RejectReason.CONFLICT
        return bool(world.restores) and is_forgotten and (is_conflict or _is_lost_row(rejection))


def _let_off(rows: Iterable[Charge]) -> set[int]:
    """The places of the rows that are not charged: estimates, up to the bound of their account."""
    found: dict[int, UsageBatch] = {}
    charged: set[str] = set()
    for number, batch in enumerate(row.batch for row in rows):
        account = batch.account_id
        if batch.kind != Kind.ESTIMATE or account in charged:
            continue
        recent = [
            other.responses
            for other in found.values()
            if other.account_id == account
            and 0 <= batch.metered_at_ms - other.metered_at_ms < PERIOD_MS
        ]
        if sum(recent) + batch.responses <= UNCHARGED_DEFAULT:
            found[number] = batch
        else:
            charged.add(account)
    return set(found)


@dataclass
class Kept:
    """What the quarantine holds."""

    names: set[str] = field(default_factory=set)  # responses
    lost: set[Message] = field(default_factory=set)  # messages that stand for lost ones


def _kept(rejections: Iterable[Rejection]) -> Kept:
    kept = Kept()
    for rejection in rejections:
        try:
            usage = decode_usage(rejection.payload)
        except WireError:
            continue
        if isinstance(usage, LostBatch):
            kept.lost.add((rejection.producer, rejection.sequence))
        elif isinstance(usage, UsageBatch):
            kept.names.update(usage.response_ids)
    return kept


def _is_lost_row(rejection: Rejection) -> bool:
    """Also as a conflict: a late announcement of an earlier boot makes a gateway drop messages."""
    return rejection.payload == LOST


def _is_named_right(rejection: Rejection) -> bool:
    """Whether the reason says what the payload is; a conflict may be about any."""
    if rejection.reason == RejectReason.CONFLICT:
        return True
    usage = decode_usage(rejection.payload)
    if isinstance(usage, LostBatch):
        return rejection.reason == RejectReason.LOST
    is_doubtful = isinstance(usage, UsageBatch) and usage.kind == Kind.DOUBTFUL
    return is_doubtful and rejection.reason == RejectReason.DOUBTFUL
