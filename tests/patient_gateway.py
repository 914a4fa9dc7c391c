"""The real ``rts-gateway serve`` whose outbox waits for minutes before it sends again.

What comes again within seconds all the same was not sent for being overdue.
"""

from gateway import cli
from gateway.delivery import outbox

if __name__ == "__main__":
    outbox.RESEND_S = 300.0  # type: ignore[misc]
    outbox.RESEND_S_MAX = 600.0  # type: ignore[misc]
    cli.main()
