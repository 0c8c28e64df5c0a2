"""Every value that crosses between the planes, versioned. Standard library only.

A value is a frozen dataclass; `to_dict` and `from_dict` are the wire form (plain JSON types). Unknown fields are
ignored, so that an older node can read a newer snapshot of the same major version; a missing required field or a
wrong type raises `ContractError` with the path of the offending field.

S3 layout (one bucket), all of a project's objects under its own prefix:

    projects/{project_id}/traffic/{YYYY-MM-DD}/{node_id}-{boot_id}-{sequence:08d}.jsonl.zst
    projects/{project_id}/speculators/{sha256}.safetensors
    projects/{project_id}/manifests/{speculator_version_id}.json
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import hmac
import ipaddress
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

VERSION = 1

T = TypeVar("T")


class ContractError(ValueError):
    """A value does not have the agreed form. `path` names the field, for example `projects[0].project_id`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'value'}: {problem}")
        self.path = path


# ---------------------------------------------------------------------------------------------------- desired state


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """A project's consent. `capture` off means: no content leaves the request, and no memory outlives it."""

    capture: bool = False
    sample_rate: float = 1.0
    retention_days: int = 30
    # Before storage: a record with secrets or personal data is left out, or they are masked, or it is kept as it is.
    redaction: Literal["off", "drop", "mask"] = "drop"
    # Who shares what the tenant memory learns between requests.
    memory_scope: Literal["project", "end_user"] = "project"


@dataclass(frozen=True, slots=True)
class StreamCoalescing:
    """How streamed tokens are put together, so that their timing tells nobody how well they were drafted."""

    mode: Literal["none", "tokens", "interval"] = "none"
    tokens: int = 16  # in each part, in the mode "tokens"
    milliseconds: int = 100  # between parts, in the mode "interval"


