"""Numbers for Prometheus: plain values, read when they are scraped.

A daemon counts in its own objects; nothing here is called on the voice path or in a transaction.
``prometheus_client`` writes the text format.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Metric:
    """One number, or with a ``label`` one for each of its values. Names end in their unit.

    ``read`` is called from the thread that answers probes, so it must only read.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[], float | Mapping[str, float]]
    label: str = ""


class Metrics(Collector):
    """The numbers of one daemon."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Family]:
        """Called by the registry."""
        for metric in self._metrics:
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            made = family(metric.name, metric.help, labels=[metric.label] if metric.label else [])
            values = metric.read()
            if isinstance(values, Mapping):
                for label, value in sorted(values.items()):
                    made.add_metric([label], value)
            else:
                made.add_metric([], values)
            yield made

    def render(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)
