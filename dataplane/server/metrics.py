"""Prometheus metrics of one node. Speculation counters have vLLM's names, so that its dashboards work unchanged."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dataplane.engines.base import EngineStats, SpeculationStats

_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_BY_SPECULATOR = ("project", "speculator_version")


class Metrics:
    """One registry per node process; nothing global."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "slipstream_requests_total", "Ended requests", ("project", "endpoint", "status"), registry=registry
        )
        self.responses = Counter("slipstream_http_responses_total", "HTTP responses", ("status",), registry=registry)
        self.prompt_tokens = Counter("vllm:prompt_tokens_total", "Prompt tokens", ("project",), registry=registry)
        self.generation_tokens = Counter(
            "vllm:generation_tokens_total", "Generated tokens", ("project",), registry=registry
        )
        self.request_seconds = Histogram(
            "vllm:e2e_request_latency_seconds",
            "From admission to the last token",
            ("project",),
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "vllm:time_to_first_token_seconds",
            "From admission to the first token",
            ("project",),
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.drafts = Counter(
            "vllm:spec_decode_num_drafts_total", "Speculative steps", _BY_SPECULATOR, registry=registry
        )
        self.draft_tokens = Counter(
            "vllm:spec_decode_num_draft_tokens_total", "Drafted tokens", _BY_SPECULATOR, registry=registry
        )
        self.accepted_tokens = Counter(
            "vllm:spec_decode_num_accepted_tokens_total", "Accepted draft tokens", _BY_SPECULATOR, registry=registry
        )
        self.accepted_per_position = Counter(
            "vllm:spec_decode_num_accepted_tokens_per_pos_total",
            "Accepted draft tokens by position",
            (*_BY_SPECULATOR, "position"),
            registry=registry,
        )
        self.decode_seconds = Counter(
            "slipstream_decode_seconds_total", "Seconds of decoding", ("project", "mode"), registry=registry
        )
        self.steps = Counter(
            "slipstream_speculation_steps_total", "Steps by who drafted", ("project", "source"), registry=registry
        )
        self.step_tokens = Counter(
            "slipstream_speculation_tokens_total",
            "Tokens of these steps: predicted by the controller, and realised",
            ("project", "source", "kind"),
            registry=registry,
        )
        self.step_seconds = Counter(
            "slipstream_speculation_seconds_total",
            "Seconds of these steps: predicted by the controller, and realised",
            ("project", "source", "kind"),
            registry=registry,
        )
        self.relearning = Gauge(
            "slipstream_relearning",
            "1 while the endpoint's traffic has drifted from what was learned",
            ("project", "endpoint"),
            registry=registry,
        )
        self.running = Gauge("vllm:num_requests_running", "Requests in the batch", registry=registry)
        self.waiting = Gauge("vllm:num_requests_waiting", "Requests waiting for a slot", registry=registry)
        self.kv_usage = Gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use", registry=registry)
        self.prefix_hits = Gauge("slipstream_prefix_cache_hits", "Prefix cache hits", registry=registry)
        self.prefix_queries = Gauge("slipstream_prefix_cache_queries", "Prefix cache look-ups", registry=registry)
        self.drafter_errors = Gauge("slipstream_drafter_errors", "Drafters that raised", registry=registry)
        self.usage_spooled = Gauge("slipstream_usage_spooled", "Usage events not yet acknowledged", registry=registry)
        self.traffic_dropped = Gauge("slipstream_traffic_dropped", "Traffic records lost", registry=registry)
        self.traffic_screened = Gauge(
            "slipstream_traffic_screened", "Traffic records not kept because they looked sensitive", registry=registry
        )
        self.traffic_masked = Gauge(
            "slipstream_traffic_masked", "Traffic records in which something was masked", registry=registry
        )
        self.generation = Gauge("slipstream_snapshot_generation", "Generation in force", registry=registry)

    def count_request(
        self,
        *,
        project_id: str,
        endpoint_id: str,
        status: str,
        prompt_tokens: int,
        completion_tokens: int,
        seconds: float,
        stats: SpeculationStats,
    ) -> None:
        """One ended request."""
        self.requests.labels(project_id, endpoint_id, status).inc()
        self.prompt_tokens.labels(project_id).inc(prompt_tokens)
        self.generation_tokens.labels(project_id).inc(completion_tokens)
        self.request_seconds.labels(project_id).observe(seconds)
        self.decode_seconds.labels(project_id, stats.mode).inc(stats.decode_seconds)
        if stats.mode == "off":
            return
        self.relearning.labels(project_id, endpoint_id).set(stats.relearning)
        for source, sums in stats.goodput.items():
            self.steps.labels(project_id, source).inc(sums.steps)
            for kind, tokens, seconds in (
                ("predicted", sums.predicted_tokens, sums.predicted_seconds),
                ("realised", sums.tokens, sums.seconds),
            ):
                self.step_tokens.labels(project_id, source, kind).inc(tokens)
                self.step_seconds.labels(project_id, source, kind).inc(seconds)
        labels = (project_id, stats.speculator_version_id or stats.mode)
        self.drafts.labels(*labels).inc(stats.steps)
        self.draft_tokens.labels(*labels).inc(stats.drafted)
        self.accepted_tokens.labels(*labels).inc(stats.accepted)
        for position, accepted in enumerate(stats.per_position_accepted):
            self.accepted_per_position.labels(*labels, str(position)).inc(accepted)

    def set_engine(self, stats: EngineStats) -> None:
        self.running.set(stats.running)
        self.waiting.set(stats.waiting)
        self.kv_usage.set(stats.kv_used_tokens / stats.kv_capacity_tokens if stats.kv_capacity_tokens else 0.0)
        self.prefix_hits.set(stats.prefix_cache_hits)
        self.prefix_queries.set(stats.prefix_cache_queries)
        self.drafter_errors.set(stats.drafter_errors)

    def render(self) -> bytes:
        """The text exposition format."""
        return bytes(generate_latest(self.registry))
