"""dataplane/models/weights.py: a GGUF file becomes a verified folder, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dataplane.models.weights import WeightsError, convert, huggingface_name, main, unpermute, verify_folder


def test_names_follow_hugging_face() -> None:
    assert huggingface_name("blk.7.ffn_down.weight") == "model.layers.7.mlp.down_proj.weight"
    assert huggingface_name("output_norm.weight") == "model.norm.weight"
    for unknown in ("blk.7.ffn_gate_exps.weight", "rope_freqs.weight", "blk.0.attn_q.bias.extra"):
        with pytest.raises(WeightsError):
            huggingface_name(unknown)


def test_unpermuting_undoes_the_interleaving_of_rotary_halves() -> None:
    weight = torch.randn(2 * 8, 5)  # two heads of dimension 8
    interleaved = weight.reshape(2, 2, 4, 5).transpose(1, 2).reshape(16, 5)
    assert torch.equal(unpermute(interleaved, 2), weight)


def test_a_wrong_digest_or_format_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(b"not a model at all, but long enough to be read as a header")
    with pytest.raises(WeightsError, match="SHA-256"):
        convert(source, tmp_path / "out", sha256="0" * 64, report=print)
    with pytest.raises(WeightsError, match="not a readable GGUF"):
        convert(source, tmp_path / "out", sha256=None, report=print)
    with pytest.raises(WeightsError, match="does not exist"):
        convert(tmp_path / "none", tmp_path / "out", sha256=None, report=print)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf"]


def test_the_command_reports_an_error_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--gguf", str(tmp_path / "none.gguf"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_a_changed_folder_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "digests.json").write_text(json.dumps({"source_sha256": "x", "files": {"config.json": "0" * 64}}))
    with pytest.raises(WeightsError, match=r"changed since it was converted: config\.json"):
        verify_folder(tmp_path)


@pytest.mark.real_model
def test_the_packaged_model_is_converted_once(real_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(real_model)]) == 0
    assert "up to date" in capsys.readouterr().out
    assert json.loads((real_model / "config.json").read_text())["num_hidden_layers"] == 30
