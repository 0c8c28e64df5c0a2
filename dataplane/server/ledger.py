"""What an ended request leaves behind: one usage event, by consent one traffic record, sums for status and metrics."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from dataplane.contracts import EndpointConfig, TrafficRecord, UsageEvent
from dataplane.server.admission import Caller, RateLimiter
from dataplane.server.generation import Outcome
from dataplane.server.metrics import Metrics
from dataplane.speculation.types import SpeculationPolicy
from dataplane.stamps import new_id, timestamp
from dataplane.sync.status import SpeculationWindows
from dataplane.traffic.segments import TrafficSegments
from dataplane.traffic.spool import UsageSpool


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that passed admission: from here on there is exactly one usage event for it."""

    request_id: str
    event_id: str
    caller: Caller
    endpoint: EndpointConfig
    deployment_id: str
    speculation: SpeculationPolicy
    is_captured: bool
    end_user_id: str
    prompts: tuple[tuple[int, ...], ...]
    started_at: float  # seconds since the epoch
    started_clock: float  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Ledger:
    spool: UsageSpool
    segments: TrafficSegments
    windows: SpeculationWindows
    limiter: RateLimiter
    metrics: Metrics

    async def settle(self, admitted: Admitted, outcome: Outcome) -> None:
        """Returns when the usage event is durable. Raises SpoolError; all else is done even then."""
        project, endpoint = admitted.caller.project, admitted.endpoint
        self.limiter.end(project.project_id, outcome.completion_tokens)
        self.metrics.count_request(
            project_id=project.project_id,
            endpoint_id=endpoint.endpoint_id,
            status=outcome.status,
            prompt_tokens=outcome.prompt_tokens,
            completion_tokens=outcome.completion_tokens,
            seconds=time.monotonic() - admitted.started_clock,
            stats=outcome.stats,
        )
        if outcome.first_token_seconds is not None:
            self.metrics.first_token_seconds.labels(project.project_id).observe(outcome.first_token_seconds)
        failed = outcome.status in ("engine_error", "timeout")
        if failed or outcome.stats.decode_seconds > 0.0:
            self.windows.add(
                endpoint.endpoint_id,
                admitted.deployment_id,
                outcome.completion_tokens,
                outcome.stats,
                failed=failed,
                first_token_seconds=outcome.first_token_seconds,
            )
        if admitted.is_captured and outcome.status == "completed" and outcome.output_tokens[0]:
            self.segments.record(
                TrafficRecord(
                    record_id=new_id("rec"),
                    project_id=project.project_id,
                    endpoint_id=endpoint.endpoint_id,
                    model=endpoint.model,
                    created_at=timestamp(admitted.started_at),
                    prompt_tokens=admitted.prompts[0],
                    output_tokens=outcome.output_tokens[0],
                    speculator_version_id=outcome.stats.speculator_version_id,
                    end_user_id=admitted.end_user_id,
                    consent=project.traffic,
                )
            )
        await asyncio.to_thread(self.spool.append, usage_event(admitted, outcome))


def usage_event(admitted: Admitted, outcome: Outcome) -> UsageEvent:
    """The request's one terminal event."""
    return UsageEvent(
        event_id=admitted.event_id,
        organization_id=admitted.caller.project.organization_id,
        project_id=admitted.caller.project.project_id,
        endpoint_id=admitted.endpoint.endpoint_id,
        deployment_id=admitted.deployment_id,
        key_id=admitted.caller.key.key_id,
        model=admitted.endpoint.model,
        status=outcome.status,
        started_at=timestamp(admitted.started_at),
        finished_at=timestamp(),
        prompt_tokens=outcome.prompt_tokens,
        cached_tokens=outcome.cached_tokens,
        completion_tokens=outcome.completion_tokens,
        steps=outcome.stats.steps,
        drafted=outcome.stats.drafted,
        accepted=outcome.stats.accepted,
        speculation_mode=admitted.speculation.mode,
        speculator_version_id=outcome.stats.speculator_version_id,
        request_id=admitted.request_id,
    )
