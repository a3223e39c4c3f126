"""What a server counts, in the format that Prometheus reads. No TensorFlow."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = tuple(1 << power for power in range(11))


class Metrics:
    """Of one server; those of the process (memory, time, open files) are among them."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("albert_requests", "Requests for predictions.", ["status"], registry=registry)
        self._seconds = Histogram(
            "albert_request_seconds", "From a request to its answer.", buckets=_SECONDS, registry=registry
        )
        self._batch_texts = Histogram("albert_batch_texts", "Texts of a batch.", buckets=_BATCHES, registry=registry)
        self._batch_seconds = Histogram(
            "albert_batch_seconds", "Computing a batch.", buckets=_SECONDS, registry=registry
        )
        self._waiting = Gauge("albert_waiting_texts", "Texts that wait for their batch.", registry=registry)

    def watch_waiting(self, num_waiting: Callable[[], int]) -> None:
        """From now on asks `num_waiting` how many texts wait for their batch."""
        self._waiting.set_function(num_waiting)

    def count_request(self, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self._requests.labels(status).inc()
        self._seconds.observe(seconds)

    def count_batch(self, num_texts: int, seconds: float) -> None:
        """Counts a batch that was computed."""
        self._batch_texts.observe(num_texts)
        self._batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it, as `GET /metrics` answers."""
        return generate_latest(self._registry)
