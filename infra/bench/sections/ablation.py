"""What each tier brings on the same held-out requests of a tenant."""

from __future__ import annotations

from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.learning import serve
from infra.bench.prompts import Workload
from infra.bench.sections.curve import ablation
from infra.bench.store import Record
from infra.bench.traffic import narrow, tenant_named


def run(context: Context, workload: Workload, box: Box, report: Report) -> Record:
    """Uses the tenant's trained version, if its section brought one; its past is served again (in batches)."""
    stage = context.stage
    prompts = [stage.encode(messages, workload.max_tokens) for messages in workload.learn[:24]]
    runs = serve(stage, workload, prompts)
    tenant = tenant_named(workload.name)
    assert tenant is not None
    jobs = [job for group in narrow(stage, tenant, "heldout", 40, seed=2) for job in group]
    texts = [prompt + run.tokens for prompt, run in zip(prompts, runs, strict=True)]
    record = ablation(context, workload.name, jobs, texts, box)
    shown = ", ".join(f"{name} {ratio['value']:.2f}" for name, ratio in record["over_plain"].items())
    report(f"over plain, {len(record['laps'])} requests: {shown}")
    return record | {"tenant": workload.name, "trained": workload.name in context.deltas}
