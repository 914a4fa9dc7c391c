"""The real ``rts-gateway serve`` for which a minute is a twentieth of a second.

OpenAI's sessions end after 3 s, those of xAI after 6 s, each announced 2 s before.
"""

from gateway import cli
from gateway.providers import lifetimes

if __name__ == "__main__":
    lifetimes.MINUTE_S = 1 / 20  # type: ignore[misc]
    lifetimes.GRACE_S, lifetimes.WARNING_S = 0.0, 2.0  # type: ignore[misc]
    cli.main()
