"""What came of cutting a command off again and again."""

from dataclasses import dataclass, field


@dataclass
class CutOffs:
    """What was done to one command, and what went wrong. ``through`` says what ``done`` counts."""

    command: str
    through: str
    kills: int = 0
    faults: int = 0
    told: int = 0  # faults of which the command told
    done: int = 0  # cut off, and what it was to do is done afterwards
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        """For people."""
        return (
            f"{self.command}: {self.kills} kills, {self.faults} I/O faults ({self.told} told),"
            f" {self.through} afterwards {self.done}, problems {len(self.problems)}"
        )
