"""The network between gateways and accountd: connections break, and lose what is in flight."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .clock import Clock

if TYPE_CHECKING:
    from .gateway_sim import Gateway
    from .world import World


class Connection:
    """One PUSH connection; it keeps the order until it breaks."""

    def __init__(self, world: "World", gateway: "Gateway") -> None:
        assert world.accountd is not None
        self.world = world
        self.clock: Clock = world.clock
        self.gateway = gateway
        self.accountd = world.accountd
        self.is_open = True
        self._in_flight: list[list[bytes]] = []
        self._is_scheduled = False

    def send(self, frames: list[bytes]) -> bool:
        """Whether the socket accepts a message, which may still be lost afterwards."""
        rng, world = self.clock.rng, self.world
        if world.has_faults and rng.random() < 0.01:
            return False
        self._in_flight.append(frames)
        if not self._is_scheduled:
            self._is_scheduled = True
            self.clock.at(self._delay(), None, self._deliver)
        return True

    def break_off(self) -> None:
        """Lose most messages in flight; some may arrive late, also at the next accountd."""
        if not self.is_open:
            return
        self.is_open = False
        rng = self.clock.rng
        late = [frames for frames in self._in_flight if rng.random() < 0.6]
        self._in_flight = []
        if late and rng.random() < 0.7:
            self.clock.at(rng.random() * rng.choice((0.5, 4)), None, self._straggle, late)
        self.gateway.disconnected(self)

    def _deliver(self) -> None:
        self._is_scheduled = False
        if not (self.is_open and self._in_flight):
            return
        rng, calm = self.clock.rng, not self.world.has_faults
        size = len(self._in_flight) if calm else rng.randint(1, len(self._in_flight))
        arrived, self._in_flight = self._in_flight[:size], self._in_flight[size:]
        if not calm and rng.random() < 0.05:
            arrived += rng.sample(arrived, rng.randint(1, len(arrived)))
        self.accountd.receive(arrived)
        if self._in_flight:
            self._is_scheduled = True
            self.clock.at(self._delay(), None, self._deliver)

    def _straggle(self, late: list[list[bytes]]) -> None:
        if self.world.accountd is not None:
            self.world.accountd.receive(late)

    def _delay(self) -> float:
        return self.clock.rng.random() * (0.05 if self.world.has_faults else 0.005)


class ControlSockets:
    """Announcements (PUB) and requests (RPC): late, lost, repeated, or from a boot that is gone."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._ambushes = world.plan.restores if world.plan.are_answers_ambushed else 0

    def publish(self, epoch: int, watermarks: Mapping[bytes, int]) -> None:
        """On PUB: each gateway receives what it subscribed to, perhaps, at some time."""
        rng, plan = self._world.clock.rng, self._world.plan
        for host in self._world.hosts:
            for gateway in host.living:
                heard = {p: w for p, w in watermarks.items() if gateway.follows(p)}
                if not heard:
                    continue
                if not self._world.has_faults:
                    gateway.later(0.002, gateway.receive_watermarks, epoch, heard)
                    continue
                if self._world.is_partitioned or rng.random() < plan.announcements_lost:
                    continue
                late = rng.random() < plan.announcements_late
                delay = rng.random() * (6.0 if late else 0.05)
                gateway.later(delay, gateway.receive_watermarks, epoch, heard)
                if rng.random() < 0.1:
                    gateway.later(
                        delay * 2 * rng.random(), gateway.receive_watermarks, epoch, heard
                    )

    def ask(self, gateway: "Gateway", asked_at: float, epochs: dict[bytes, int]) -> None:
        """A request on its way to accountd."""
        delay = self._world.clock.rng.random() * (0.1 if self._world.has_faults else 0.005)
        self._world.clock.at(delay, None, self._answer, gateway, asked_at, epochs)

    def _answer(self, gateway: "Gateway", asked_at: float, epochs: dict[bytes, int]) -> None:
        rng = self._world.clock.rng
        lost = self._world.has_faults and (self._world.is_partitioned or rng.random() < 0.1)
        if self._world.accountd is None or lost:
            return
        epoch, throughs = self._world.accountd.sync(epochs)
        answer = dict(zip(epochs, throughs, strict=True))
        is_late = self._world.has_faults and rng.random() < self._world.plan.answers_late
        delay = rng.random() * (1.9 if is_late else 0.02)
        is_news = any(answer[p.outbox.producer] > p.outbox.acknowledged
                      for p in gateway.producers() if p.outbox.producer in answer)  # fmt: skip
        if self._world.has_faults and self._ambushes and is_news:
            # accountd is restored meanwhile: the answer is out of date when it arrives.
            self._ambushes -= 1
            delay = rng.uniform(0.5, 1.9)
            self._world.clock.at(rng.random() * 0.1, None, self._world.restore)
        gateway.later(delay, gateway.answered, asked_at, epochs, epoch, answer)
