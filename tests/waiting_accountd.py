"""The real ``accountd`` that waits for minutes for the receiver of its warnings."""

from accountd import cli
from accountd.notifications import webhook

if __name__ == "__main__":
    webhook.TIMEOUT_S = 300.0  # type: ignore[misc]
    cli.main()
