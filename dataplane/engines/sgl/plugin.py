"""The entry point `sglang.srt.plugins`: teaches SGLang the algorithm SLIPSTREAM, in each of its processes.

SGLang only logs what a plugin raises, so nothing here proves that it was applied: the worker checks itself when it
starts (`worker.self_check`), and the engine refuses to serve until the worker has told it so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.engines.sgl.settings import ALGORITHM

if TYPE_CHECKING:
    from sglang.srt.server_args import ServerArgs

SUPPORTED_VERSION = "0.5.23"


def register() -> None:
    """Called by SGLang without arguments. Idempotent within a process."""
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm
    from sglang.srt.speculative.spec_registry import get_spec

    from dataplane.engines.sgl.algorithm import SlipstreamAlgorithm, validate_server_args

    if get_spec(ALGORITHM) is None:
        SpeculativeAlgorithm.register(
            ALGORITHM, validate_server_args=validate_server_args, spec_class=SlipstreamAlgorithm
        )(_worker_class)


def _worker_class(server_args: ServerArgs) -> type:
    from dataplane.engines.sgl.worker import SlipstreamWorker

    return SlipstreamWorker
