"""The real ``rts-gateway serve`` that looks at no message: what metering costs is the difference.

Nothing is charged by it, and no credit is used up. It is run as a script, by ``bench.relay``.
"""

from collections.abc import Sequence

from gateway import cli
from gateway.door import session_opener
from gateway.frames import Frame, Span
from gateway.metering.usage_recorder import Recorder


class Unmetered(Recorder):
    """Looks at nothing."""

    __slots__ = ()

    def skim(self, read: bytes, spans: list[Span]) -> int:
        """All may go on as it came."""
        del read
        return len(spans)

    def observe(self, frames: Sequence[Frame]) -> bool:
        """Find no usage."""
        del frames
        return False

    def skim_client(self, read: bytes, spans: list[Span]) -> int:
        """The same."""
        del read
        return len(spans)

    def observe_client_messages(self, read: bytes, spans: list[Span]) -> None:
        """Hear nothing."""

    def observe_client(self, frames: Sequence[Frame]) -> None:
        """Hear nothing."""


if __name__ == "__main__":
    vars(session_opener)["Recorder"] = Unmetered
    cli.main()
