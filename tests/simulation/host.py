"""A machine of the simulated world: its gateways, its disk, and its power."""

from typing import TYPE_CHECKING

from gateway.delivery.journal import Journal
from gateway.delivery.journal_format import MeteredRecord, SealedRecord, read_records
from shared.usage import UsageBatch
from shared.wire import decode_usage

from .disk import Disk, Folder
from .gateway_sim import Gateway
from .oracle import Message

if TYPE_CHECKING:
    from .world import World


class Host:
    """A machine with gateways and one spool disk. ``first_producer`` names its first producer."""

    def __init__(self, world: "World", first_producer: bytes | None = None) -> None:
        self.world = world
        self.disk = Disk(world.clock.rng)
        self.gateways: list[Gateway] = []
        self._first_producer = first_producer

    @property
    def living(self) -> list[Gateway]:
        """The gateways that run."""
        self.gateways = [g for g in self.gateways if g.is_alive]
        return self.gateways

    def start_gateway(self) -> None:
        """Start a new process."""
        self.world.gateways_started += 1
        self.gateways.append(Gateway(self.world, self, self.world.gateways_started))

    def name_of_producer(self) -> bytes:
        """128 random bits, unless the machine is a clone."""
        name, self._first_producer = self._first_producer, None
        return name or self.world.clock.rng.randbytes(16)

    def lose_power(self) -> None:
        """Kill every process, and cut off what was not synced."""
        self.world.clock.trace("host", "power lost")
        for gateway in self.living[:]:
            gateway.kill()
        oracle, before = self.world.oracle, self._sealed()
        self.disk.lose_power()
        after = self._sealed()
        oracle.cut.update(self.disk.folders)
        journaled = {
            name for name in oracle.owed - oracle.in_memory if self.world.host_of.get(name) is self
        }
        kept = {name for names in after.values() for name in names}
        oracle.may_lose(journaled - kept)
        for producer, names in self._noted().items():
            oracle.lost_from(producer, names)
        for message in before.keys() - after.keys():
            oracle.may_lose(before[message])
            oracle.cut_off(message, before[message])

    def _sealed(self) -> dict[Message, tuple[str, ...]]:
        """By sealed message that is complete on the disk: the responses in it."""
        found: dict[Message, tuple[str, ...]] = {}
        for folder in self.disk.folders.values():
            for file in folder.files.values():
                for record in read_records(bytes(file.data)):
                    if isinstance(record, SealedRecord):
                        usage = decode_usage(record.payload)
                        ids = usage.response_ids if isinstance(usage, UsageBatch) else ()
                        found[folder.producer, record.sequence] = ids
        return found

    def _noted(self) -> dict[bytes, set[str]]:
        """By producer: the responses in its journal that can be read, noted or sealed."""
        found: dict[bytes, set[str]] = {}
        for folder in self.disk.folders.values():
            names = found.setdefault(folder.producer, set())
            for file in folder.files.values():
                for record in read_records(bytes(file.data)):
                    if isinstance(record, SealedRecord | MeteredRecord):
                        usage = decode_usage(record.payload)
                        names.update(usage.response_ids if isinstance(usage, UsageBatch) else ())
        return found

    def stale_segments(self, folder: Folder) -> list[int]:
        """The segments of a folder that retention should have removed by now.

        What may stay is the end of the journal of the gateway that runs: the segment with its last
        sealed message, which says where the numbering is, those after it, and those that hold
        responses of open batches.
        """
        (gateway,) = self.living
        if folder.producer != gateway.own.outbox.producer:
            return list(folder.files)
        return _before_the_last_seal(gateway.own.journal)


def _before_the_last_seal(journal: Journal | None) -> list[int]:
    """Segments that a running gateway's journal does not need any more."""
    if journal is None:
        return []
    open_from = min(journal._open_numbers, default=journal._last_number + 1)
    return [
        segment.number
        for segment in journal._segments
        if 0 < segment.last_sequence < journal.sealed_through and segment.last_number < open_from
    ]
