"""One training run as a process of its own: `python -m dataplane.training SPEC OUT`.

SPEC is a TrainingSpec (JSON), OUT a folder; see `dataplane.contracts.TrainingSpec` for what appears there. The process
needs no network and no secret. Exit status 0: `report.json` is there, "trained" or "skipped" with the reason; any
other: one line on standard error says what was wrong.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

from dataplane.contracts import ContractError, TrainingReport, TrainingSpec, from_dict, to_dict
from dataplane.models.llama import ModelError
from dataplane.speculation.drafters.checkpoint import ArtifactError
from dataplane.training.data import DataError
from dataplane.training.progress import Progress, write_json
from dataplane.training.run import run


def main(arguments: list[str]) -> int:
    """Read the specification, run it, write the report."""
    if len(arguments) != 2:
        print("usage: python -m dataplane.training SPEC OUT", file=sys.stderr)
        return 2
    started = time.monotonic()
    out = Path(arguments[1])
    try:
        spec = from_dict(TrainingSpec, json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
        torch.set_num_threads(spec.threads)
        torch.manual_seed(spec.seed)
        out.mkdir(parents=True, exist_ok=True)
        progress = Progress(out / "progress.json")
        report: TrainingReport = run(spec, out, progress, started)
        write_json(out / "report.json", to_dict(report))
        progress.show("done", 1.0, message=report.reason)
    except (ContractError, json.JSONDecodeError) as error:
        return _fail(f"specification: {error}")
    except (ArtifactError, DataError, ModelError, OSError) as error:
        return _fail(str(error))
    return 0


def _fail(problem: str) -> int:
    print(" ".join(problem.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main(sys.argv[1:]))
