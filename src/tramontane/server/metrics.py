"""What /metrics tells, in Prometheus's words; a registry of this server's own, no global one."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tramontane.engine.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    def __init__(self):
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter(
            "tramontane_requests", "Requests by path and status", ["path", "status"], registry=r
        )
        self.refused = Counter("tramontane_refused", "Answers refused with 429", registry=r)
        self.prompt_tokens = Counter("tramontane_prompt_tokens", "Tokens of prompts", registry=r)
        self.cached_tokens = Counter(
            "tramontane_cached_prompt_tokens", "Of these, taken from the cache", registry=r
        )
        self.new_tokens = Counter("tramontane_new_tokens", "Tokens generated", registry=r)
        self.first_token = Histogram(
            "tramontane_first_token_seconds", "Time to first token", registry=r, buckets=SECONDS
        )
        self.answer = Histogram(
            "tramontane_answer_seconds", "Time of whole answers", registry=r, buckets=SECONDS
        )

    def watch(self, engine: Engine) -> None:
        """Adds what an engine holds at the moment of asking."""
        self.registry.register(EngineState(engine))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class EngineState(Collector):
    def __init__(self, engine: Engine):
        self.engine = engine

    def collect(self):
        engine = self.engine
        for name, told, value in (
            ("running", "Requests under way", len(engine.scheduler.running)),
            ("waiting", "Requests that wait for room", engine.num_waiting),
            ("kv_pages", "Pages of keys and values", engine.num_pages),
            ("kv_pages_free", "Of these, free", engine.pages.num_free),
            ("experts", "Experts loaded", len(engine.runtime.expert_hashes)),
        ):
            yield GaugeMetricFamily(f"tramontane_{name}", told, value)
