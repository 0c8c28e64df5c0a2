"""A training process without PyTorch: `python training_process.py BEHAVIOUR SPEC OUT`, by the contract of the real one.

It reads the segments that it is given and reports what BEHAVIOUR (JSON) says: `candidate`, `static` (acceptance
lengths), `outcome`, `exit`, `sleep` (seconds), `report` and `delta` (overrides), `greedy_identical`.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import zstandard


def main(behaviour: dict, spec: dict, out: Path) -> None:
    records = [
        json.loads(line)
        for path in spec["train_segments"] + spec["heldout_segments"]
        for line in zstandard.ZstdDecompressor().decompressobj().decompress(Path(path).read_bytes()).splitlines()
    ]
    assert all(record["project_id"] == spec["project_id"] for record in records)
    for phase, fraction in (("preparing", 0.1), ("training", 0.5)):
        progress(out, phase, fraction, loss=1.5)
    time.sleep(behaviour.get("sleep", 0))
    if "exit" in behaviour:
        sys.exit(behaviour["exit"])
    progress(out, "evaluating", 0.8)
    time.sleep(0.2)
    metadata = {"static_sha256": "a" * 64, "rank": str(spec["rank"]), "format_version": "1"}
    header = json.dumps({"__metadata__": metadata}).encode()
    delta = len(header).to_bytes(8, "little") + header + spec["training_run_id"].encode()
    (out / "delta.safetensors").write_bytes(delta)
    arms = {
        name: {
            "steps": 100,
            "tokens": int(100 * length),
            "acceptance_length": length,
            "seconds": 1.0,
            "per_record_acceptance_length": [length] * 16,
        }
        for name, length in (("candidate", behaviour.get("candidate", 3.0)), ("static", behaviour.get("static", 2.0)))
    }
    if spec["incumbent_path"]:
        assert Path(spec["incumbent_path"]).exists()
        arms["incumbent"] = arms["static"]
    report = {
        "training_run_id": spec["training_run_id"],
        "outcome": behaviour.get("outcome", "trained"),
        "reason": behaviour.get("reason", ""),
        "num_train_records": len(records),
        "num_train_tokens": 5 * len(records),
        "num_heldout_records": 16,
        "arms": arms,
        "loss_curve": [2.0, 1.5],
        "delta_sha256": hashlib.sha256(delta).hexdigest(),
        "delta_size_bytes": len(delta),
        "greedy_identical": behaviour.get("greedy_identical", True),
        "window_start": "2026-01-01T00:00:00Z",
        "window_end": "2026-01-01T01:00:00Z",
    } | behaviour.get("report", {})
    (out / "report.json").write_text(json.dumps(report))
    progress(out, "done", 1.0)


def progress(out: Path, phase: str, fraction: float, loss: float | None = None) -> None:
    temporary = out / "progress.new"
    temporary.write_text(json.dumps({"phase": phase, "fraction": fraction, "loss": loss}))
    temporary.replace(out / "progress.json")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