@dataclass(frozen=True, slots=True)
class Limits:
    """Admission limits of a project on this node. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    project_id: str
    organization_id: str
    cache_salt: str
    traffic: TrafficPolicy = field(default_factory=TrafficPolicy)
    limits: Limits = field(default_factory=Limits)
    # The project is moving to other nodes: this one still serves it, and sends now what it has collected.
    leaving: bool = False
    # Under which the project's end users have their ids (`end_user_id`); "": they have none.
    end_user_key: str = field(default="", repr=False)
    # How often the traffic of single end users was deleted: nodes forget the project when it changes.
    end_user_erasures: int = 0
    streaming: StreamCoalescing = StreamCoalescing()


@dataclass(frozen=True, slots=True)
class KeyDigest:
    """An API key as nodes know it: HMAC-SHA256 of the whole key under the pepper `pepper_id`, hexadecimal."""

    key_id: str
    project_id: str
    digest: str
    pepper_id: str
    expires_at: str | None = None  # RFC 3339 UTC
    scopes: tuple[str, ...] = ("inference:read", "inference:write")
    endpoints: tuple[str, ...] = ()  # names; empty: all of the project's
    allowed_ips: tuple[str, ...] = ()  # CIDRs; empty: from everywhere


@dataclass(frozen=True, slots=True)
class SpeculatorRef:
    """The adaptive speculator version that an endpoint should run."""

    speculator_id: str
    speculator_version_id: str
    number: int
    manifest_key: str  # object key of the signed manifest
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """One of the deployments that share an endpoint's requests while a rollout is on its way."""

    deployment_id: str
    weight: int  # basis points of the endpoint's requests; 0: loaded, and not served yet
    speculation_mode: Literal["off", "static", "adaptive"] = "adaptive"
    max_lookahead: int = 8
    holdout_rate: float = 0.01
    speculator: SpeculatorRef | None = None


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """An endpoint. Its own policy is that of the deployment `deployment_id`, for nodes that know no `deployments`."""

    endpoint_id: str
    project_id: str
    deployment_id: str
    name: str  # what clients send as `model`; unique within the project
    model: str  # catalogue id of the target model
    speculation_mode: Literal["off", "static", "adaptive"] = "adaptive"
    max_lookahead: int = 8
    # Share of adaptive requests that are served by the static speculator alone, as the live comparison.
    holdout_rate: float = 0.01
    speculator: SpeculatorRef | None = None
    enabled: bool = True
    # All deployments that may serve a request; the weights add up to 10,000. Empty: the one above serves all.
    deployments: tuple[DeploymentConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A node's whole desired state. A higher generation supersedes a lower one."""

    node_id: str
    generation: int
    issued_at: str
    projects: tuple[ProjectConfig, ...] = ()
    keys: tuple[KeyDigest, ...] = ()
    endpoints: tuple[EndpointConfig, ...] = ()
    # The node is to give its projects away: it goes on serving those that are still here, and is not ready for more.
    draining: bool = False
    version: int = VERSION


def end_user_id(key: str, value: str) -> str:
    """The id of an end user whom a client names `value` (`user`, `safety_identifier`): what is stored instead.

    HMAC-SHA256 under the project's own key: without it nobody can try names, and projects can't be joined.
    """
    return f"eu_{hmac.new(key.encode(), value.encode('utf-8', 'surrogatepass'), hashlib.sha256).hexdigest()[:32]}"


def client_address(peer: str, forwarded_for: str, *, trusted_proxies: int) -> str | None:
    """The address of the client behind `trusted_proxies` proxies, each of which appended to X-Forwarded-For.

    0 believes the peer alone: a client writes into the header what it likes. None: the request came around the
    proxies, or the address is none; no allow-list has it.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()] if trusted_proxies else []
    if len(hops) < trusted_proxies:
        return None
    try:
        found = ipaddress.ip_address(hops[-trusted_proxies] if trusted_proxies else peer)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)  # ::ffff:192.0.2.1, as a socket for both families has it
    return str(mapped or found)


def is_allowed_from(address: str | None, allowed_ips: tuple[str, ...]) -> bool:
    """Whether a key with this allow-list may be used from the address. What can't be read allows nobody."""
    if not allowed_ips:
        return True
    try:
        found = ipaddress.ip_address(address or "")
        return any(found in ipaddress.ip_network(network) for network in allowed_ips)
    except ValueError:
        return False


# ---------------------------------------------------------------------------------------------------------- artifacts


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    key: str  # object key
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a speculator version is made of. Signed with Ed25519 over `signing_payload`; base64 signature beside it."""

    speculator_version_id: str
    speculator_id: str
    project_id: str
    number: int
    target_model: str
    static_sha256: str  # digest of the static drafter that the delta belongs to
    file: ArtifactFile
    created_at: str
    parent_version_id: str | None = None
    training_run_id: str | None = None
    sample_count: int = 0
    window_start: str | None = None
    window_end: str | None = None
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class SignedManifest:
    manifest: Manifest
    key_id: str
    signature: str  # base64


# ----------------------------------------------------------------------------------------------------- usage, traffic

UsageStatus = Literal["completed", "client_cancelled", "engine_error", "timeout", "rejected"]


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One terminal event for each admitted request, counted by the engine, without content."""

    event_id: str
    organization_id: str
    project_id: str
    endpoint_id: str
    deployment_id: str
    key_id: str
    model: str
    status: UsageStatus
    started_at: str
    finished_at: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    speculation_mode: str = "off"
    speculator_version_id: str | None = None
    request_id: str = ""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class SequencedUsage:
    """An event at its place in the node's gapless sequence (node, boot, seq); seq starts at 1 in each boot."""

    boot_id: str
    seq: int
    event: UsageEvent


@dataclass(frozen=True, slots=True)
class TrafficRecord:
    """One request's content, logged by consent for training. Token ids are the target's tokenizer's.

    Positions count the prompt's tokens and then the output's. What is masked is no text of the target's.
    """

    record_id: str
    project_id: str
    endpoint_id: str
    model: str
    created_at: str
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    speculator_version_id: str | None = None
    end_user_id: str = ""
    masked: tuple[int, ...] = ()  # start, end, start, end, ... of the placeholders, in order
    consent: TrafficPolicy = TrafficPolicy()  # in force when the request was admitted
    version: int = VERSION


# ------------------------------------------------------------------------------------------------------------- status


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    endpoint_id: str
    speculator_version_id: str
    state: Literal["loaded", "refused"]
    reason: str = ""
    deployment_id: str = ""


@dataclass(frozen=True, slots=True)
class Moments:
    """A sum of logarithms over requests: their mean is the logarithm of the geometric mean, a typical value."""

    count: int = 0
    total: float = 0.0  # sum of ln(value)
    squares: float = 0.0  # sum of ln(value)^2


@dataclass(frozen=True, slots=True)
class SpeculationWindow:
    """What one deployment's requests of one arm did between two heartbeats.

    arm: "off", "static" (the hold-out or by request) or "adaptive". `per_position[i]` counts accepted at position i.
    The moments have one observation per request, so that a comparison knows how much requests differ.
    """

    endpoint_id: str
    arm: str
    speculator_version_id: str | None
    started_at: str
    ended_at: str
    requests: int
    completion_tokens: int
    decode_seconds: float  # summed over requests
    steps: int
    drafted: int
    accepted: int
    per_position_drafted: tuple[int, ...] = ()
    per_position_accepted: tuple[int, ...] = ()
    drafted_by_source: dict[str, int] = field(default_factory=dict)
    accepted_by_source: dict[str, int] = field(default_factory=dict)
    relearning: bool = False
    deployment_id: str = ""
    errors: int = 0  # of `requests`: failed in the engine or ran out of time
    first_token: Moments = Moments()  # seconds from the start to the first token
    per_token: Moments = Moments()  # decode seconds per token after the first
    acceptance: Moments = Moments()  # acceptance length: tokens per step


NodeState = Literal["ready", "not_ready", "draining", "drained"]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    node_id: str
    boot_id: str
    state: NodeState
    applied_generation: int
    engine: str
    model: str
    model_sha256: str
    reported_at: str
    loaded: tuple[LoadedVersion, ...] = ()
    windows: tuple[SpeculationWindow, ...] = ()
    running_requests: int = 0
    waiting_requests: int = 0
    slots: int = 0  # requests that run at once; 0: it doesn't say
    in_flight: dict[str, int] = field(default_factory=dict)  # project id -> its requests here, running or waiting
    usage_spooled: int = 0
    traffic_dropped: int = 0
    admits: bool = True  # whether a request that comes now is taken
    version: int = VERSION


# ----------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Input of `python -m dataplane.training SPEC OUT`. All paths are local: the child needs no network, no secret.

    OUT receives `progress.json` (a TrainingProgress, replaced atomically: the heartbeat), `delta.safetensors` when
    something was trained, and finally `report.json` (a TrainingReport).
    """

    training_run_id: str
    project_id: str
    target_path: str  # folder of the target model
    static_path: str  # folder of the static drafter's checkpoint
    train_segments: tuple[str, ...]  # paths of .jsonl.zst segments, oldest first
    heldout_segments: tuple[str, ...]  # the newest traffic, never trained on; may be empty: then the child splits
    incumbent_path: str | None = None  # delta.safetensors of the active version
    rank: int = 16
    max_seconds: int = 300
    max_records: int = 2000
    heldout_records: int = 16
    seed: int = 0
    threads: int = 1
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    phase: Literal["preparing", "training", "evaluating", "done"]
    fraction: float
    loss: float | None = None
    message: str = ""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class ArmReplay:
    """Held-out replay of one arm through the serving step (greedy)."""

    steps: int
    tokens: int
    acceptance_length: float  # tokens per step
    seconds: float
    per_record_acceptance_length: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """Outcome of a child process. `arms` has "static", "candidate" and, if there is one, "incumbent"."""

    training_run_id: str
    outcome: Literal["trained", "skipped"]
    reason: str
    num_train_records: int
    num_train_tokens: int
    num_heldout_records: int
    arms: dict[str, ArmReplay] = field(default_factory=dict)
    loss_curve: tuple[float, ...] = ()
    delta_sha256: str | None = None
    delta_size_bytes: int = 0
    train_seconds: float = 0.0
    greedy_identical: bool = True
    window_start: str | None = None
    window_end: str | None = None
    version: int = VERSION


# ---------------------------------------------------------------------------------------------------------- wire form


_PLAIN = frozenset({str, int, float, bool, types.NoneType})


@functools.cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(cls))


def to_dict(value: Any) -> Any:
    """The plain JSON form of a contract value."""
    if type(value) in _PLAIN:  # most values of a snapshot, which holds thousands
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_dict(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, (list, tuple)):
        return [to_dict(item) for item in value]
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    return value


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def from_dict(cls: type[T], data: Any, path: str = "") -> T:
    """Read `data` as a `cls`. Raises ContractError, which names the field."""
    if not isinstance(data, dict):
        raise ContractError(path, f"expected an object, got {type(data).__name__}")
    hints = _hints(cls)  # type: ignore[arg-type]  # classes are hashable
    values: dict[str, Any] = {}
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        where = f"{path}.{item.name}" if path else item.name
        if item.name in data:
            values[item.name] = _read(hints[item.name], data[item.name], where)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise ContractError(where, "is missing")
    if "version" in values and values["version"] != VERSION:
        raise ContractError(f"{path}.version" if path else "version", f"{values['version']} is not {VERSION}")
    return cls(**values)


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8. What is hashed and signed."""
    return json.dumps(to_dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def payload_sha256(value: Any) -> str:
    """SHA-256 of `canonical_json`, hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def signing_payload(manifest: Manifest) -> bytes:
    """The bytes that a manifest's signature covers; the prefix keeps them from meaning anything else."""
    return b"slipstream-manifest-v1\n" + canonical_json(manifest)


def _read(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _read(next(arg for arg in typing.get_args(hint) if arg is not type(None)), value, path)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ContractError(path, f"{value!r} is not one of {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ContractError(path, f"expected a list, got {type(value).__name__}")
        element = typing.get_args(hint)[0]
        if element is int:  # token ids: thousands of them, one pass
            if not all(type(item) is int for item in value):
                raise ContractError(path, "expected a list of integers")
            return tuple(value)
        return tuple(_read(element, item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ContractError(path, f"expected an object, got {type(value).__name__}")
        element = typing.get_args(hint)[1]
        return {key: _read(element, item, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type[Any], hint), value, path)
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is not hint:
        raise ContractError(path, f"expected {hint.__name__}, got {type(value).__name__}")
    return value
