import threading
import urllib.error
import urllib.request
from uuid import uuid4

import pytest

from control_plane.common.object_store import (
    AccessDeniedError,
    ObjectNotFoundError,
    ObjectStoreUnavailableError,
    connect,
)


@pytest.fixture(scope="module")
def store(s3):
    options = {"endpoint_url": s3.endpoint_url, "region": s3.region, "bucket": s3.bucket}
    return connect(access_key_id=s3.key.access_key, secret_access_key=s3.key.secret_key, **options)


@pytest.fixture
def prefix():
    return f"object-store/{uuid4().hex}/"


def test_what_is_put_is_read_back_with_its_metadata(store, prefix, tmp_path):
    store.put(prefix + "a", b"body", metadata={"records": "3"})
    assert store.get(prefix + "a") == b"body"
    info = store.head(prefix + "a")
    assert (info.size_bytes, dict(info.metadata)) == (4, {"records": "3"})
    store.download(prefix + "a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"body"


def test_a_large_file_is_uploaded_in_parts(store, prefix, tmp_path):
    (tmp_path / "big").write_bytes(bytes(range(256)) * (40 << 10))  # 10 MiB
    store.upload(tmp_path / "big", prefix + "big", metadata={"kind": "test"})
    assert store.head(prefix + "big").size_bytes == 10 << 20
    assert store.get(prefix + "big") == (tmp_path / "big").read_bytes()


def test_put_if_absent_has_exactly_one_winner(store, prefix):
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append((store.put_if_absent(prefix + "one", b"%d" % n), n)))
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [n for won, n in results if won]
    assert len(winners) == 1 and store.get(prefix + "one") == b"%d" % winners[0]


def test_a_listing_is_in_key_order_and_starts_after_a_key(store, prefix):
    for name in ("c", "a", "b"):
        store.put(prefix + name, b"")
    assert [info.key for info in store.list(prefix)] == [prefix + name for name in "abc"]
    assert [info.key for info in store.list(prefix, after=prefix + "a")] == [prefix + "b", prefix + "c"]


def test_deleting_is_idempotent(store, prefix):
    store.put(prefix + "a", b"")
    store.delete(prefix + "a")
    store.delete(prefix + "a")
    store.delete_many([prefix + "a", prefix + "b"])
    with pytest.raises(ObjectNotFoundError):
        store.head(prefix + "a")


def test_many_objects_are_deleted_at_once(store, prefix):
    keys = [prefix + str(n) for n in range(12)]
    for key in keys:
        store.put(key, b"x")
    store.delete_many(keys)
    assert list(store.list(prefix)) == []


def test_a_presigned_url_reads_one_object_and_nothing_else(store, prefix):
    store.put(prefix + "a", b"body")
    url = store.presign_get(prefix + "a")
    assert urllib.request.urlopen(url, timeout=5).read() == b"body"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url.replace("/a?", "/b?"), timeout=5)


def test_absent_objects_wrong_keys_and_dead_servers_are_told_apart(s3, store, prefix):
    options = {"region": s3.region, "bucket": s3.bucket, "access_key_id": s3.key.access_key}
    with pytest.raises(ObjectNotFoundError):
        store.get(prefix + "absent")
    with pytest.raises(AccessDeniedError):
        connect(endpoint_url=s3.endpoint_url, secret_access_key="wrong", **options).get(prefix + "a")
    with pytest.raises(ObjectStoreUnavailableError) as error:
        connect(endpoint_url="http://127.0.0.1:9", secret_access_key="x", **options).get(prefix + "a")
    assert error.value.retryable
