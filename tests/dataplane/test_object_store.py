"""The node's bucket, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dataplane.config import ConfigError, ObjectStoreConfig, read_config
from dataplane.object_store import ObjectStoreError, S3Bucket
from infra.local.seaweedfs import SeaweedFS


def config_of(s3: SeaweedFS) -> ObjectStoreConfig:
    env = {"SLIPSTREAM_KEY_PEPPER": "p", "SLIPSTREAM_CONTROL_PLANE": "http://127.0.0.1:9", **s3.client_environment}
    config = read_config(["--model", "m", "--state-dir", "s"], env).object_store
    if config is None:
        raise ConfigError("the S3 variables are incomplete")
    return config


@pytest.fixture
def bucket(s3: SeaweedFS) -> Iterator[S3Bucket]:
    bucket = S3Bucket(config_of(s3))
    yield bucket
    bucket.close()


def test_a_file_goes_in_with_its_metadata_and_comes_out_up_to_a_size(
    bucket: S3Bucket, s3: SeaweedFS, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    bucket.put("node-tests/a", tmp_path / "file", {"records": "3"})
    assert bucket.get("node-tests/a", max_bytes=1000) == b"x" * 1000
    with pytest.raises(ObjectStoreError, match="larger than 999") as refusal:
        bucket.get("node-tests/a", max_bytes=999)
    assert refusal.value.permanent
    client = s3.client()
    assert client.head_object(Bucket=config_of(s3).bucket, Key="node-tests/a")["Metadata"] == {"records": "3"}


def test_absent_is_permanent_and_unreachable_is_not(bucket: S3Bucket, s3: SeaweedFS) -> None:
    with pytest.raises(ObjectStoreError) as absent:
        bucket.get("node-tests/absent", max_bytes=10)
    assert absent.value.permanent
    nowhere = S3Bucket(replace(config_of(s3), endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(ObjectStoreError) as unreachable:
        nowhere.get("node-tests/a", max_bytes=10)
    assert not unreachable.value.permanent
    nowhere.close()
