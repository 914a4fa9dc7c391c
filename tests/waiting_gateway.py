"""The real ``rts-gateway serve`` that waits for minutes for what it has asked accountd."""

from shared import transport

transport.RPC_DEADLINE_S = 300.0  # type: ignore[misc]

from gateway import cli  # noqa: E402 - it takes the deadline when it is imported

if __name__ == "__main__":
    cli.main()
