"""What Prometheus may know of the service: counters, histograms and, asked at each scrape, how log and models fare.

Names of labels come from routes, fixed reasons and models; nothing that a caller sent is ever among them. Only the newest
versions are kept apart, so that years of releases do not fill the memory. Knows nothing of HTTP.
"""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from evergreen.monitoring.log.records import Role
from serving.api.ports import Recorder, Told
from serving.model.backend import Model, Models, NotReady

SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)
VERSIONS = 8  # kept apart; the series of older ones are dropped


class Metrics:
    """Counts; implements `ports.Metrics`. Each has a registry of its own. Call from one thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[Any, ...], Any] = {}
        self._versions: dict[str, None] = {}
        self._requests = self._counter("requests", "Requests by route and status.", "route", "status")
        self._request_seconds = self._histogram("request_seconds", "From a request's headers to the end of its answer.", SECONDS, "route")
        self._refusals = self._counter("refusals", "Requests refused before a model was asked, by reason.", "reason")
        self._predictions = self._counter("predictions", "Texts answered.", "version", "role", "label")
        self._abstentions = self._counter(
            "needs_person", "Texts that a person should read: confidence below the threshold.", "version", "role"
        )
        self._answer_seconds = self._histogram("answer_seconds", "From a read request to its answer.", SECONDS, "version", "role")
        self._batches = self._histogram("batch_texts", "Texts that shared a text's run through the model.", SIZES, "version")
        self._shadow = self._counter("shadow_answers", "Shadow answers: same label as the caller got, or another.", "version", "agreed")
        self._shadow_lost = self._counter("shadow_lost", "Texts that a challenger in shadow did not judge.", "version", "reason")
        self._failures = self._counter("failures", "Requests that a model did not answer.", "version", "reason")
        self._cache = self._counter("cache", "Looks into the cache of identical texts.", "found")
        self._feedback = self._counter("feedback", "Labels told later.", "told")
        self._queue = Gauge("evergreen_queue_texts", "Texts waiting or in work.", registry=self.registry)

    def watch(self, recorder: Recorder, models: Models | None = None) -> None:
        """Also tell at each scrape how the request log fares, and which models are live."""
        self.registry.register(_LogState(recorder))
        if models is not None:
            self.registry.register(_Live(models))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._child(self._requests, route, str(status)).inc()
        self._child(self._request_seconds, route).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._child(self._refusals, reason).inc()

    def answered(self, version: str, role: Role, label: str, needs_person: bool, seconds: float) -> None:
        """Count one text's answer."""
        self._known(version)
        self._child(self._predictions, version, role, label).inc()
        self._child(self._abstentions, version, role).inc(needs_person)
        self._child(self._answer_seconds, version, role).observe(seconds)

    def batch(self, version: str, size: int) -> None:
        """Count a text that went through the model together with size - 1 others."""
        self._known(version)
        self._child(self._batches, version).observe(size)

    def shadow(self, version: str, agreed: bool) -> None:
        """Count a shadow answer."""
        self._known(version)
        self._child(self._shadow, version, "yes" if agreed else "no").inc()

    def shadow_lost(self, version: str, texts: int, reason: str) -> None:
        """Count texts that a challenger did not judge."""
        self._known(version)
        self._child(self._shadow_lost, version, reason).inc(texts)

    def failed(self, version: str, reason: str) -> None:
        """Count a request that a model did not answer."""
        self._known(version)
        self._child(self._failures, version, reason).inc()

    def cache(self, hit: bool) -> None:
        """Count a look into the cache."""
        self._child(self._cache, "yes" if hit else "no").inc()

    def feedback(self, told: Told) -> None:
        """Count a label that was told."""
        self._child(self._feedback, told).inc()

    def queue(self, texts: int) -> None:
        """Say how many texts wait or are in work now."""
        self._queue.set(texts)

    def exposition(self) -> tuple[bytes, str]:
        """Return the page for Prometheus and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"evergreen_{name}", words, labels, registry=self.registry)

    def _histogram(self, name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"evergreen_{name}", words, labels, buckets=buckets, registry=self.registry)

    def _child(self, metric: Any, *values: str) -> Any:
        """Return the series of these labels; the library's own look-up takes several times as long."""
        key = (metric, *values)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*values)
        return child

    def _known(self, version: str) -> None:
        """Remember a version; beyond VERSIONS the oldest goes with all of its series."""
        if version in self._versions:
            return
        self._versions[version] = None
        if len(self._versions) > VERSIONS:
            oldest = next(iter(self._versions))
            del self._versions[oldest]
            for key in [key for key in self._children if "version" in key[0]._labelnames and key[1] == oldest]:
                del self._children[key]
                key[0].remove(*key[1:])


class _LogState(Collector):
    """How the request log fares, at the moment of a scrape."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        state = self._recorder.state()
        yield GaugeMetricFamily("evergreen_log_pending_rows", "Rows that the database does not hold yet.", state.pending)
        yield CounterMetricFamily("evergreen_log_dropped_rows", "Rows lost: neither disk nor database could take them.", state.dropped)
        yield CounterMetricFamily("evergreen_log_refused_rows", "Rows that the database would not take, put aside.", state.refused)
        yield CounterMetricFamily("evergreen_log_damaged_rows", "Rows of the journal that were no longer whole.", state.damaged)
        yield GaugeMetricFamily("evergreen_log_spool_bytes", "Size of the journal.", state.spool_bytes)
        yield GaugeMetricFamily("evergreen_log_buffered_bytes", "Rows in memory alone, as the disk takes none.", state.buffered_bytes)
        yield GaugeMetricFamily("evergreen_log_database_up", "1 while the request log's database answers.", int(state.database_up))

    def describe(self) -> list[Metric]:
        return []


class _Live(Collector):
    """Which models are live, at the moment of a scrape, and how their workers fare where they have any."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("evergreen_live", "1 for each version that is live, by what it does.", labels=("version", "role"))
        workers = GaugeMetricFamily("evergreen_workers", "Worker processes that can be asked.", labels=("version",))
        lost = CounterMetricFamily(
            "evergreen_workers_lost", "Worker processes that were lost in the middle of service.", labels=("version",)
        )
        for role, model in self._live():
            version = model.about.version
            info.add_metric((version, role), 1)
            if hasattr(model, "connected") and hasattr(model, "lost"):
                workers.add_metric((version,), model.connected)
                lost.add_metric((version,), model.lost)
        yield from (info, workers, lost)

    def _live(self) -> list[tuple[str, Model]]:
        challenger = self._models.challenger
        named: list[tuple[str, Callable[[], Model]]] = [("champion", lambda: self._models.champion)]
        if challenger:
            named.append((challenger.mode, lambda: challenger.model))
        found = []
        for role, get in named:
            try:
                model = get()
                _ = model.about
                found.append((role, model))
            except NotReady:
                continue
        return found

    def describe(self) -> list[Metric]:
        return []
