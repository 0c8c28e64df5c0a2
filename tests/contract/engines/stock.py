"""A child process: an unmodified SGLang (with the CPU shim alone) answers prompts greedily. JSON in, JSON out.

It serves one set of arguments after the other; those with a `draft` then get that checkpoint's draft while they serve,
and answer again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def answers(engine: Any, work: dict[str, Any]) -> dict[str, Any]:
    found = engine.generate(
        input_ids=work["prompts"],
        sampling_params={"temperature": 0, "max_new_tokens": work["max_tokens"], "ignore_eos": True},
    )
    return {
        "tokens": [one["output_ids"] for one in found],
        "acceptance_length": [one["meta_info"].get("spec_accept_length") for one in found],
    }


def checksum(engine: Any, selector: str) -> str:
    from sglang.srt.managers.io_struct import CheckWeightsReqInput

    request = CheckWeightsReqInput(action="checksum", selector=selector)
    return str(engine.loop.run_until_complete(engine.tokenizer_manager.check_weights(request)))


def swapped(engine: Any, static: Path, draft: Path) -> dict[str, bool]:
    """Give the replica another draft; whose weights did that change?"""
    from dataplane.engines.sgl.draft_update import draft_payload, swap_draft
    from dataplane.speculation.drafters.checkpoint import load_checkpoint

    before = {selector: checksum(engine, selector) for selector in ("target", "draft")}
    serialized = engine._serialize_tensors_per_rank(
        draft_payload(load_checkpoint(static), load_checkpoint(draft)), None
    )
    engine.loop.run_until_complete(swap_draft(engine.tokenizer_manager, serialized))
    return {selector: checksum(engine, selector) != found for selector, found in before.items()}


def main() -> None:
    from sglang.srt.entrypoints.engine import Engine

    reports = []
    for work in json.load(sys.stdin):
        engine = Engine(**work["arguments"])
        try:
            report: dict[str, Any] = {"before": answers(engine, work)}
            if draft := work["draft"]:
                report["changed"] = swapped(
                    engine, Path(work["arguments"]["speculative_draft_model_path"]), Path(draft)
                )
                report["after"] = answers(engine, work)
        finally:
            engine.shutdown()
        reports.append(report)
    print("reports " + json.dumps(reports))


if __name__ == "__main__":
    main()
