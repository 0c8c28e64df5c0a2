"""The one object-store interface and its one implementation: S3 through boto3.

Errors:
    ObjectStoreError              `retryable` says whether the same call may succeed later
    ├── ObjectNotFoundError       no such object
    ├── AccessDeniedError         wrong or missing credentials, or a policy
    └── ObjectStoreUnavailableError   unreachable or 5xx (retryable)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

DELETE_BATCH = 1000  # the most keys that one S3 DeleteObjects call takes


class ObjectStoreError(Exception):
    retryable = False


class ObjectNotFoundError(ObjectStoreError):
    pass


class AccessDeniedError(ObjectStoreError):
    pass


class ObjectStoreUnavailableError(ObjectStoreError):
    retryable = True


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says about an object. `metadata` is empty in listings: only `head` reads it."""

    key: str
    size_bytes: int
    modified_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class ObjectStore:
    """One bucket. Every method raises the ObjectStoreError tree and nothing else from below."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> None:
        with _errors(key):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata=dict(metadata or {}))

    def put_if_absent(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> bool:
        """Create the object, atomically. False: it exists already and stays as it is."""
        try:
            with _errors(key):
                self._client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, Metadata=dict(metadata or {}), IfNoneMatch="*"
                )
        except _ObjectExistsError:
            return False
        return True

    def get(self, key: str) -> bytes:
        with _errors(key):
            return bytes(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def download(self, key: str, path: Path) -> None:
        """Stream the object into `path`."""
        with _errors(key), path.open("wb") as file:
            for chunk in self._client.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(chunk)

    def upload(self, path: Path, key: str, *, metadata: Mapping[str, str] | None = None) -> None:
        """Stream `path` into the object; large files go in parts."""
        with _errors(key):
            self._client.upload_file(str(path), self.bucket, key, ExtraArgs={"Metadata": dict(metadata or {})})

    def head(self, key: str) -> ObjectInfo:
        with _errors(key):
            answer = self._client.head_object(Bucket=self.bucket, Key=key)
        return ObjectInfo(key, answer["ContentLength"], answer["LastModified"], answer["Metadata"])

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Objects under `prefix` whose key is greater than `after`, in key order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, **({"StartAfter": after} if after else {})
        )
        with _errors(prefix):
            for page in pages:
                for item in page.get("Contents", ()):
                    yield ObjectInfo(item["Key"], item["Size"], item["LastModified"])

    def delete(self, key: str) -> None:
        """Deleting an absent object is a success."""
        with _errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def delete_many(self, keys: Sequence[str]) -> None:
        """Delete all `keys`, or raise with the first that could not be deleted."""
        for start in range(0, len(keys), DELETE_BATCH):
            batch = [{"Key": key} for key in keys[start : start + DELETE_BATCH]]
            with _errors(keys[start]):
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
            failed = [item for item in answer.get("Errors", ()) if item.get("Code") != "NoSuchKey"]
            if failed:
                raise ObjectStoreUnavailableError(f"{failed[0].get('Key')}: {failed[0].get('Message')}")

    def presign_get(self, key: str, *, expires_seconds: int = 300) -> str:
        with _errors(key):
            return str(
                self._client.generate_presigned_url(
                    "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=expires_seconds
                )
            )

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there."""
        try:
            with _errors(self.bucket):
                self._client.head_bucket(Bucket=self.bucket)
        except ObjectNotFoundError:
            with _errors(self.bucket):
                self._client.create_bucket(Bucket=self.bucket)


class _ObjectExistsError(ObjectStoreError):
    pass


@contextmanager
def _errors(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = f"{key}: {code or status}"
        if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "NotFound"):
            raise ObjectNotFoundError(message) from error
        if status == 412 or code in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise _ObjectExistsError(message) from error
        if status in (401, 403):
            raise AccessDeniedError(message) from error
        if status >= 500 or code in ("SlowDown", "InternalError", "ServiceUnavailable"):
            raise ObjectStoreUnavailableError(message) from error
        raise ObjectStoreError(message) from error
    except BotoCoreError as error:
        raise ObjectStoreUnavailableError(f"{key}: {error}") from error


def connect(*, endpoint_url: str | None, access_key_id: str | None, secret_access_key: str | None, region: str,
            bucket: str) -> ObjectStore:  # fmt: skip
    """An ObjectStore at `endpoint_url` (None: AWS). Credentials None: boto3's own chain (instance roles)."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name=region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 3, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return ObjectStore(client, bucket)


@cache
def _connect_cached(**options: Any) -> ObjectStore:
    return connect(**options)


def object_store() -> ObjectStore:
    """The store that the settings name; one client per process (boto3 clients are thread-safe)."""
    return _at(settings.S3_ENDPOINT_URL)


def public_object_store() -> ObjectStore:
    """The same store under the address that clients reach: for signed URLs, whose signature includes the host."""
    return _at(settings.S3_PUBLIC_URL or settings.S3_ENDPOINT_URL)


def _at(endpoint_url: str | None) -> ObjectStore:
    return _connect_cached(
        endpoint_url=endpoint_url or None,
        access_key_id=settings.S3_ACCESS_KEY_ID or None,
        secret_access_key=settings.S3_SECRET_ACCESS_KEY or None,
        region=settings.S3_REGION,
        bucket=settings.S3_BUCKET,
    )
