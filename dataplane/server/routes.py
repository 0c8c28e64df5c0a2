"""The handlers: /v1 as OpenAI has it, and the node's own /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dataplane.contracts import EndpointConfig, StreamCoalescing, client_address, end_user_id
from dataplane.engines.base import GenerationRequest
from dataplane.errors import AuthenticationFailed, BodyTooLarge, InvalidRequest, Unavailable
from dataplane.server.admission import (
    Caller,
    authenticate,
    deployment_of,
    endpoint_of,
    limit_headers,
    speculation_policy,
)
from dataplane.server.generation import ChoiceEnded, Delta, Failed, Generation
from dataplane.server.ledger import Admitted
from dataplane.server.responses import Kind, ResponseFormatter
from dataplane.server.schemas import ChatRequest, CompletionRequest, Prompt, parse_request
from dataplane.server.serving import Serving
from dataplane.server.sse import GenerationStream, stream_events
from dataplane.server.text import PlacedLogprob
from dataplane.speculation.types import SamplingParams
from dataplane.stamps import new_id, parse_timestamp
from dataplane.sync.snapshot import AppliedSnapshot
from dataplane.traffic.record import is_captured

# The seeds of a request's choices are this far apart (2^64 / golden ratio): choice 0 has the request's own.
_SEED_STRIDE = 0x9E3779B97F4A7C15
_MAX_SEED = (1 << 63) - 1
# How long, and how much of, a refused body is still taken from the wire.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 << 20


async def chat_completions(request: Request) -> Response:
    serving = _serving(request)
    _caller(request, "inference:write")  # nothing of a stranger's is read
    body = parse_request(ChatRequest, await _read_body(request))
    messages = [message.to_template() for message in body.messages]
    try:
        prompt = await asyncio.to_thread(serving.codec.apply_chat_template, messages)
    except ValueError as error:
        raise InvalidRequest(f"messages: {error}", param="messages", code="invalid_value") from None
    return await _complete(request, body, "chat", (tuple(prompt),))


async def completions(request: Request) -> Response:
    serving = _serving(request)
    _caller(request, "inference:write")  # nothing of a stranger's is read
    body = parse_request(CompletionRequest, await _read_body(request))
    prompts = await asyncio.to_thread(lambda: tuple(_tokens(serving, prompt) for prompt in body.prompts))
    if len(prompts) * body.num_choices > 64:
        raise InvalidRequest("At most 64 completions per request.", param="prompt", code="invalid_value")
    return await _complete(request, body, "text", prompts)


async def list_models(request: Request) -> Response:
    snapshot, caller = _caller(request, "inference:read")
    own = filter(caller.may_call, snapshot.endpoints_of(caller.project.project_id))
    endpoints = sorted(own, key=lambda endpoint: endpoint.name)
    return JSONResponse({"object": "list", "data": [_model(endpoint, snapshot) for endpoint in endpoints]})


async def get_model(request: Request) -> Response:
    snapshot, caller = _caller(request, "inference:read")
    return JSONResponse(_model(endpoint_of(caller, request.path_params["model"], snapshot), snapshot))


async def healthz(request: Request) -> Response:
    """Live: the event loop turns, and so does the engine's."""
    if not _serving(request).is_engine_alive():
        return JSONResponse({"status": "the engine has stopped"}, status_code=503)
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Ready: the model is loaded (or there would be no server) and a snapshot is in force."""
    serving = _serving(request)
    current = serving.snapshots.current
    if serving.unready_because or current is None:
        return JSONResponse({"status": serving.unready_because}, status_code=503)
    return JSONResponse({"status": "ready", "generation": current.generation})


async def metrics(request: Request) -> Response:
    """For whoever has the token; without one, for this machine: it names projects and how much they ask."""
    serving = _serving(request)
    _check_metrics_access(request, serving.limits.metrics_token)
    ledger = serving.ledger
    ledger.metrics.set_engine(serving.engine.stats())
    ledger.metrics.usage_spooled.set(ledger.spool.size())
    ledger.metrics.traffic_dropped.set(ledger.segments.num_dropped)
    ledger.metrics.traffic_screened.set(ledger.segments.num_screened)
    ledger.metrics.traffic_masked.set(ledger.segments.num_masked)
    if serving.snapshots.current is not None:
        ledger.metrics.generation.set(serving.snapshots.current.generation)
    return Response(ledger.metrics.render(), media_type="text/plain; version=0.0.4")


def _check_metrics_access(request: Request, token: str) -> None:
    """Raises AuthenticationFailed."""
    if token:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise AuthenticationFailed("The metrics need their token.")
        return
    # A request that a proxy has passed on comes from somewhere else, wherever the proxy is.
    is_forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    if is_forwarded or request.client is None or not ip_address(request.client.host).is_loopback:
        raise AuthenticationFailed("The metrics are for this machine; set SLIPSTREAM_METRICS_TOKEN for others.")


# ---------------------------------------------------------------------------------------------------- one completion


async def _complete(
    request: Request, body: ChatRequest | CompletionRequest, kind: Kind, prompts: tuple[tuple[int, ...], ...]
) -> Response:
    """Admit, run, answer: the common part of both completion routes."""
    serving = _serving(request)
    # What holds now decides: a body may take minutes to arrive, and a key or a consent may go meanwhile.
    snapshot, caller = _caller(request, "inference:write")
    endpoint = endpoint_of(caller, body.model, snapshot)
    max_tokens = [_max_tokens(serving, prompt, body, kind) for prompt in prompts]
    sampling = body.sampling(serving.codec.vocab_size)
    _check_token_ids(body.stop_token_ids, serving.codec.vocab_size, "stop_token_ids")
    if serving.engine.stats().waiting >= serving.limits.max_waiting:
        raise Unavailable("The node is overloaded.", code="overloaded", retry_after=1.0)
    project = caller.project
    states = serving.limiter.admit(project.project_id, project.limits, sum(map(len, prompts)))

    # Admitted: nothing between here and `start` may fail or wait.
    request_id = request.state.request_id
    captured = is_captured(project.traffic, store=body.store is not False, request_id=request_id)
    person = end_user_id(project.end_user_key, body.end_user) if project.end_user_key and body.end_user else ""
    is_per_person = project.traffic.memory_scope == "end_user"
    deployment = deployment_of(endpoint, request_id=request_id)
    policy = speculation_policy(
        deployment,
        body.speculation,
        request_id=request_id,
        remember=project.traffic.capture and body.store is not False and not (is_per_person and not person),
    )
    admitted = Admitted(
        request_id=request_id,
        event_id=new_id("evt"),
        caller=caller,
        endpoint=endpoint,
        deployment_id=deployment.deployment_id,
        speculation=policy,
        is_captured=captured,
        end_user_id=person,
        prompts=prompts,
        started_at=time.time(),
        started_clock=time.monotonic(),
    )
    requests = [
        GenerationRequest(
            request_id=f"{request_id}-{index}-{choice}",
            project_id=project.project_id,
            deployment_id=deployment.deployment_id,
            cache_salt=project.cache_salt,
            prompt_tokens=prompt,
            max_tokens=limit,
            sampling=_with_seed(sampling, choice),
            speculation=policy,
            stop_token_ids=body.stop_token_ids,
            ignore_eos=bool(body.ignore_eos),
            num_logprobs=body.num_logprobs,
            trace=body.speculation is not None and bool(body.speculation.trace),
            speculator_version_id=deployment.speculator.speculator_version_id if deployment.speculator else None,
            # Whoever is nobody shares nothing: no table has this name, and none is made without `remember`.
            end_user_id=(person or "nobody") if is_per_person else "",
        )
        for index, (prompt, limit) in enumerate(zip(prompts, max_tokens, strict=True))
        for choice in range(body.num_choices)
    ]
    generation = serving.start(
        admitted,
        requests,
        num_choices=body.num_choices,
        stop=body.stop,
        coalescing=project.streaming if body.stream else StreamCoalescing(),
    )
    formatter = ResponseFormatter(
        kind=kind,
        response_id=new_id("chatcmpl" if kind == "chat" else "cmpl").replace("_", "-"),
        created=int(admitted.started_at),
        model=endpoint.name,
        codec=serving.codec,
        with_logprobs=body.num_logprobs is not None,
        with_metrics=body.speculation is not None,
    )
    headers = {"x-slipstream-retention": "training" if captured else "none", **limit_headers(states)}
    if person:
        headers["x-slipstream-end-user"] = person
    if body.stream:
        events = stream_events(generation, formatter, num_choices=len(requests), include_usage=body.include_usage)
        return GenerationStream(generation, events, headers)
    return await _whole_response(request, generation, formatter, len(requests), headers)


async def _whole_response(
    request: Request,
    generation: Generation,
    formatter: ResponseFormatter,
    num_choices: int,
    headers: Mapping[str, str],
) -> Response:
    """Wait for the end, or for the client's leaving, which ends the generation."""
    collector = asyncio.ensure_future(_collect(generation, formatter, num_choices))
    watcher = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((collector, watcher), return_when=asyncio.FIRST_COMPLETED)
        if collector.done():
            return JSONResponse(collector.result(), headers=dict(headers))
        return Response(status_code=499)  # nobody reads it
    finally:
        generation.end_early("client_cancelled")
        for task in (collector, watcher):
            task.cancel()
        await asyncio.gather(collector, watcher, return_exceptions=True)


