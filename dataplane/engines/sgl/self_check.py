"""SGLang only logs a hook that could not be applied. So the worker looks for itself, and refuses to start."""

from __future__ import annotations

import inspect
from typing import Any

import sglang

from dataplane.engines.sgl.plugin import SUPPORTED_VERSION
from dataplane.engines.sgl.settings import ALGORITHM

_NEEDED = {
    "forward_batch_generation": ("is_verify", "capture_hidden_mode"),
}


class SelfCheckError(RuntimeError):
    """SGLang is not what this plugin was written for: it must not serve."""


def self_check(worker: Any) -> list[str]:
    """What was verified, in words. Raises SelfCheckError."""
    from sglang.srt.speculative.spec_registry import get_spec

    done = []
    if sglang.__version__ != SUPPORTED_VERSION:
        raise SelfCheckError(f"SGLang {sglang.__version__} instead of {SUPPORTED_VERSION}")
    done.append(f"version {SUPPORTED_VERSION}")
    algorithm = get_spec(ALGORITHM)
    if algorithm is None or type(algorithm).__name__ != "SlipstreamAlgorithm":
        raise SelfCheckError(f"the algorithm {ALGORITHM} is not ours")
    done.append(f"algorithm {ALGORITHM}")
    target = worker.target_worker
    for method, parameters in _NEEDED.items():
        missing = set(parameters) - set(inspect.signature(getattr(target, method)).parameters)
        if missing:
            raise SelfCheckError(f"{type(target).__name__}.{method} lacks {', '.join(sorted(missing))}")
    done.append("verify forward")
    if worker.target.capture.need_capture():
        if not target.model_runner.model.capture_aux_hidden_states:
            raise SelfCheckError("the target does not capture the drafter's features")
        done.append("features")
    return done
