"""What operations see: counters for Prometheus, and a line of JSON for each request; never names, pixels or tokens."""

import json
import logging
import os
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from mspn.errors import one_line

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of the environment: where several processes keep their counters together, as prometheus_client has it."""

logger = logging.getLogger("mspn.serve")


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "mspn_requests", "Requests that were answered.", ["route", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "mspn_request_seconds", "From a request's headers to the end of its answer.", ["route"], registry=registry
        )
        self.in_flight = Gauge(
            "mspn_requests_in_flight", "Being read or answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.streams = Gauge("mspn_streams", "Open streams.", registry=registry, multiprocess_mode="livesum")
        self.waiting = Gauge(
            "mspn_waiting_images", "Images in the queue.", registry=registry, multiprocess_mode="livesum"
        )
        self.batch_images = Histogram("mspn_batch_images", "Images of a batch.", buckets=range(1, 9), registry=registry)
        self.people = Counter("mspn_people", "People found.", registry=registry)
        self.dropped_frames = Counter(
            "mspn_dropped_frames", "Frames of streams that a newer one replaced.", registry=registry
        )

    def render(self) -> bytes:
        """As Prometheus reads it; of all processes, where there are several."""
        if METRICS_FOLDER not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class JsonFormatter(logging.Formatter):
    """A line of JSON for each record, with what its `extra={"fields": ...}` holds."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"uvicorn.error": {"level": "INFO"}},
}
"""For `logging.config`: everything goes to standard error, as JSON."""


def log_request(request_id: str, route: str, method: str, status: int, seconds: float, body_bytes: int) -> None:
    """Log one answered request; its path only as the service itself writes it."""
    fields = {
        "request_id": request_id,
        "route": route,
        "method": one_line(method),
        "status": status,
        "milliseconds": round(1000 * seconds, 1),
        "body_bytes": body_bytes,
    }
    logger.info("request", extra={"fields": fields})
