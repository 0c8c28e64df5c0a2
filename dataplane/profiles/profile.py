"""A node profile as read from its TOML file. Every argument and every number that was chosen carries its reason."""

from __future__ import annotations

import shlex
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
    arguments: Mapping[str, Argument]  # of the engine's own command line, without dashes
    reasons: Mapping[str, str]  # of the numbers above

    def command(self, *, model: str | None = None, draft: str | None = None) -> list[str]:
        """The launch command; `model` and `draft` are folders, by default under /models."""
        model, draft = model or f"/models/{self.model}", draft or f"/models/{self.model}-eagle3"
        if self.engine == "embedded":
            words = ["python", "-m", "dataplane", "--engine", "embedded", "--model", model, "--static", draft]
        else:
            words = ["python", "-m", "sglang.launch_server", "--model-path", model]
            words += ["--speculative-draft-model-path", draft]
        for name, argument in self.arguments.items():
            words += [f"--{name}"] if argument.value is True else [f"--{name}", str(argument.value)]
        return words

    def command_line(self, *, model: str | None = None, draft: str | None = None) -> str:
        """`command` for a shell."""
        return shlex.join(self.command(model=model, draft=draft))


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
