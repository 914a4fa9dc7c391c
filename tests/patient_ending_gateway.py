"""The real ``rts-gateway serve`` that waits for minutes for what a provider may still say.

A provider that is let go within seconds all the same was not let go because the time was over.
"""

from gateway import cli
from gateway.metering.gemini import meter as gemini_meter
from gateway.relay import drain

if __name__ == "__main__":
    gemini_meter.ANSWER_S = 300.0  # type: ignore[misc]
    gemini_meter.DRAIN_S = drain.DRAIN_S = 600.0  # type: ignore[misc]
    drain.LATE_ANSWER_S = 600.0  # type: ignore[misc]
    cli.main()
