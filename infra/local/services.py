"""The processes of the local service: what each runs, with which settings, and when it is ready.

postgres ---- migrate ---- demo, node-token   node (loads its model meanwhile)
   |             |
  web     worker trainer beat ---- valkey, s3
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from celery import Celery

from infra.local.embedded import EmbeddedServer
from infra.local.postgres import Postgres
from infra.local.process import ServiceError, is_port_free
from infra.local.seaweedfs import AccessKey, SeaweedFS
from infra.local.state import State, public_key_of
from infra.local.supervisor import Service
from infra.local.valkey import Valkey

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DEFAULT_MODEL = REPOSITORY / "var" / "models" / "smollm2-135m-instruct"
SIGNING_KEY_ID = PEPPER_ID = "1"
NODE_NAME = "local"
_CONTEXT = "2048"  # tokens of prompt and output that the node takes

_CODE_PATH = {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'kernels'}", "PYTHONUNBUFFERED": "1"}
_NOT_FOR_NODES = {"DATABASE_URL", "DATABASE_OWNER_URL", "BROKER_URL", "SLIPSTREAM_SECRET_KEY", "SLIPSTREAM_SIGNING_KEY"}

# Stages of the stop: the node first, so that its last usage still finds the control plane; the databases last.
_STAGE_WORK, _STAGE_WEB, _STAGE_DATA = 3, 2, 1


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose."""

    port: int = 8000
    node_port: int = 8100
    model: Path = DEFAULT_MODEL
    static: Path | None = None  # folder of the static drafter's checkpoint; None: the one that ships, if any
    threads: int = 0  # of the engine; 0: all cores

    @property
    def control_plane_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def inference_url(self) -> str:
        return f"http://127.0.0.1:{self.node_port}/v1"


