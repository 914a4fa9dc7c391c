"""Sums of what this process has metered, for ``/metrics``: live sessions and ended ones."""

import threading
from collections import Counter
from typing import Final

from gateway.metering.usage_recorder import Recorder
from shared.metrics import Metric

_COUNTED: Final = ("responses", "tokens", "estimates")


class Totals:
    """Sums over recorders. The numbers are read from the thread that answers probes."""

    def __init__(self) -> None:
        self._live: set[Recorder] = set()
        self._ended: Counter[str] = Counter()
        self._account_errors: Counter[str] = Counter()  # by provider
        self._lock = threading.Lock()  # a session that ends is counted once, live or ended

    def add(self, recorder: Recorder) -> None:
        """A session or a call began."""
        with self._lock:
            self._live.add(recorder)

    def remove(self, recorder: Recorder) -> None:
        """It has ended; its counts stay in the sums."""
        with self._lock:
            self._live.discard(recorder)
            for name in _COUNTED:
                self._ended[name] += getattr(recorder, name)
            self._account_errors.update(recorder.refusals)

    def account_refused(self, provider: str) -> None:
        """A provider refused our account without a session."""
        with self._lock:
            self._account_errors[provider] += 1

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_responses", "counter", "Metered responses, as they happen.",
                lambda: self._so_far("responses"),
            ),
            Metric(
                "rts_gateway_tokens", "counter", "Metered tokens of ended sessions.",
                lambda: self._ended["tokens"],
            ),
            Metric(
                "rts_gateway_estimates", "counter",
                "Responses whose usage the provider never reported.",
                lambda: self._so_far("estimates"),
            ),
            Metric(
                "rts_gateway_provider_account_errors", "counter",
                "Errors of providers about our own account, which clients do not hear.",
                self._account_errors_by_provider, label="provider",
            ),
        ]  # fmt: skip

    def _so_far(self, name: str) -> int:
        with self._lock:
            live: int = sum(getattr(recorder, name) for recorder in self._live)
            return self._ended[name] + live

    def _account_errors_by_provider(self) -> dict[str, float]:
        with self._lock:
            counts = Counter(self._account_errors)
            for recorder in self._live:
                counts.update(recorder.refusals)
        return {provider: float(count) for provider, count in counts.items()}
