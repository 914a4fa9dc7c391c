"""The real ``rts-gateway serve`` with room for three messages, to see what it does when full."""

from gateway import cli
from gateway.delivery import sender as usage

if __name__ == "__main__":
    usage.OUTBOX_BATCHES_MAX = 3  # type: ignore[misc]
    cli.main()