class LocalServices:
    """The services of one folder `var`, with the settings that they share.

    A variable that names a managed service (DATABASE_URL, BROKER_URL, S3_ENDPOINT_URL) replaces the embedded one.
    """

    def __init__(self, state: State, options: Options, *, environment: Mapping[str, str] = os.environ) -> None:
        self.state = state
        self.options = options
        self._static = self._static_folder()
        self._given = {name: value for name, value in environment.items() if value}
        ports, secrets, folder = state.ports, state.secrets, state.folder
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.s3: SeaweedFS | None = None
        if "DATABASE_URL" not in self._given:
            self.postgres = Postgres(folder / "postgres", port=ports.postgres, log=self._log("postgres"))
        if "BROKER_URL" not in self._given:
            self.valkey = Valkey(
                folder / "valkey", port=ports.valkey, password=secrets.broker_password, log=self._log("valkey")
            )
        if "S3_ENDPOINT_URL" not in self._given:
            key = AccessKey(secrets.s3_access_key, secrets.s3_secret_key)
            self.s3 = SeaweedFS(
                folder / "s3", ports=list(ports.s3), key=key, signing_key=secrets.s3_signing_key, log=self._log("s3")
            )

    def check(self) -> None:
        """Raise ServiceError for what can be known before anything starts."""
        for name, port, flag in (
            ("the control plane", self.options.port, "--port"),
            ("the node", self.options.node_port, "--node-port"),
        ):
            if not is_port_free(port):
                raise ServiceError(
                    f"Port {port} for {name} is in use: stop what listens there,"
                    f' or choose another with make run ARGS="{flag} {port + 1}".'
                )
        if not (self.options.model / "config.json").exists():
            raise ServiceError(f"There is no model in {self.options.model}: run infra/bootstrap.sh, or give --model.")
        if self.options.static is not None and not self.options.static.is_dir():
            raise ServiceError(
                f"There is no static drafter in {self.options.static}: correct --static, or leave it out."
            )

    def all(self) -> list[Service]:
        """Everything that `make run` starts."""
        embedded = {"postgres": self.postgres, "valkey": self.valkey, "s3": self.s3}
        return [
            *(_embedded(name, server) for name, server in embedded.items() if server is not None),
            self._task("migrate", "migrate", "--noinput", "--verbosity", "0", after=("postgres",), owner=True),
            self._demo(),
            self._node_token(),
            self._web(),
            self._worker("worker", queue="celery"),
            self._worker("trainer", queue="training"),
            self._worker("courier", queue="webhooks"),
            self._beat(),
            self._node(),
        ]

    def control_plane_environment(self, *, owner: bool = False) -> dict[str, str]:
        """Settings of Django and Celery. owner: connect as the role that may change the schema."""
        secrets = self.state.secrets
        settings = self._common_environment() | {
            "SLIPSTREAM_SECRET_KEY": secrets.django_secret_key,
            "SLIPSTREAM_SIGNING_KEY": secrets.signing_key,
            "SLIPSTREAM_SIGNING_KEY_ID": SIGNING_KEY_ID,
            "SLIPSTREAM_EMAIL_URL": f"file://{self.state.folder / 'mail'}",
            "SLIPSTREAM_PUBLIC_URL": self.options.control_plane_url,
            "SLIPSTREAM_PUBLIC_INFERENCE_URL": self.options.inference_url.removesuffix("/v1"),
            "SLIPSTREAM_MODELS_DIR": os.fspath(self.options.model.parent),
            "SLIPSTREAM_CHECKPOINTS_DIR": os.fspath(self._static.parent),
            "SLIPSTREAM_VAR": os.fspath(self.state.folder),
            "SLIPSTREAM_WEBHOOK_ALLOW_PRIVATE": "1",  # receivers of this service are on this machine too
        }
        if self.postgres is not None:
            settings |= {"DATABASE_URL": self.postgres.url, "DATABASE_OWNER_URL": self.postgres.owner_url}
        if self.valkey is not None:
            settings["BROKER_URL"] = self.valkey.url
        settings |= self._given | _CODE_PATH
        if owner:
            settings["DATABASE_URL"] = settings.get("DATABASE_OWNER_URL") or settings["DATABASE_URL"]
        return settings

    def node_environment(self) -> dict[str, str]:
        """Settings of a node: no database, no broker, no signing key."""
        signing_key = self._given.get("SLIPSTREAM_SIGNING_KEY", self.state.secrets.signing_key)
        key_id = self._given.get("SLIPSTREAM_SIGNING_KEY_ID", SIGNING_KEY_ID)
        public_keys = json.dumps({key_id: public_key_of(signing_key)})
        settings = self._common_environment() | {
            "SLIPSTREAM_SIGNING_PUBLIC_KEYS": public_keys,
            "SLIPSTREAM_NODE_TOKEN_FILE": os.fspath(self._token_file),
        }
        settings |= {name: value for name, value in self._given.items() if name not in _NOT_FOR_NODES}
        return settings | _CODE_PATH | {"OMP_NUM_THREADS": str(self.options.threads or os.cpu_count() or 1)}

    def node_ready(self) -> bool:
        return _answers(f"http://127.0.0.1:{self.options.node_port}/readyz")

    def _common_environment(self) -> dict[str, str]:
        secrets = self.state.secrets
        return {
            "SLIPSTREAM_KEY_PEPPER": secrets.key_pepper,
            "SLIPSTREAM_KEY_PEPPER_ID": PEPPER_ID,
            **(self.s3.client_environment if self.s3 is not None else {}),
        }

    def _task(
        self, name: str, *arguments: str, after: tuple[str, ...] = (), owner: bool = False, log: Path | None = None
    ) -> Service:
        return Service(
            name=name,
            command=lambda: [sys.executable, "manage.py", *arguments],
            environment=lambda: self.control_plane_environment(owner=owner),
            log=log or self._log(name),
            folder=REPOSITORY,
            after=after,
        )

    def _demo(self) -> Service:
        arguments = ("ensure_demo", "--model", self.options.model.name, "--context", _CONTEXT)
        return self._task("demo", *arguments, after=("migrate",), log=self.state.demo_output)

    def _node_token(self) -> Service:
        """A token for the node's first start; later ones find its credential in its folder."""
        arguments = ("node_token", "--name", NODE_NAME, "--out", os.fspath(self._token_file))
        return self._task("node-token", *arguments, after=("migrate",))

    def _web(self) -> Service:
        return Service(
            name="web",
            command=lambda: [
                *(sys.executable, "-m", "gunicorn", "control_plane.wsgi:application"),
                *("--bind", f"127.0.0.1:{self.options.port}", "--worker-class", "gthread", "--threads", "8"),
                # Nodes poll every 2 s, gunicorn's default: the connection must not close under a request.
                *("--keep-alive", "30", "--timeout", "60", "--graceful-timeout", "3", "--no-control-socket"),
            ],
            environment=self.control_plane_environment,
            log=self._log("web"),
            folder=REPOSITORY,
            is_ready=lambda: _answers(f"{self.options.control_plane_url}/readyz"),
            after=("postgres",),  # it isn't ready before the schema is
            stage=_STAGE_WEB,
        )

    def _celery(
        self,
        name: str,
        *arguments: str,
        is_ready: Callable[[], bool],
        nice: int = 0,
        stop_signal: int = signal.SIGTERM,
    ) -> Service:
        return Service(
            name=name,
            command=lambda: [sys.executable, "-m", "celery", "-A", "control_plane.celery", *arguments, "-l", "INFO"],
            environment=lambda: self.control_plane_environment() | {"OMP_NUM_THREADS": "1"},
            log=self._log(name),
            folder=REPOSITORY,
            is_ready=is_ready,
            after=("migrate", "valkey", "s3"),
            stage=_STAGE_WORK,
            stop_signal=stop_signal,
            nice=nice,
        )

    def _node(self) -> Service:
        options = self.options
        return Service(
            name="node",
            command=lambda: [
                *(sys.executable, "-m", "dataplane", "--engine", "embedded", "--model", options.model),
                *(("--static", self._static) if self._static.exists() else ()),
                *("--host", "127.0.0.1", "--port", str(options.node_port), "--threads", str(options.threads)),
                *("--control-plane", options.control_plane_url, "--state-dir", self.state.folder / "node"),
                *("--node-name", NODE_NAME, "--max-context", _CONTEXT, "--grace-seconds", "3"),
            ],
            environment=self.node_environment,
            log=self._log("node"),
            folder=REPOSITORY,
            is_ready=self.node_ready,
            stage=_STAGE_WORK,
            grace_seconds=8.0,
        )

    def _worker(self, name: str, *, queue: str) -> Service:
        """A worker of one queue: a training run takes minutes and must not hold up the rest."""
        host = f"{name}@slipstream"

        def answers() -> bool:
            with Celery(broker=self.control_plane_environment()["BROKER_URL"], set_as_current=False) as app:
                return bool(app.control.ping(destination=[host], timeout=0.5))

        return self._celery(
            *(name, "worker", "-Q", queue, "-n", host, "--concurrency=1", "--without-gossip", "--without-mingle"),
            is_ready=answers,
            nice=5,
            # A task that runs is given back to the broker instead of being waited for.
            stop_signal=signal.SIGQUIT,
        )

    def _beat(self) -> Service:
        log = self._log("beat")
        before = log.stat().st_size if log.exists() else 0
        return self._celery("beat", "beat", is_ready=lambda: b"beat: Starting" in log.read_bytes()[before:])

    def _static_folder(self) -> Path:
        """Where the model's static drafter is: `{model}-eagle3`, as it ships and as trainers look for it."""
        name = f"{self.options.model.name}-eagle3"
        if self.options.static is None:
            return REPOSITORY / "dataplane" / "checkpoints" / name
        link = self.state.folder / "checkpoints" / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self.options.static, target_is_directory=True)
        return link

    @property
    def _token_file(self) -> Path:
        return self.state.run / "node-token"

    def _log(self, name: str) -> Path:
        return self.state.logs / f"{name}.log"


def _embedded(name: str, server: EmbeddedServer) -> Service:
    return Service(
        name=name,
        command=server.command,
        environment=server.environment,
        log=server.log,
        folder=server.folder,
        is_ready=server.answers,
        prepare=server.prepare,
        stage=_STAGE_DATA,
        stop_signal=server.stop_signal,
        grace_seconds=server.grace_seconds,
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
