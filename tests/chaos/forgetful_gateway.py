"""The real ``rts-gateway serve`` that sends everything once: plain fire and forget.

The control of the experiment: with resends and adoption off, the same chaos must show loss.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from gateway import cli
from gateway.delivery import spool_files
from gateway.delivery.outbox import Outbox
from gateway.delivery.spool_files import FileStore


def stay(outbox: Outbox) -> None:
    """Instead of going back to the watermark."""
    outbox._resend_at = None


def leave(_root: Path, _known: Collection[bytes]) -> Iterator[FileStore]:
    """Instead of adopting what killed gateways left."""
    yield from ()


if __name__ == "__main__":
    Outbox._go_back = stay  # type: ignore[method-assign]
    Outbox.reconnected = stay  # type: ignore[method-assign]
    spool_files.adopt = leave
    cli.main()