async def _collect(generation: Generation, formatter: ResponseFormatter, num_choices: int) -> dict[str, Any]:
    texts = [""] * num_choices
    reasons = [""] * num_choices
    logprobs: list[list[PlacedLogprob]] = [[] for _ in range(num_choices)]
    async for event in generation.events():
        if isinstance(event, Delta):
            texts[event.index] += event.delta.text
            logprobs[event.index] += event.delta.logprobs
        elif isinstance(event, ChoiceEnded):
            reasons[event.index] = event.finish_reason
        elif isinstance(event, Failed):
            raise event.error
        else:
            choices = [
                formatter.choice(index, texts[index], logprobs[index], reasons[index]) for index in range(num_choices)
            ]
            return formatter.envelope(choices, stream=False) | formatter.closing(event.outcome)
    raise AssertionError("a generation ends with Ended or Failed")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# --------------------------------------------------------------------------------------------------- parts of a request


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


def _caller(request: Request, scope: str) -> tuple[AppliedSnapshot, Caller]:
    """Raises AuthenticationFailed, PermissionDenied, Unavailable."""
    serving = _serving(request)
    snapshot = serving.snapshot()
    address = client_address(
        request.client.host if request.client is not None else "",
        ",".join(request.headers.getlist("x-forwarded-for")),
        trusted_proxies=serving.limits.trusted_proxies,
    )
    caller = authenticate(request.headers.get("authorization"), snapshot, serving.pepper, address=address)
    caller.require(scope)
    return snapshot, caller


