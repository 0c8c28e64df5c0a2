"""The engine in our server's process: SGLang's Engine in a thread of its own, and the control channel.

event loop of the server        thread "sglang"                         scheduler process
  generate() ---- coroutine --->  Engine.async_generate  ---- ZMQ ---->   scheduler, our worker
             <--- chunks -------                         <--------------
  close / refresh / forget ------------- control channel (JSON) ------>   office
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from dataplane.contracts import LoadedVersion
from dataplane.engines.accounts import Goodput, StepTrace
from dataplane.engines.base import (
    EngineStats,
    FinishReason,
    GenerationChunk,
    GenerationRequest,
    SpeculationStats,
    TokenLogprob,
)
from dataplane.engines.sgl.control import ControlClient, ControlError
from dataplane.engines.sgl.sequence import RequestParams
from dataplane.engines.sgl.settings import WorkerSettings, server_arguments
from dataplane.speculation.registry import Desired

log = logging.getLogger(__name__)

_FINISH: Mapping[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "cancelled"}


class SGLangError(RuntimeError):
    """SGLang did not start, or runs without our plugin. The node must not serve."""


class SGLangEngine:
    """Implements `engines.base.Engine`. SGLang's own HTTP server is never started."""

    def __init__(
        self,
        model: Path,
        *,
        static: Path | None = None,
        num_slots: int = 8,
        max_context: int = 2048,
        max_lookahead: int = 15,
        max_delta_bytes: int = 512 << 20,
        start_seconds: float = 600.0,
        server_args: Mapping[str, Any] | None = None,
    ) -> None:
        """`server_args`: further arguments of SGLang (a node profile's). Raises SGLangError if it does not come up."""
        self.max_context = max_context
        self._num_slots = num_slots
        self._folder = tempfile.TemporaryDirectory(prefix="slipstream-sglang-")  # mode 700
        self._settings = WorkerSettings(
            socket=os.path.join(self._folder.name, "control.sock"),
            num_slots=num_slots,
            max_context=max_context,
            static=None if static is None else str(static),
            max_delta_bytes=max_delta_bytes,
        )
        self._arguments = server_arguments(
            str(model),
            num_slots=num_slots,
            max_context=max_context,
            max_lookahead=max_lookahead,
            more=server_args or {},
        )
        self._running: dict[str, str] = {}  # request id -> SGLang's
        self._lock = threading.Lock()
        self._engine: Any = None
        self._failure: BaseException | None = None
        self._dead = threading.Event()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="sglang", daemon=True)
        self._watch_children()
        self._thread.start()
        deadline = time.monotonic() + start_seconds
        while not ready.wait(0.2):
            if self._dead.is_set() or time.monotonic() > deadline:
                raise SGLangError("SGLang did not start: its scheduler process has ended or takes too long")
        if self._failure is not None:
            raise SGLangError(f"SGLang did not start: {self._failure}") from self._failure
        try:
            self._control = ControlClient(self._settings.socket)  # the node's threads
            self._requests = ControlClient(self._settings.socket)  # the thread "sglang": a slow refresh doesn't hold it
            hello = self._control.call("hello")
            self._gauges: dict[str, int] = self._control.call("gauges")
        except ControlError as error:
            self.stop()
            raise SGLangError(f"SGLang runs without our plugin: {error}") from error
        self.checks: tuple[str, ...] = tuple(hello["checks"])
        threading.Thread(target=self._poll, name="sglang-gauges", daemon=True).start()

    # ------------------------------------------------------------------------------------------------- the engine

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationChunk]:
        """Stream the request's tokens. Closing the iterator early aborts the request.

        Raises ValueError for a request that admission should have refused, SGLangError once SGLang is gone.
        """
        if not request.prompt_tokens or request.max_tokens < 1:
            raise ValueError("a request needs at least one prompt token and max_tokens of at least 1")
        if len(request.prompt_tokens) + request.max_tokens > self.max_context:
            raise ValueError(f"prompt and max_tokens exceed the context of {self.max_context} tokens")
        with self._lock:
            if not self.is_alive:
                raise SGLangError("SGLang does not run")
            if request.request_id in self._running:
                raise ValueError(f"request id {request.request_id!r} is already running")
            self._running[request.request_id] = request.request_id
        here = asyncio.get_running_loop()
        chunks: asyncio.Queue[GenerationChunk | BaseException] = asyncio.Queue()

        def deliver(item: GenerationChunk | BaseException) -> None:
            here.call_soon_threadsafe(chunks.put_nowait, item)

        task = asyncio.run_coroutine_threadsafe(self._generate(request, deliver), self._loop)
        finished = False
        try:
            while not finished:
                try:
                    item = await asyncio.wait_for(chunks.get(), 1.0)
                except TimeoutError:
                    if self.is_alive:
                        continue
                    raise SGLangError("SGLang has died") from None
                if isinstance(item, BaseException):
                    finished = True
                    raise SGLangError(str(item)) from item
                finished = item.finish_reason is not None
                yield item
        finally:
            if not self.is_alive:
                task.cancel()
            elif not finished:
                self.abort(request.request_id)
                await asyncio.wrap_future(task)

    def abort(self, request_id: str) -> None:
        """End a request at the next step boundary; unknown ids are ignored."""
        with self._lock:
            if request_id not in self._running:
                return
        self._loop.call_soon_threadsafe(self._engine.tokenizer_manager.abort_request, request_id)

    def stats(self) -> EngineStats:
        """Requests of this moment; the scheduler's gauges are at most a second old."""
        running = len(self._running)
        return EngineStats(
            running=min(running, self._num_slots),
            waiting=max(0, running - self._num_slots),
            num_slots=self._num_slots,
            **self._gauges,
        )

    # ---------------------------------------------------------------------------------------- what the node needs

    def refresh(self, desired: Mapping[str, Desired]) -> list[LoadedVersion]:
        """What the deployments should run, loaded from this node's disk by the scheduler process."""
        wanted = {
            deployment_id: {
                "project_id": want.project_id,
                "speculator_version_id": want.speculator_version_id,
                "path": None if want.path is None else str(want.path),
                "endpoint_id": want.endpoint_id,
            }
            for deployment_id, want in desired.items()
        }
        return [LoadedVersion(**version) for version in self._control.call("refresh", desired=wanted)]

    def forget(self, project_id: str) -> None:
        """Drop what was learned from a project; requests that run leave nothing behind either."""
        self._control.call("forget", project_id=project_id)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and not self._dead.is_set()

    def stop(self) -> None:
        """End SGLang and its processes: all children of this process, as SGLang's own shutdown has it."""
        self._dead.set()
        if self._thread.is_alive() and self._engine is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=30)
        for name in ("_control", "_requests"):
            if hasattr(self, name):
                getattr(self, name).close()
        self._folder.cleanup()

    # ------------------------------------------------------------------------------------------- thread "sglang"

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            from sglang.srt.entrypoints.engine import Engine

            os.environ.update(self._settings.to_environment())
            self._engine = Engine(**self._arguments)
        except BaseException as error:  # told by the constructor
            self._failure = error
            ready.set()
            return
        ready.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._engine.shutdown()

    async def _generate(self, request: GenerationRequest, deliver: Any) -> None:
        try:
            stream = await self._engine.async_generate(
                input_ids=list(request.prompt_tokens),
                sampling_params=_sampling_params(request),
                stream=True,
                rid=request.request_id,
                cache_salt=request.cache_salt or None,
            )
            seen, cached, reason = 0, 0, None
            error = None
            async for output in stream:
                meta = output["meta_info"]
                cached = meta.get("cached_tokens", cached)
                tokens = tuple(output["output_ids"][seen:])
                if tokens:
                    logprobs = self._logprobs(request, seen, len(tokens))
                    seen += len(tokens)
                    deliver(GenerationChunk(tokens, logprobs, num_cached_tokens=cached))
                if meta["finish_reason"] is not None:
                    reason = _FINISH.get(meta["finish_reason"]["type"], "error")
                    error = meta["finish_reason"].get("message") if reason == "error" else None
            stats = self._close(request)
            deliver(
                GenerationChunk((), finish_reason=reason or "error", num_cached_tokens=cached, stats=stats, error=error)
            )
        except BaseException as failure:
            log.exception("request %s failed", request.request_id)
            deliver(failure)
        finally:
            with self._lock:
                self._running.pop(request.request_id, None)

    def _logprobs(self, request: GenerationRequest, start: int, count: int) -> tuple[TokenLogprob, ...]:
        if request.num_logprobs is None:
            return ()
        found = self._requests.call("logprobs", request_id=request.request_id, start=start, count=count)
        return tuple(TokenLogprob(token, logprob, tuple((i, p) for i, p in top)) for token, logprob, top in found)

    def _close(self, request: GenerationRequest) -> SpeculationStats:
        data = self._requests.call("close", request_id=request.request_id)
        if data is None:
            return SpeculationStats(mode=request.speculation.mode)
        for name in ("per_position_drafted", "per_position_accepted"):
            data[name] = tuple(data[name])
        data["goodput"] = {source: Goodput(**sums) for source, sums in data["goodput"].items()}
        data["trace"] = tuple(StepTrace(**step) for step in data["trace"])
        return SpeculationStats(**data)

    def _poll(self) -> None:
        """Follow the scheduler's gauges, and notice when it is gone."""
        while not self._dead.wait(1.0):
            try:
                self._gauges = self._control.call("gauges")
            except ControlError:
                if not self._dead.is_set():
                    log.exception("SGLang's scheduler is gone")
                self._dead.set()

    def _watch_children(self) -> None:
        """SGLang's processes send SIGQUIT when one of them fails. The node then ends in order: see `is_alive`."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGQUIT, lambda number, frame: self._dead.set())


def _sampling_params(request: GenerationRequest) -> dict[str, Any]:
    """Ours decide about tokens (`verify`); SGLang's decide when a request ends."""
    return {
        "temperature": 0.0,
        "max_new_tokens": request.max_tokens,
        "stop_token_ids": list(request.stop_token_ids) or None,
        "custom_params": RequestParams.of(request).to_custom_params(),
    }
