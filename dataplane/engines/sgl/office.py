"""What the scheduler process knows of requests, and the calls that our server may make: open, ask, refresh, forget."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataplane.engines.sgl.control import ControlServer
from dataplane.engines.sgl.sequence import RequestParams, SchedulerRequest, SglSequence
from dataplane.speculation.controller import Controller
from dataplane.speculation.registry import Desired, DrafterSet
from dataplane.speculation.types import StepOutcome, StepTiming


class Office:
    """Every request that our server has not closed yet. The scheduler's thread writes, the control threads read."""

    def __init__(self, drafters: DrafterSet, controller: Controller, kv_gauges: Callable[[], tuple[int, int]]) -> None:
        """`kv_gauges`: tokens in SGLang's KV cache (what its prefix cache keeps included), and its capacity."""
        self._kv_gauges = kv_gauges
        self._num_queries, self._num_hits = 0, 0
        self._drafters = drafters
        self._controller = controller
        self._sequences: dict[str, SglSequence] = {}
        self._lock = threading.Lock()
        self._checks: list[str] = []
        self._server: ControlServer | None = None

    def open(self, path: str, checks: list[str]) -> None:
        """Answer calls from now on. `checks`: what the self-check has verified."""
        self._checks = checks
        self._server = ControlServer(
            path,
            {
                "hello": self._hello,
                "refresh": self._refresh,
                "forget": self._forget,
                "close": self._close,
                "logprobs": self._logprobs,
                "gauges": self._gauges,
            },
        )

    # ----------------------------------------------------------------------------------------- scheduler's thread

    def admit(self, request: SchedulerRequest, max_lookahead: int) -> SglSequence:
        """The sequence of a request; a new one when it is seen first."""
        sequence = self._sequences.get(request.rid)
        if sequence is None or sequence.request is not request:
            params = RequestParams.from_custom_params(request.sampling_params.custom_params)
            if params.ignore_eos:  # SGLang's own flag would switch stop tokens off, too
                request.eos_token_ids = set()
            sequence = SglSequence(request, params, max_lookahead)
            with self._lock:
                self._sequences[request.rid] = sequence
        return sequence

    def drop_finished(self) -> None:
        """Where no server closes requests: forget those that SGLang has ended."""
        with self._lock:
            for request_id in [one for one, sequence in self._sequences.items() if sequence.request.finished()]:
                del self._sequences[request_id]

    def count_prefix(self, num_cached: int) -> None:
        """A request's prompt begins to be read; so many of its tokens were cached."""
        self._num_queries += 1
        self._num_hits += num_cached > 0

    def record(self, sequence: SglSequence, outcome: StepOutcome, timing: StepTiming, batch: int) -> None:
        sequence.tally.add(outcome, timing, batch)
        if sequence.num_logprobs is not None:
            sequence.keep_logprobs(outcome)

    # -------------------------------------------------------------------------------------------- control threads

    def _hello(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "checks": self._checks}

    def _refresh(self, desired: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        wanted = {
            deployment_id: Desired(
                want["project_id"],
                want["speculator_version_id"],
                None if want["path"] is None else Path(want["path"]),
                want["endpoint_id"],
            )
            for deployment_id, want in desired.items()
        }
        return [asdict(version) for version in self._drafters.refresh(wanted)]

    def _forget(self, project_id: str) -> None:
        with self._lock:
            for sequence in self._sequences.values():
                if sequence.project_id == project_id:
                    sequence.forget()
        self._drafters.purge(project_id)

    def _close(self, request_id: str) -> dict[str, Any] | None:
        """A request has ended for our server: its statistics. None: it never ran."""
        with self._lock:
            sequence = self._sequences.pop(request_id, None)
        if sequence is None:
            return None
        adaptive = sequence.speculation.mode == "adaptive"
        stats = sequence.tally.stats(
            sequence.speculation.mode,
            speculator_version_id=self._drafters.version_of(sequence.deployment_id) if adaptive else None,
            relearning=self._controller.relearning(sequence.project_id, sequence.deployment_id),
        )
        return asdict(stats)

    def _logprobs(self, request_id: str, start: int, count: int) -> list[list[Any]]:
        sequence = self._sequences[request_id]
        return [[one.token_id, one.logprob, one.top] for one in sequence.logprobs[start : start + count]]

    def _gauges(self) -> dict[str, int]:
        used, capacity = self._kv_gauges()
        return {
            "kv_used_tokens": used,
            "kv_capacity_tokens": capacity,
            "prefix_cache_hits": self._num_hits,
            "prefix_cache_queries": self._num_queries,
            "drafter_errors": self._drafters.errors,
        }
