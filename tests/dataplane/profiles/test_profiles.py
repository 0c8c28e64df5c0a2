"""Node profiles: data with reasons, whose arithmetic holds."""

from __future__ import annotations

import json
import shlex

import pytest

from dataplane.config import read_config
from dataplane.profiles import ProfileError, budget, load_profile, profile_names
from dataplane.profiles.__main__ import main
from dataplane.profiles.budget import draft_parameters
from dataplane.profiles.profile import FOLDER, delta_parameters, parse_profile
from dataplane.speculation.drafters.checkpoint import EagleConfig
from dataplane.speculation.drafters.delta import DELTA_MODULES, MAX_RANK


@pytest.mark.parametrize("name", profile_names())
def test_everything_that_a_node_holds_fits_its_memory(name: str) -> None:
    profile = load_profile(name)
    memory = budget(profile)
    assert memory.used_gib <= profile.machine.memory_gib, f"\n{memory}"
    assert 1 <= profile.tenants.rank <= MAX_RANK
    if profile.engine == "sglang":
        fraction = float(profile.arguments["mem-fraction-static"].value)
        assert memory.static_gib <= fraction * profile.machine.memory_gib, "the pool holds fewer tokens than planned"
        assert memory.used_gib - memory.static_gib <= (1 - fraction) * profile.machine.memory_gib


@pytest.mark.parametrize("name", profile_names())
def test_lookaheads_fit_the_buffers_and_shrink_with_the_batch(name: str) -> None:
    profile = load_profile(name)
    lookaheads = list(profile.lookahead.values())
    assert lookaheads == sorted(lookaheads, reverse=True)
    if profile.engine == "sglang":
        assert profile.arguments["speculative-num-steps"].value == max(lookaheads)
        assert profile.arguments["speculative-num-draft-tokens"].value == max(lookaheads) + 1
        assert profile.arguments["max-running-requests"].value == max(profile.lookahead)
        assert profile.arguments["tp-size"].value == profile.machine.count


def test_the_drafters_size_is_that_of_its_checkpoint_format() -> None:
    for name in profile_names():
        draft = load_profile(name).draft
        shapes = EagleConfig(
            draft.hidden_size, draft.intermediate_size, draft.num_heads, draft.num_kv_heads, draft.head_dim,
            100_000, draft.draft_vocab_size, (1, 2, 3),
        ).shapes()  # fmt: skip
        sizes = {name: shape[0] * (shape[1] if len(shape) > 1 else 1) for name, shape in shapes.items()}
        assert draft_parameters(draft) == sum(size for name, size in sizes.items() if name.endswith("weight"))
        assert delta_parameters(draft, 16) == sum(16 * sum(shapes[f"{module}.weight"]) for module in DELTA_MODULES)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_a_command_line_of_our_node(name: str) -> None:
    profile = load_profile(name)
    words = profile.command(model="/m", draft="/d")
    assert words[:3] == ["python", "-m", "dataplane"]
    extra = ["--state-dir", "/s", "--control-plane", "http://127.0.0.1"]
    config = read_config([*words[3:], *extra], {"SLIPSTREAM_KEY_PEPPER": "p"})
    assert (config.engine, str(config.model), str(config.static)) == (profile.engine, "/m", "/d")
    assert config.num_slots == (8 if profile.engine == "embedded" else max(profile.lookahead))
    if profile.engine == "sglang":
        assert config.engine_args["speculative_algorithm"] == "SLIPSTREAM"
        deltas = profile.tenants.resident * delta_parameters(profile.draft, profile.tenants.rank) * 2
        assert 0 <= (config.adaptive_mib << 20) - deltas < 1 << 20


def test_a_file_without_a_reason_or_with_an_unknown_key_is_refused() -> None:
    text = (FOLDER / "qwen3-8b-h100.toml").read_text()
    parse_profile("copy", text)
    for damaged in (
        text.replace('tenants = "', 'nobody = "', 1),
        text.replace("kv_shards", "kv_shard"),
        text.replace('engine = "sglang"', 'engine = "other"'),
        text.replace("128 = 0", "128 = 99"),
        text.replace('value = "bfloat16"\nreason = "the published weights\' type"', 'value = "bfloat16"\nreason = ""'),
        text[:100],
        "[",
    ):
        assert damaged != text
        with pytest.raises(ProfileError, match=r"copy|knows"):
            parse_profile("copy", damaged)
    with pytest.raises(ProfileError, match="there are: deepseek"):
        load_profile("no-such")


def test_the_command_prints_what_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("smollm2-135m-cpu", "kimi-k2-0905-b200x8"))
    assert main(["llama-3.1-8b-h100", "--model", "/a b"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:7] == ["python", "-m", "dataplane", "--engine", "sglang", "--model", "/a b"]
    assert json.loads(words[-1])["speculative_algorithm"] == "SLIPSTREAM"
    assert main(["llama-3.1-8b-h100", "--replica", "--draft", "/merged"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:5] == ["python", "-m", "sglang.launch_server", "--host", "127.0.0.1"]
    assert words[words.index("--speculative-algorithm") + 1] == "EAGLE3"
    assert words[words.index("--speculative-draft-model-path") + 1] == "/merged"
    assert main(["smollm2-135m-cpu", "--replica"]) == 1
    assert "only SGLang" in capsys.readouterr().err
    assert main(["llama-3.1-8b-h100", "--budget"]) == 0
    assert "1,000 x 1,462,272 parameters" in capsys.readouterr().out
    assert main(["llama-3.1-8b-h100", "--reasons"]) == 0
    assert "--tp-size 1: the weights fit" in capsys.readouterr().out
    assert main(["no-such"]) == 1
