"""The node's view of the bucket: read an object of bounded size, write a file. S3 through boto3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from dataplane.config import ObjectStoreConfig


class ObjectStoreError(Exception):
    """The store refused or can't be reached. `permanent`: the object is absent or larger than asked for."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class ObjectStore(Protocol):
    def get(self, key: str, *, max_bytes: int) -> bytes:
        """The object's bytes. Raises ObjectStoreError, also when it is larger than `max_bytes`."""

    def put(self, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        """Store the file's bytes. Raises ObjectStoreError."""


class S3Bucket:
    """One bucket of an S3-compatible service."""

    def __init__(self, config: ObjectStoreConfig) -> None:
        # boto3 takes a second to import: only a node that has a bucket pays for it.
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self._errors: tuple[type[Exception], ...] = (BotoCoreError, ClientError)
        self._bucket = config.bucket
        self._client = boto3.client(
            "s3",
            endpoint_url=config.endpoint_url,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            region_name=config.region,
            config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 2, "mode": "standard"}),
        )

    def get(self, key: str, *, max_bytes: int) -> bytes:
        try:
            response = self._client.get_object(Bucket=self._bucket, Key=key)
            with response["Body"] as body:
                data = bytes(body.read(max_bytes + 1))
        except self._errors as error:
            answer = getattr(error, "response", {}).get("ResponseMetadata", {})  # absent when there was no answer
            raise ObjectStoreError(f"{key}: {error}", permanent=answer.get("HTTPStatusCode") == 404) from error
        if len(data) > max_bytes:
            raise ObjectStoreError(f"{key} is larger than {max_bytes} bytes", permanent=True)
        return data

    def put(self, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        try:
            with path.open("rb") as body:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=body, Metadata=dict(metadata))
        except self._errors as error:
            raise ObjectStoreError(f"{key}: {error}") from error

    def close(self) -> None:
        self._client.close()