async def _read_body(request: Request) -> bytes:
    """The body, if it isn't larger than allowed. Raises BodyTooLarge."""
    limit = _serving(request).limits.max_body_bytes
    declared = request.headers.get("content-length", "")
    chunks = request.stream()
    data = bytearray()
    try:
        if not (declared.isdigit() and int(declared) > limit):
            async for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    break
            else:
                return bytes(data)
        await _linger(chunks)
    except ClientDisconnect:
        raise InvalidRequest("The client closed the connection.") from None  # nobody reads it
    raise BodyTooLarge(f"The body is larger than {limit} bytes.")


async def _linger(chunks: AsyncIterator[bytes]) -> None:
    """Throw away what still comes, for a moment: a client that sends all before it listens would else see its
    connection reset instead of the answer (RFC 9112, section 9.6)."""
    received = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in chunks:
                received += len(chunk)
                if received > _LINGER_BYTES:
                    return


def _tokens(serving: Serving, prompt: Prompt) -> tuple[int, ...]:
    if isinstance(prompt, str):
        try:
            return tuple(serving.codec.encode(prompt))
        except ValueError as error:
            raise InvalidRequest(f"prompt: {error}", param="prompt", code="invalid_value") from None
    _check_token_ids(prompt, serving.codec.vocab_size, "prompt")
    return prompt


def _check_token_ids(token_ids: Sequence[int], vocab_size: int, param: str) -> None:
    for token in token_ids:
        if not 0 <= token < vocab_size:
            raise InvalidRequest(f"{param}: {token} is not a token id.", param=param, code="invalid_value")


def _max_tokens(serving: Serving, prompt: Sequence[int], body: ChatRequest | CompletionRequest, kind: Kind) -> int:
    """How many tokens may be generated. Raises InvalidRequest when prompt and output don't fit into the context."""
    context = serving.limits.max_context
    where = "messages" if kind == "chat" else "prompt"
    if not prompt:
        raise InvalidRequest("The prompt is empty.", param=where, code="invalid_value")
    room = context - len(prompt)
    if room < 1:
        raise InvalidRequest(
            f"The prompt has {len(prompt)} tokens; prompt and output together can have {context}.",
            param=where,
            code="context_length_exceeded",
        )
    wanted = body.max_output_tokens
    if wanted is None:
        return room
    if wanted > room:
        if kind == "text" and body.max_tokens is None:
            return room  # the default of 16 is ours, not the client's
        name = "max_completion_tokens" if getattr(body, "max_completion_tokens", None) is not None else "max_tokens"
        raise InvalidRequest(
            f"The prompt has {len(prompt)} tokens and {name} is {wanted}; together they can be {context}.",
            param=name,
            code="context_length_exceeded",
        )
    return wanted


def _with_seed(sampling: SamplingParams, choice: int) -> SamplingParams:
    return replace(sampling, seed=(sampling.seed + choice * _SEED_STRIDE) & _MAX_SEED) if choice else sampling


def _model(endpoint: EndpointConfig, snapshot: AppliedSnapshot) -> dict[str, Any]:
    try:
        created = int(parse_timestamp(snapshot.snapshot.issued_at).timestamp())
    except ValueError:
        created = 0
    return {"id": endpoint.name, "object": "model", "created": created, "owned_by": endpoint.project_id}
