"""Compile every kernel for the compute capabilities given, without a GPU; prints the architecture of each binary."""

import re
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from spec_kernels import verification


def compile_kernel(
    kernel: triton.JITFunction, types: dict[str, str], constants: dict[str, object], capability: int
) -> str:
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    source = ASTSource(
        fn=kernel, signature=signature, constexprs={(kernel.arg_names.index(k),): v for k, v in constants.items()}
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert len(compiled.asm["cubin"]) > 0
    found = re.search(r"\.target (\w+)", compiled.asm["ptx"])
    assert found is not None
    return found[1]


INTEGERS = dict.fromkeys(
    ("drafts", "row_sequence", "offsets", "positions", "seeds", "top_ks", "first_probs", "row_token", "tokens"), "*i64"
)
TYPES = {
    **INTEGERS,
    "num_accepted": "*i64",
    "row_accepted": "*i32",
    "temperatures": "*fp64",
    "top_ps": "*fp64",
    "min_offsets": "*fp64",
    "draft_probs": "*fp32",
    "stride": "i32",
    "vocabulary": "i32",
    "width": "i32",
}

for capability in map(int, sys.argv[1:]):
    for dtype in ("*bf16", "*fp32"):
        types = {**TYPES, "logits": dtype}
        print(compile_kernel(verification.greedy_rows_kernel, types, {"BLOCK": 4096}, capability))
        options = {"BLOCK": 4096, "LOWEST_BIT": 16, "HAS_PROBS": True, "HAS_TOP_K": True, "HAS_TOP_P": True}
        print(compile_kernel(verification.sampled_rows_kernel, types, options, capability))
    print(compile_kernel(verification.walk_kernel, TYPES, {}, capability))
