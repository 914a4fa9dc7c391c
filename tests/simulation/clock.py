"""Simulated time: events in order, and processes that may be killed between any two steps."""

import heapq
import random
from collections.abc import Callable
from typing import Any

WALL_S = 1_700_000_000.0


class Killed(BaseException):
    """Raised inside a process at the step where it is killed. No core may catch it."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process.name)
        self.process = process


class Clock:
    """The simulated time, and a queue of the events that are to happen."""

    def __init__(self, seed: int, *, is_traced: bool) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.events = 0
        self.is_traced = is_traced
        # How many steps until a process is killed; infinite while there are no faults.
        self.fuse = float("inf")
        self.fuse_steps = float("inf")
        self._queue: list[tuple[float, int, Process | None, Callable[..., None], Any]] = []
        self._count = 0

    @property
    def wall(self) -> float:
        """The wall clock of the gateways' host, in seconds."""
        return WALL_S + self.now

    def at(
        self, delay: float, process: "Process | None", action: Callable[..., None], *args: Any
    ) -> None:
        """Call ``action`` later, unless ``process`` is dead by then."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, process, action, args))

    def run_one(self) -> bool:
        """Let the next event happen; False when there is none."""
        while self._queue:
            at, _, process, action, args = heapq.heappop(self._queue)
            if process is not None and not process.is_alive:
                continue
            self.now = max(self.now, at)
            self.events += 1
            try:
                action(*args)
            except Killed as death:
                death.process.kill()
            return True
        return False

    def light_fuse(self) -> None:
        """Choose the step at which a process is killed next."""
        calm = self.fuse_steps == float("inf")
        self.fuse = self.fuse_steps if calm else 1 + self.rng.expovariate(1 / self.fuse_steps)

    def trace(self, who: str, what: str, **fields: object) -> None:
        """One line of a replayed seed."""
        if self.is_traced:
            shown = " ".join(f"{name}={value}" for name, value in fields.items())
            print(f"{self.now:10.4f}  {who:<10} {what} {shown}")


class Process:
    """Something that runs on the clock until it is killed."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.clock = clock
        self.rng = clock.rng
        self.name = name
        self.is_alive = True

    def later(self, delay: float, action: Callable[..., None], *args: Any) -> None:
        """Call ``action`` later, if this process still lives."""
        self.clock.at(delay, self, action, *args)

    def step(self) -> None:
        """A point between two actions at which this process may be killed."""
        self.clock.fuse -= 1
        if self.clock.fuse <= 0:
            self.clock.light_fuse()
            raise Killed(self)

    def kill(self) -> None:
        """SIGKILL. Subclasses add what else is lost besides memory."""
        self.is_alive = False
        self.trace("killed")

    def trace(self, what: str, **fields: object) -> None:
        """See ``Clock.trace``."""
        if self.clock.is_traced:
            self.clock.trace(self.name, what, **fields)
