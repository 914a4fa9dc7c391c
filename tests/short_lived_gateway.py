"""The real ``rts-gateway serve`` for whose providers a minute is a twentieth of a second.

OpenAI's sessions end after 3 s, those of xAI after 6 s, each announced 1 s before.
"""

from gateway import cli
from gateway.providers import lifetimes

if __name__ == "__main__":
    lifetimes.LIFETIMES = tuple(  # type: ignore[misc]
        (name, pattern, minutes / 1200) for name, pattern, minutes in lifetimes.LIFETIMES
    )
    lifetimes.GRACE_S, lifetimes.WARNING_S, lifetimes.SOONEST_S = 0.0, 2.0, 0.0  # type: ignore[misc]
    cli.main()
