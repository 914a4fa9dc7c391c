"""The ways between gateways and accountd: connections that die with what is in them."""

from typing import TYPE_CHECKING

from .clock import Clock

if TYPE_CHECKING:
    from .gateway_sim import Gateway
    from .world import World


class Connection:
    """One PUSH connection, in order while it lives."""

    def __init__(self, world: "World", gateway: "Gateway") -> None:
        assert world.accountd is not None
        self.world = world
        self.clock: Clock = world.clock
        self.gateway = gateway
        self.accountd = world.accountd
        self.is_open = True
        self._under_way: list[list[bytes]] = []
        self._is_scheduled = False

    def send(self, frames: list[bytes]) -> bool:
        """Whether the socket takes it. What it takes may still be lost."""
        rng, world = self.clock.rng, self.world
        if world.has_faults and rng.random() < 0.01:
            return False
        self._under_way.append(frames)
        if not self._is_scheduled:
            self._is_scheduled = True
            self.clock.at(self._delay(), None, self._deliver)
        return True

    def break_off(self) -> None:
        """Most of what is under way is lost; some of it may come late, to whoever is there."""
        if not self.is_open:
            return
        self.is_open = False
        rng = self.clock.rng
        late = [frames for frames in self._under_way if rng.random() < 0.6]
        self._under_way = []
        if late and rng.random() < 0.7:
            self.clock.at(rng.random() * rng.choice((0.5, 4)), None, self._straggle, late)
        self.gateway.disconnected(self)

    def _deliver(self) -> None:
        self._is_scheduled = False
        if not (self.is_open and self._under_way):
            return
        rng, calm = self.clock.rng, not self.world.has_faults
        size = len(self._under_way) if calm else rng.randint(1, len(self._under_way))
        arrived, self._under_way = self._under_way[:size], self._under_way[size:]
        if not calm and rng.random() < 0.05:
            arrived += rng.sample(arrived, rng.randint(1, len(arrived)))
        self.accountd.receive(arrived)
        if self._under_way:
            self._is_scheduled = True
            self.clock.at(self._delay(), None, self._deliver)

    def _straggle(self, late: list[list[bytes]]) -> None:
        if self.world.accountd is not None:
            self.world.accountd.receive(late)

    def _delay(self) -> float:
        return self.clock.rng.random() * (0.05 if self.world.has_faults else 0.005)
