"""The static drafter's whole way on a tiny target: prompts -> text -> training -> checkpoint -> acceptance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.training.corpus import GENERATED, GIVEN, shard_counts, shard_paths
from dataplane.training.replay_set import read_replay_set
from dataplane.training.static import continued, main
from tests.dataplane.speculation.eagle_worlds import CONFIG, VOCABULARY, tiny_checkpoint
from tests.dataplane.training.tiny_target import WORDS, write_tiny_target


def test_training_goes_on_with_another_vocabulary() -> None:
    start = tiny_checkpoint()
    hot = start.hot_tokens.clone()
    new = min(set(range(VOCABULARY)) - set(hot.tolist()))
    hot[3] = new
    initial = {name: torch.zeros(shape) for name, shape in CONFIG.shapes().items() if name not in ("d2t", "t2d")}
    weights = continued(initial, start, hot)
    kept = [row for row in range(len(hot)) if row != 3]
    assert torch.equal(weights["lm_head.weight"][kept], start.tensors["lm_head.weight"].float()[kept])
    assert not weights["lm_head.weight"][3].any()
    assert torch.equal(weights["fc.weight"], start.tensors["fc.weight"].float())


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

    given = tmp_path / "conversations.json"
    exchange = [{"from": "human", "value": texts[0] + " cat"}, {"from": "gpt", "value": " ".join(WORDS)}]
    given.write_text(json.dumps([{"conversations": exchange}, {"conversations": exchange[:1]}]))
    main(["score", *common, "--prompts", str(given), "--out", str(data), "--tokens", "5"])
    (scored,) = shard_paths(data, GIVEN)
    assert shard_counts([scored])["generated"] == len(WORDS) + 1  # and the end
    assert shard_counts(shard_paths(data, GENERATED)) == counts

    capsys.readouterr()
    main(["vocabulary", *common, *chosen, "--data", str(data)])
    assert "96 tokens  coverage 1.0000" in capsys.readouterr().out

    folders = ["--data", str(data), "--run", str(run)]
    main(["train", *common, *chosen, *folders, "--seconds", "2", "--vocabulary", "64"])
    main(["train", *common, *chosen, *folders, "--seconds", "4", "--vocabulary", "64"])  # goes on
    assert len(json.loads((run / "curve.json").read_text())) == 2
    assert (run / "curve.png").exists()

    capsys.readouterr()
    main(["export", *common, *folders, "--out", str(out)])
    report = json.loads(capsys.readouterr().out)
    checkpoint = load_checkpoint(out)
    assert report["sha256"] == checkpoint.sha256
    assert checkpoint.config.draft_vocab_size == 64
    assert read_replay_set(out)
    assert 0 <= report["calibration_error"] <= 1

    later = tmp_path / "later"
    start = ["--start", str(out), "--keep-vocabulary", "--seconds", "1", "--at-once", "2"]
    main(["train", *common, "--data", str(data), "--run", str(later), *start])
    assert json.loads((later / "hot.json").read_text())["hot"] == checkpoint.hot_tokens.tolist()

    main(["evaluate", *common, "--checkpoint", str(out), "--prompts", str(benchmark), "--data", str(data)])
    printed = capsys.readouterr().out
    assert "colours" in printed
    assert "held-out broad prompts" in printed

    for design in ("eagle3", "recurrent"):
        folders = ["--data", str(data), "--run", str(tmp_path / design)]
        main(
            ["train", *common, *folders, "--seconds", "1", "--processor-time", "--vocabulary", "64", "--design", design]
        )
        main(["export", *common, *folders, "--out", str(tmp_path / f"{design}-checkpoint")])
        loaded = load_checkpoint(tmp_path / f"{design}-checkpoint")
        assert loaded.config.design == design
        capsys.readouterr()
        evaluation = ["--prompts", str(benchmark), "--at-once", "1", "--drafts-in-pytorch"]
        main(["evaluate", *common, "--checkpoint", str(tmp_path / f"{design}-checkpoint"), *evaluation])
        assert "tokens/s" in capsys.readouterr().out
