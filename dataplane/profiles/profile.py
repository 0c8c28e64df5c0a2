"""A node profile as read from its TOML file. Every argument and every number that was chosen carries its reason."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

FOLDER = Path(__file__).parent
T = TypeVar("T")
ENGINES = ("embedded", "sglang")


class ProfileError(ValueError):
    """No such profile, or its file says something that makes no sense; the message names it."""


@dataclass(frozen=True, slots=True)
class Machine:
    accelerator: str
    count: int  # tensor parallelism spans all of them
    memory_gib: float  # usable, of one
    reserve_gib: float  # of one: activations, captured graphs, runtime, fragmentation


@dataclass(frozen=True, slots=True)
class Target:
    weight_gb: float  # 10^9 bytes of all weights as they lie in memory
    kv_bytes_per_token: int  # of all layers, before sharding
    kv_shards: int  # over how many accelerators a token's keys and values are spread
    kv_tokens: int  # tokens of all running sequences together


@dataclass(frozen=True, slots=True)
class Draft:
    """The EAGLE-3 head; shapes as in `dataplane.speculation.drafters.checkpoint`."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    draft_vocab_size: int


@dataclass(frozen=True, slots=True)
class Tenants:
    resident: int  # deltas in the accelerator's memory; the least used ones beyond wait on disk
    rank: int


@dataclass(frozen=True, slots=True)
class Argument:
    value: str | int | float | bool  # true: a flag without a value
    reason: str


@dataclass(frozen=True, slots=True)
class NodeProfile:
    name: str
    engine: str
    model: str
    summary: str
    machine: Machine
    target: Target
    draft: Draft
    tenants: Tenants
    lookahead: Mapping[
        int, int
    ]  # running sequences -> lookahead to start from; the controller measures and corrects it
    arguments: Mapping[str, Argument]  # of the engine's own command line (SGLang's, or our node's), without dashes
    reasons: Mapping[str, str]  # of the numbers above

    def command(self, *, model: str | None = None, draft: str | None = None) -> list[str]:
        """The launch command of a Slipstream node; `model` and `draft` are folders, by default under /models."""
        model, draft = self._folders(model, draft)
        words = ["python", "-m", "dataplane", "--engine", self.engine, "--model", model, "--static", draft]
        arguments = dict(self.arguments)
        if self.engine == "sglang":  # what the node itself knows is an argument of the node, the rest is SGLang's
            for flag, name in (("--num-slots", "max-running-requests"), ("--max-context", "context-length")):
                words += [flag, str(arguments.pop(name).value)]
            words += ["--adaptive-mib", str(self.adaptive_mib)]
            values = {name.replace("-", "_"): argument.value for name, argument in arguments.items()}
            return [*words, "--engine-args", json.dumps(values)]
        return words + _flags(arguments)

    def replica_command(self, *, model: str | None = None, draft: str | None = None) -> list[str]:
        """The launch command of an unmodified SGLang with EAGLE-3: one tenant's replica, `draft` its merged checkpoint.

        SGLang's own HTTP has no keys and no tenants: it listens on this machine alone. Raises ProfileError.
        """
        if self.engine != "sglang":
            raise ProfileError(f"profile {self.name}: only SGLang serves a stock replica")
        model, draft = self._folders(model, draft)
        words = ["python", "-m", "sglang.launch_server", "--host", "127.0.0.1", "--model-path", model]
        reason = "the stock algorithm, for a full checkpoint"
        arguments = {**self.arguments, "speculative-algorithm": Argument("EAGLE3", reason)}
        return [*words, "--speculative-draft-model-path", draft, *_flags(arguments)]

    @property
    def adaptive_mib(self) -> int:
        """Memory that the resident tenants' deltas take, in MiB of bf16, rounded up."""
        return -(-self.tenants.resident * delta_parameters(self.draft, self.tenants.rank) * 2 // (1 << 20))

    def _folders(self, model: str | None, draft: str | None) -> tuple[str, str]:
        return model or f"/models/{self.model}", draft or f"/models/{self.model}-eagle3"


def delta_parameters(draft: Draft, rank: int) -> int:
    """Of a tenant's delta on gate, up and down projection and head: rank x (inputs + outputs) each."""
    mlp = 3 * (draft.hidden_size + draft.intermediate_size)
    return rank * (mlp + draft.hidden_size + draft.draft_vocab_size)


def _flags(arguments: Mapping[str, Argument]) -> list[str]:
    words = []
    for name, argument in arguments.items():
        words += [f"--{name}"] if argument.value is True else [f"--{name}", str(argument.value)]
    return words


def profile_names() -> tuple[str, ...]:
    """Names that `load_profile` knows."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_profile(name: str) -> NodeProfile:
    """Raises ProfileError."""
    if name not in profile_names():
        raise ProfileError(f"no profile {name!r}; there are: {', '.join(profile_names())}")
    return parse_profile(name, (FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def parse_profile(name: str, text: str) -> NodeProfile:
    """A profile from the text of its file. Raises ProfileError."""
    try:
        raw = tomllib.loads(text)
        profile = NodeProfile(
            name=name,
            engine=raw["engine"],
            model=raw["model"],
            summary=raw["summary"],
            machine=_section(Machine, raw, "machine"),
            target=_section(Target, raw, "target"),
            draft=_section(Draft, raw, "draft"),
            tenants=_section(Tenants, raw, "tenants"),
            lookahead={int(batch): int(tokens) for batch, tokens in raw["lookahead"].items()},
            arguments={key: Argument(one["value"], one["reason"]) for key, one in raw["arguments"].items()},
            reasons=raw["reasons"],
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProfileError(f"profile {name}: {type(error).__name__}: {error}") from error
    _check(profile)
    return profile


def _section(kind: type[T], raw: Mapping[str, Any], name: str) -> T:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(raw[name]) - known:
        raise ProfileError(f"[{name}] knows no {', '.join(sorted(unknown))}")
    return kind(**raw[name])


def _check(profile: NodeProfile) -> None:
    if profile.engine not in ENGINES:
        raise ProfileError(f"profile {profile.name}: engine {profile.engine!r} is none of {', '.join(ENGINES)}")
    if list(profile.lookahead) != sorted(profile.lookahead) or any(
        batch < 1 or not 0 <= tokens <= 16 for batch, tokens in profile.lookahead.items()
    ):
        raise ProfileError(f"profile {profile.name}: lookaheads are 0 to 16, by ascending number of sequences")
    silent = [name for name, argument in profile.arguments.items() if not argument.reason.strip()]
    silent += [name for name in ("machine", "target", "draft", "tenants", "lookahead") if not profile.reasons.get(name)]
    if silent:
        raise ProfileError(f"profile {profile.name}: no reason for {', '.join(silent)}")
