"""The real ``rts-gateway serve`` with small segments, to see soon what retention removes."""

from gateway import cli
from gateway.delivery import spool
from gateway.delivery import spool_manager as spool_manager

SEGMENT_BYTES_MAX = 2_000
PRUNE_S = 0.5

if __name__ == "__main__":
    spool.SEGMENT_BYTES_MAX = SEGMENT_BYTES_MAX  # type: ignore[misc]
    spool_manager.PRUNE_S = PRUNE_S  # type: ignore[misc]
    cli.main()
