"""The configuration of one node: frozen, read once from flags and environment (a flag wins).

Every flag `--some-name` is also the variable `SLIPSTREAM_SOME_NAME`. Secrets come from the environment only, so that
they never show in a process list.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """A flag or a variable is missing or makes no sense; the message names it."""


@dataclass(frozen=True, slots=True)
class ObjectStoreConfig:
    """An S3-compatible bucket. endpoint_url None is AWS itself."""

    bucket: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    model: Path  # Hugging Face-layout folder of the target model
    state_dir: Path
    static: Path | None = None  # folder of the static drafter's checkpoint; None serves without one
    model_name: str = ""  # catalogue id of the model; default: the folder's name
    engine: str = "embedded"
    weights: str = "bf16"  # of the embedded engine's target: bf16, or int8 in the CPU kernels
    host: str = "127.0.0.1"
    port: int = 8100
    node_name: str = "node"
    advertise_url: str = ""  # address that the control plane is told; default http://host:port
    control_plane: str | None = None  # base URL; None serves from `snapshot` alone
    snapshot: Path | None = None  # a snapshot file to start from (development)
    # engine
    num_slots: int = 8
    max_context: int = 2048
    prefix_cache_mib: int = 256
    threads: int = 0  # 0: as many as the machine has cores
    # server
    max_body_bytes: int = 1 << 20
    max_waiting: int = 256
    request_timeout_seconds: float = 600.0
    trusted_proxies: int = 0  # proxies in front of this node that append to X-Forwarded-For
    grace_seconds: float = 10.0
    # fleet
    max_projects: int = 1000
    adaptive_mib: int = 256
    engine_args: Mapping[str, Any] = field(default_factory=dict)  # further arguments of SGLang
    credential_seconds: float = 86_400.0
    # sync
    snapshot_interval_seconds: float = 2.0
    status_interval_seconds: float = 5.0
    usage_interval_seconds: float = 1.0
    # traffic
    traffic_roll_seconds: float = 15.0
    traffic_roll_bytes: int = 4 << 20
    traffic_cap_bytes: int = 256 << 20
    # secrets and keys
    node_token: str = field(default="", repr=False)
    node_token_file: Path | None = None  # read when the node registers; wins over `node_token`
    metrics_token: str = field(default="", repr=False)  # "": only peers on this machine see the metrics
    key_pepper: str = field(default="", repr=False)
    key_pepper_id: str = "1"
    signing_public_keys: Mapping[str, str] = field(default_factory=dict)  # key id -> base64 Ed25519 public key
    object_store: ObjectStoreConfig | None = None

    def registration_token(self) -> str:
        """The token as it is now; empty if there is none."""
        if self.node_token_file is None:
            return self.node_token
        try:
            return self.node_token_file.read_text().strip()
        except OSError:
            return ""

    @property
    def address(self) -> str:
        return self.advertise_url or f"http://{self.host}:{self.port}"


def _json_object(raw: str) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


_FLAGS: tuple[tuple[str, Callable[[str], Any], str], ...] = (
    ("engine", str, "which engine serves: embedded, sglang"),
    ("weights", str, "the embedded engine's target weights: bf16, or int8 (CPU kernels)"),
    ("engine_args", _json_object, "further arguments of SGLang, as a JSON object"),
    ("model", Path, "folder of the target model (Hugging Face layout)"),
    ("model_name", str, "catalogue id of the model; default: the folder's name"),
    ("static", Path, "folder of the static drafter's checkpoint"),
    ("host", str, "address to listen on"),
    ("port", int, "port to listen on"),
    ("node_name", str, "name that the control plane shows"),
    ("advertise_url", str, "URL under which clients reach this node"),
    ("control_plane", str, "base URL of the control plane"),
    ("snapshot", Path, "serve from this snapshot file (development)"),
    ("state_dir", Path, "folder of the node's durable state"),
    ("num_slots", int, "sequences decoded at once"),
    ("max_context", int, "tokens of prompt and output together"),
    ("prefix_cache_mib", int, "memory for the prefix cache"),
    ("threads", int, "CPU threads of the engine; 0: all cores"),
    ("max_body_bytes", int, "largest request body"),
    ("max_waiting", int, "requests that may wait for the engine"),
    ("request_timeout_seconds", float, "a request that takes longer ends as a timeout"),
    ("trusted_proxies", int, "proxies in front that append to X-Forwarded-For; 0 believes the peer's address"),
    ("grace_seconds", float, "time that running requests get at shutdown"),
    ("max_projects", int, "projects that this node takes"),
    ("adaptive_mib", int, "memory for projects' own speculator versions; the least used ones wait outside"),
    ("credential_seconds", float, "age at which the node changes its credential"),
    ("snapshot_interval_seconds", float, "how often the snapshot is polled"),
    ("status_interval_seconds", float, "how often the status is reported"),
    ("usage_interval_seconds", float, "how often usage is sent"),
    ("traffic_roll_seconds", float, "age at which a traffic segment is closed"),
    ("traffic_roll_bytes", int, "size at which a traffic segment is closed"),
    ("traffic_cap_bytes", int, "disk that unsent traffic may take"),
)


_POSITIVE = (
    "num_slots",
    "max_context",
    "max_body_bytes",
    "max_waiting",
    "request_timeout_seconds",
    "max_projects",
    "credential_seconds",
)


def read_config(argv: Sequence[str], env: Mapping[str, str]) -> NodeConfig:
    """The configuration from flags and environment. Raises ConfigError; `--help` exits as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m dataplane", description="One Slipstream data-plane node.")
    for name, kind, text in _FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=None, help=text)
    given = vars(parser.parse_args(argv))
    values: dict[str, object] = {}
    for name, kind, _ in _FLAGS:
        if given[name] is not None:
            values[name] = given[name]
        elif raw := env.get(f"SLIPSTREAM_{name.upper()}"):
            try:
                values[name] = kind(raw)
            except ValueError:
                raise ConfigError(f"SLIPSTREAM_{name.upper()} is not of type {kind.__name__}: {raw!r}") from None
    for name in ("model", "state_dir"):
        if name not in values:
            raise ConfigError(f"--{name.replace('_', '-')} (or SLIPSTREAM_{name.upper()}) is required")
    values.setdefault("model_name", Path(str(values["model"])).name)
    values["node_token"] = env.get("SLIPSTREAM_NODE_TOKEN", "")
    values["metrics_token"] = env.get("SLIPSTREAM_METRICS_TOKEN", "")
    if path := env.get("SLIPSTREAM_NODE_TOKEN_FILE"):
        values["node_token_file"] = Path(path)
    values["key_pepper"] = env.get("SLIPSTREAM_KEY_PEPPER", "")
    values["key_pepper_id"] = env.get("SLIPSTREAM_KEY_PEPPER_ID", "1")
    values["signing_public_keys"] = _public_keys(env.get("SLIPSTREAM_SIGNING_PUBLIC_KEYS", ""))
    values["object_store"] = _object_store(env)
    config = NodeConfig(**values)  # type: ignore[arg-type]
    if not config.key_pepper:
        raise ConfigError("SLIPSTREAM_KEY_PEPPER is required: without it no API key can be checked")
    if config.control_plane is None and config.snapshot is None:
        raise ConfigError("--control-plane or --snapshot is required: a node serves what a snapshot tells it to")
    for name in (
        "num_slots",
        "max_context",
        "max_body_bytes",
        "max_waiting",
        "request_timeout_seconds",
        "max_projects",
    ):
        if getattr(config, name) <= 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be positive")
    if config.weights not in ("bf16", "int8"):
        raise ConfigError(f"--weights {config.weights}: the embedded engine's target has weights of bf16 or int8")
    if config.weights != "bf16" and config.engine != "embedded":
        raise ConfigError(f"--weights {config.weights} is of the embedded engine; others have arguments of their own")
    if config.trusted_proxies < 0:
        raise ConfigError("--trusted-proxies can't be negative")
    return config


def _public_keys(raw: str) -> Mapping[str, str]:
    if not raw:
        return {}
    try:
        keys = json.loads(raw)
    except ValueError:
        keys = None
    if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
        raise ConfigError("SLIPSTREAM_SIGNING_PUBLIC_KEYS is not a JSON object of key id and base64 public key")
    return keys


def _object_store(env: Mapping[str, str]) -> ObjectStoreConfig | None:
    if not env.get("S3_BUCKET"):
        return None
    return ObjectStoreConfig(
        bucket=env["S3_BUCKET"],
        endpoint_url=env.get("S3_ENDPOINT_URL") or None,
        access_key_id=env.get("S3_ACCESS_KEY_ID") or None,
        secret_access_key=env.get("S3_SECRET_ACCESS_KEY") or None,
        region=env.get("S3_REGION") or "us-east-1",
    )
