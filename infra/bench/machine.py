"""Where it ran, and how busy the machine was before it began."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    instructions: tuple[str, ...]  # those that matter here
    cores: int
    memory_bytes: int
    platform: str
    python: str
    torch: str
    commit: str
    modified_files: int
    started_at: str
    load_average: tuple[float, float, float]

    @classmethod
    def now(cls, repository: Path) -> Machine:
        def git(*arguments: str) -> str:
            done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, text=True, check=False)
            return done.stdout.strip()

        return cls(
            processor=_cpuinfo("model name") or platform.processor() or platform.machine(),
            instructions=tuple(name for name in _INSTRUCTIONS if name in _cpuinfo("flags").split()),
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            platform=platform.platform(),
            python=platform.python_version(),
            torch=torch.__version__,
            commit=git("rev-parse", "HEAD") or "unknown",
            modified_files=len(git("status", "--porcelain").splitlines()),
            started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            load_average=os.getloadavg(),
        )


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")
