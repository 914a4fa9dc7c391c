"""The real ``rts-gateway serve`` that hears one provider at most for its late answer.

Half a second after its client left a provider is late.
"""

from gateway import cli, server
from gateway.relay import drain

if __name__ == "__main__":
    drain.DRAIN_S = 0.5  # type: ignore[misc]
    server.LATE_DRAINS_MAX = 1  # type: ignore[misc]
    cli.main()
