"""The static drafter's whole way on a tiny target: prompts -> text -> training -> checkpoint -> acceptance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.training.corpus import shard_counts, shard_paths
from dataplane.training.replay_set import read_replay_set
from dataplane.training.static import main
from tests.dataplane.training.tiny_target import WORDS, write_tiny_target


def test_a_drafter_is_trained_from_nothing_but_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, data, run, out = (tmp_path / name for name in ("target", "data", "run", "checkpoint"))
    target.mkdir()
    write_tiny_target(target)
    texts = [f"write {one} {two} {three}" for one in WORDS[:6] for two in WORDS[:6] for three in WORDS[:8]]
    prompts, benchmark = tmp_path / "prompts.jsonl", tmp_path / "question.jsonl"
    prompts.write_text("\n".join(json.dumps({"turns": [text, "why is the cat red"]}) for text in texts))
    benchmark.write_text(json.dumps({"turns": [texts[0]], "category": "colours"}))
    common = ["--target", str(target)]
    chosen = ["--prompts", str(prompts), "--exclude", str(benchmark)]

    generate = ["generate", *common, *chosen, "--out", str(data), "--tokens"]
    main([*generate, "2000"])
    first = shard_counts(shard_paths(data))
    assert first["generated"] >= 2000
    assert f"{len(texts) - 1} prompts" in capsys.readouterr().out  # the benchmark's is left out
    main([*generate, str(first["generated"] + 1)])  # goes on where it was
    counts = shard_counts(shard_paths(data))
    assert counts["generated"] > first["generated"]
    assert counts["prompts"] == 2 * first["prompts"] < len(texts)

    folders = ["--data", str(data), "--run", str(run)]
    main(["train", *common, *chosen, *folders, "--seconds", "2", "--vocabulary", "64"])
    main(["train", *common, *chosen, *folders, "--seconds", "4", "--vocabulary", "64"])
    assert len(json.loads((run / "curve.json").read_text())) == 2
    assert (run / "curve.png").exists()

    capsys.readouterr()
    main(["export", *common, *folders, "--out", str(out)])
    report = json.loads(capsys.readouterr().out)
    checkpoint = load_checkpoint(out)
    assert report["sha256"] == checkpoint.sha256
    assert checkpoint.config.draft_vocab_size == 64
    assert read_replay_set(out)

    main(["evaluate", *common, "--checkpoint", str(out), "--prompts", str(benchmark), "--data", str(data)])
    printed = capsys.readouterr().out
    assert "colours" in printed
    assert "held-out broad prompts" in printed
