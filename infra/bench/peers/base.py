"""What the benchmark needs of a peer, and how one is described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class PeerError(RuntimeError):
    """The peer can't be installed, started or asked; the message says why."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One greedy request of a peer."""

    tokens: tuple[int, ...]
    prefill_seconds: float  # until the first token
    decode_seconds: float  # from the first token to the last

    @property
    def tokens_per_second(self) -> float:
        """Of decoding, as our own runs: tokens after the first by the time that they took."""
        if len(self.tokens) > 1 and self.decode_seconds > 0:
            return (len(self.tokens) - 1) / self.decode_seconds
        return len(self.tokens) / (self.prefill_seconds + self.decode_seconds)


class Peer(Protocol):
    """A running peer. Its modes are named PRECISION-METHOD, e.g. bf16-plain, q8_0-lookup."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def modes(self) -> Sequence[str]: ...

    def generate(self, mode: str, prompt: Sequence[int], max_tokens: int) -> PeerRun:
        """Greedy, alone, at most `max_tokens`. Raises PeerError."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PeerKind:
    """How to get a peer. `requirements`: an environment of its own, from requirements/FILE; None: ours."""

    name: str
    title: str
    program: str  # a file beside this one, which speaks `protocol.serve`
    modes: tuple[str, ...]
    requirements: str | None = None
    needs_torch: bool = False  # its environment gets the PyTorch build that ours has
    build_environment: tuple[tuple[str, str], ...] = ()  # for packages that are built from source
    environment: tuple[tuple[str, str], ...] = ()
    start_seconds: float = 300.0


HUGGINGFACE = PeerKind(
    name="huggingface",
    title="Hugging Face generate",
    program="run_huggingface.py",
    modes=("bf16-plain", "bf16-lookup", "bf16-assisted"),
)
LLAMA_CPP = PeerKind(
    name="llama.cpp",
    title="llama.cpp",
    program="run_llama_cpp.py",
    modes=("bf16-plain", "bf16-lookup2", "bf16-lookup8", "q8_0-plain", "q8_0-lookup8", "q4_1-plain", "q4_1-lookup8"),
    requirements="peer-llama-cpp.txt",
    # For this very processor: a wheel for any processor has no AVX-512 and would make the peer look slow.
    build_environment=(("CMAKE_ARGS", "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF"),),
)
VLLM = PeerKind(
    name="vllm",
    title="vLLM on a CPU",
    program="run_vllm.py",
    modes=("bf16-plain", "bf16-ngram", "bf16-suffix", "bf16-eagle3"),
    requirements="peer-vllm.txt",
    needs_torch=True,
    environment=(("VLLM_CPU_KVCACHE_SPACE", "1"), ("VLLM_LOGGING_LEVEL", "ERROR"), ("HF_HUB_OFFLINE", "1")),
    start_seconds=600.0,
)
KINDS: dict[str, PeerKind] = {kind.name: kind for kind in (LLAMA_CPP, HUGGINGFACE, VLLM)}
