"""What kind of world a seed makes: how many of everything, and how likely each fault is."""

import random
from dataclasses import dataclass

DAY_S = 24 * 3_600.0
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of world it is."""

    responses: int
    active_s: float
    gateways: int
    fuse_steps: float  # mean number of steps between two kills
    restores: int
    power_chance: float  # that the host of a killed gateway loses power
    sync_s: float  # how long a disk takes for one fsync, at most
    sync_errors: float  # that an fsync fails
    full_disks: int
    partitions: int
    rollouts: int
    is_damaged: bool
    is_cloned: bool
    has_spool: bool
    unreadable_chance: float  # that a journal cannot be read just now
    retention_s: float
    announcements_lost: float
    announcements_late: float
    answers_late: float
    are_answers_ambushed: bool  # a restore happens while an answer is in flight
    segment_bytes: int
    segment_s: float
    unacknowledged_max: int
    idle_s: float  # how long it is watched once everything is durable

    @classmethod
    def draw(cls, rng: random.Random) -> "Plan":
        """A plan from the seed: every kind of fault in some worlds, none in all of them."""
        kind = rng.random()
        is_cloned, is_damaged, has_spool = kind < 0.05, 0.05 <= kind < 0.10, kind < 0.86
        are_answers_ambushed = rng.random() < (0.3 if has_spool else 0.9)
        power_chance = 0.0 if is_cloned or rng.random() > 0.4 else rng.choice((0.4, 0.8))
        return cls(
            responses=rng.randint(15, 50),
            active_s=rng.uniform(3, 12),
            gateways=rng.choice((1, 2, 2, 3)),
            # Without a spool only accountd is killed, which takes fewer steps.
            fuse_steps=(FOREVER if is_cloned else rng.choice((100, 200, 400, 800)))
            / (1 if has_spool else 8),
            restores=0 if is_cloned or (has_spool and rng.random() > 0.45) else rng.randint(1, 4),
            power_chance=power_chance,
            sync_s=rng.choice((0.03, 0.03, 0.3, 1.5)),
            sync_errors=0.4 if power_chance and rng.random() < 0.5 else 0.0,
            full_disks=0 if is_cloned or rng.random() > 0.25 else rng.randint(1, 2),
            # A clone's lost message is acknowledged by its twin's: no gateway can detect that.
            partitions=0 if is_cloned else rng.choice((0, 0, 1, 2)),
            rollouts=0 if is_cloned else rng.choice((0, 0, 1, 2)),
            is_damaged=is_damaged,
            is_cloned=is_cloned,
            has_spool=has_spool,
            unreadable_chance=0.3 if rng.random() < 0.1 else 0.0,
            retention_s=rng.uniform(0.1, 2) if rng.random() < 0.3 else DAY_S,
            announcements_lost=0.4 if are_answers_ambushed else rng.choice((0.0, 0.1, 0.5, 1.0)),
            announcements_late=rng.choice((0.0, 0.05, 0.2)),
            answers_late=rng.choice((0.1, 0.6)) if has_spool else 0.8,
            are_answers_ambushed=are_answers_ambushed,
            segment_bytes=rng.choice((300, 700, 2_500, 1 << 20)),
            segment_s=rng.choice((0.5, 2.0, 3_600.0)),
            # A clone is detected by what it sends, so a small window must not stop it.
            unacknowledged_max=1_000 if is_cloned else rng.choice((2, 6, 1_000)),
            idle_s=rng.choice((0.0, 4.0)),
        )
