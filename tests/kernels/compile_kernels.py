"""Compile every kernel for the compute capabilities given, without a GPU, and say what the binaries look like.

One JSON object per line: kernel, variant, architecture of the PTX, widest global load in bytes, spilled bytes (as the
bundled ptxas counts them) and registers per thread.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from spec_kernels.decide import decide_kernel
from spec_kernels.deltas import expand_kernel, shrink_kernel
from spec_kernels.hot import choose_kernel
from spec_kernels.scan import scan_kernel
from spec_kernels.walk import walk_kernel

INT64: tuple[str, ...] = (
    "drafts",
    "offsets",
    "cutoffs",
    "positions",
    "seeds",
    "top_ks",
    "first_probs",
    "row_token",
    "tokens",
)
INT64 = (*INT64, "num_accepted", "entries", "hot_tokens")
FLOAT64 = ("temperatures", "top_ps", "min_offsets", "penalties", "item_biases", "row_total", "residuals")
FLOAT32: tuple[str, ...] = (
    "adjusted",
    "partials",
    "peaks",
    "draft_probs",
    "row_bounds",
    "draft_stats",
    "row_stats",
    "logprobs",
)
FLOAT32 = (*FLOAT32, "partial", "probs", "entropy", "margin")
NUMBERS: tuple[str, ...] = (
    "stride",
    "mask_words",
    "draft_width",
    "vocabulary",
    "num_rows",
    "batch",
    "num_chunks",
    "num_peaks",
    "width",
)
NUMBERS = (*NUMBERS, "inner", "outer", "parts")
TYPES = {
    **dict.fromkeys(INT64, "*i64"),
    **dict.fromkeys(FLOAT64, "*fp64"),
    **dict.fromkeys(FLOAT32, "*fp32"),
    **dict.fromkeys(NUMBERS, "i32"),
}  # everything else is *i32
ALIGNED = ("stride", "vocabulary", "draft_width", "inner", "outer")  # multiples of 16 in every model that is served

# Everything switched on, at the largest sizes: batch 128, lookahead 8, 152k tokens.
SIZES = {"BATCH": 128, "WIDTH": 16, "CHUNKS": 32, "PEAKS": 4096, "CHUNK": 8192, "STEP": 32, "SUB": 64}
ON = dict.fromkeys(("ADJUST", "FILTER", "SAMPLE", "PROBS", "MAPPED", "SOURCES", "STATS", "LOGPROBS"), True)


def compile_kernel(
    kernel: Any, types: dict[str, str], constants: dict[str, Any], capability: int, num_warps: int
) -> dict[str, Any]:
    """Compile one variant and read its PTX."""
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    signature = {name: "constexpr" if name in constants else types.get(name, "*i32") for name in kernel.arg_names}
    divisible = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name in ALIGNED
    }
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
        attrs=divisible,
    )
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": num_warps})
    assert len(compiled.asm["cubin"]) > 0
    ptx = compiled.asm["ptx"]
    found = re.search(r"\.target (\w+)", ptx)
    assert found is not None
    return {"kernel": kernel.__name__, "target": found[1], "load": widest_load(ptx), **ptxas(ptx, found[1])}


def widest_load(ptx: str) -> int:
    """Bytes of the widest load from global memory."""
    widths = [
        int(lanes or 1) * int(bits) // 8 for lanes, bits in re.findall(r"ld\.global[\w.:]*?(?:\.v(\d))?\.b(\d+)", ptx)
    ]
    return max(widths)


def ptxas(ptx: str, architecture: str) -> dict[str, int]:
    """Registers and spilled bytes, from the assembler's own report."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        assembler = get_ptxas(int(re.sub(r"\D", "", architecture))).path
        command = [assembler, "-v", f"--gpu-name={architecture}", str(path), "-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    registers = re.search(r"Used (\d+) registers", done.stderr)
    assert registers is not None, done.stderr
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr)
    return {"registers": int(registers[1]), "spilled": sum(map(int, spilled))}


def variants() -> Iterator[tuple[str, Any, dict[str, str], dict[str, Any], int]]:
    """Name, kernel, types, constants, warps: what a node launches. "few": it reads only partials."""
    off = dict.fromkeys(ON, False)
    for dtype, lowest in (("bf16", 16), ("fp16", 13), ("fp32", 0)):
        types = {**TYPES, "logits": f"*{dtype}"}
        for name, switches in (("greedy", off), ("all", ON)):
            constants = {**SIZES, **switches, "LOWEST_BIT": lowest}
            if dtype == "fp16" and name == "all":
                continue  # nothing that bf16 and fp32 don't show
            yield f"{name} {dtype}", scan_kernel, types, constants, 8
            few = "few, " if switches is off else ""
            yield f"{few}{name} {dtype}", decide_kernel, types, constants, 8
            yield f"{few}{name} {dtype}", walk_kernel, types, constants, 8 if switches is ON else 1
        delta = {**types, "inputs": f"*{dtype}", "outputs": f"*{dtype}"}
        yield f"delta {dtype}", shrink_kernel, delta, {"PART": 512, "MAX_RANK": 64}, 4
        yield f"delta {dtype}", expand_kernel, delta, {"PART": 512, "MAX_RANK": 64}, 4
        choice = {"BLOCK": 4096, "FOUND": 32, "COUNT": 4, "MAPPED": True}
        yield f"choice {dtype}", choose_kernel, types, choice, 8


def main() -> None:
    for capability in map(int, sys.argv[1:]):
        for name, kernel, types, constants, num_warps in variants():
            report = compile_kernel(kernel, types, constants, capability, num_warps)
            print(json.dumps({"variant": name, **report}), flush=True)


if __name__ == "__main__":
    main()
