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
        self._pieces = Counter("albert_pieces", "Pieces of texts, after they were cut.", registry=registry)
        self._unknown = Counter("albert_unknown_pieces", "Those that the vocabulary does not know.", registry=registry)
        self._cuts = Counter("albert_cut_texts", "Texts that were cut to a limit.", ["limit"], registry=registry)
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

    def count_pieces(self, num_pieces: int, num_unknown: int) -> None:
        """Counts pieces that were computed, and those of them that are unknown."""
        self._pieces.inc(num_pieces)
        self._unknown.inc(num_unknown)

    def count_cuts(self, limit: str, num_texts: int) -> None:
        """Counts texts that were cut to the limit of that name."""
        self._cuts.labels(limit).inc(num_texts)

    def text(self) -> bytes:
        """All of it, as `GET /metrics` answers."""
        return generate_latest(self._registry)
