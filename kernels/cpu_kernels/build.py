"""Compile the CPU kernels once and keep the library: `python kernels/cpu_kernels/build.py [--out FOLDER] [--all]`.

The library is plain C++ behind `extern "C"`: g++ (or $CXX) compiles it in a few seconds. Its file name holds a digest
of source, flags and compiler, so that a change of any builds anew; it appears by an atomic rename.

SLIPSTREAM_CPU_KERNELS: the folder (default: var/native beside the source tree), or `off`: don't use the kernels.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "source"
TRANSLATED = ("forward.cpp", "draft.cpp")  # the others are headers
COMMON_FLAGS = (
    "-std=c++20", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-pthread", "-static-libstdc++", "-static-libgcc",
    "-Wall", "-Wextra", "-Wno-psabi",
)  # fmt: skip
COMPILE_SECONDS = 120.0  # a compiler that takes longer is stopped


class BuildError(Exception):
    """No compiler, a failed compilation, a folder that can't be written, or a processor that is not supported."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One instruction set: what the compiler is told, and what the processor must have (/proc/cpuinfo)."""

    name: str
    flags: tuple[str, ...]
    needs: frozenset[str]


_AVX2 = ("-mavx2", "-mfma", "-mbmi2")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mprefer-vector-width=512")
_NEEDS_AVX2 = frozenset({"avx2", "fma", "bmi2"})
_NEEDS_AVX512 = _NEEDS_AVX2 | {"avx512f", "avx512vl", "avx512bw", "avx512dq"}

# Best first.
VARIANTS = (
    Variant(
        "amx",
        (*_AVX512, "-mavx512bf16", "-mavx512vnni", "-mamx-tile", "-mamx-bf16", "-mamx-int8"),
        _NEEDS_AVX512 | {"avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"},
    ),
    Variant("avx512bf16", (*_AVX512, "-mavx512bf16", "-mavx512vnni"), _NEEDS_AVX512 | {"avx512_bf16", "avx512_vnni"}),
    Variant("avx512", _AVX512, _NEEDS_AVX512),
    Variant("avx2", _AVX2, _NEEDS_AVX2),
)
# The code of avx512bf16 on any machine with AVX2, slowly: for tests.
EMULATED = Variant("emulated", (*_AVX2, "-DEMULATE_WIDE"), _NEEDS_AVX2)

# The tenant memory's tables (source/tables.cpp) are bound by memory: any x86-64 will do.
TABLES = Variant("tables", (), frozenset())


def usable_variants(cpu_flags: frozenset[str] | None = None) -> list[Variant]:
    """The variants that this processor runs, best first. Raises BuildError when there is none."""
    flags = _cpu_flags() if cpu_flags is None else cpu_flags
    usable = [variant for variant in VARIANTS if variant.needs <= flags]
    if not usable:
        raise BuildError("the processor has no AVX2")
    return usable


def best_variant(cpu_flags: frozenset[str] | None = None) -> Variant:
    """The best of `usable_variants`."""
    return usable_variants(cpu_flags)[0]


def default_folder() -> Path | None:
    """Where libraries are kept; None: the kernels are switched off."""
    chosen = os.environ.get("SLIPSTREAM_CPU_KERNELS", "")
    if chosen == "off":
        return None
    return Path(chosen) if chosen else Path(__file__).parents[2] / "var" / "native"


def build(
    variant: Variant, folder: Path, *, translated: tuple[str, ...] = TRANSLATED, extra_flags: tuple[str, ...] = ()
) -> Path:
    """The compiled library, from `folder` if it is there already. Raises BuildError."""
    flags = (*COMMON_FLAGS, *variant.flags, *extra_flags)
    compiler = os.environ.get("CXX", "g++")
    digest = hashlib.sha256("\0".join((compiler, *translated, *flags)).encode())
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    path = folder / f"{variant.name}-{digest.hexdigest()[:16]}.so"
    if path.exists():
        return path
    found = shutil.which(compiler)
    if found is None:
        raise BuildError(f"no compiler: {compiler} is not installed (Debian: apt-get install g++)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch:
            built = Path(scratch) / path.name
            command = [found, *flags, *(str(SOURCE / name) for name in translated), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
            if done.returncode != 0:
                raise BuildError(f"{compiler} failed: {done.stderr.strip()[-2000:]}")
            built.rename(path)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{compiler} took more than {COMPILE_SECONDS:.0f} s") from error
    except OSError as error:
        raise BuildError(f"{folder}: {error}") from error
    return path


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=default_folder(), help="folder of the libraries")
    parser.add_argument("--all", action="store_true", help="every variant, for an image that runs on any processor")
    options = parser.parse_args(arguments)
    if options.out is None:
        print("CPU kernels: off")
        return 0
    try:
        for variant in VARIANTS if options.all else (best_variant(),):
            print(f"CPU kernels: {build(variant, options.out)}", flush=True)
        print(f"Tenant memory: {build(TABLES, options.out, translated=('tables.cpp',))}", flush=True)
    except BuildError as error:
        print(f"CPU kernels: not built, PyTorch's are used: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
