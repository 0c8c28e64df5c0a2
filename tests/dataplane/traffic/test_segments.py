"""Traffic goes from the queue to segments to the bucket; what is lost is counted, what looks sensitive isn't kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from dataplane.contracts import TrafficPolicy, TrafficRecord, canonical_json, from_dict
from dataplane.object_store import ObjectStoreError
from dataplane.traffic.record import is_captured
from dataplane.traffic.segments import MAX_END_USERS, TrafficSegments
from dataplane.traffic.upload import send_traffic


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.is_down = False

    def put(self, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        if self.is_down:
            raise ObjectStoreError("down")
        self.objects[key] = path.read_bytes(), dict(metadata)

    def get(self, key: str, *, max_bytes: int) -> bytes:
        return self.objects[key][0]


def record(number: int, project: str = "prj_1") -> TrafficRecord:
    created = f"2026-01-01T00:00:{number:02d}Z"
    return TrafficRecord(f"rec_{number}", project, "ep_1", "m", created, (1, 2), (3, number), "spv_1")


def everybody(project_id: str) -> bool:
    return True


def segments(folder: Path, **options: object) -> TrafficSegments:
    return TrafficSegments(folder, node_id=lambda: "node_1", boot_id="boot", **options)  # type: ignore[arg-type]


def records_in(bucket: Bucket) -> list[TrafficRecord]:
    found = []
    for _, (data, _) in sorted(bucket.objects.items()):
        lines = zstandard.ZstdDecompressor().decompressobj().decompress(data).splitlines()
        found += [from_dict(TrafficRecord, json.loads(line)) for line in lines]
    return found


def test_a_segment_closes_by_age_and_arrives_under_its_projects_prefix_with_its_numbers(tmp_path: Path) -> None:
    clock, bucket = Clock(), Bucket()
    writer = segments(tmp_path, clock=clock, roll_seconds=15.0)
    for number, project in enumerate(("prj_1", "prj_2", "prj_1")):
        writer.record(record(number, project))
    writer.work(wait_seconds=0.0)
    assert send_traffic(writer, bucket, consents=everybody) == 0
    clock.now = 15.0
    writer.work(wait_seconds=0.0)
    assert send_traffic(writer, bucket, consents=everybody) == 2
    assert send_traffic(writer, bucket, consents=everybody) == 0
    first, second = sorted(bucket.objects)
    assert first.startswith("projects/prj_1/traffic/20")
    assert first.endswith("/node_1-boot-00000001.jsonl.zst")
    assert second.startswith("projects/prj_2/")
    assert bucket.objects[first][1] == {
        "records": "2",
        "tokens": "8",
        "first_timestamp": "2026-01-01T00:00:00Z",
        "last_timestamp": "2026-01-01T00:00:02Z",
        "consent": canonical_json(TrafficPolicy()).decode(),
        "end_users": "",
    }
    assert records_in(bucket) == [record(0), record(2), record(1, "prj_2")]


def test_a_segment_is_as_old_as_its_oldest_record_whichever_was_written_first(tmp_path: Path) -> None:
    """A deletion takes what began before it: a request that ran longer than its neighbours too."""
    bucket = Bucket()
    writer = segments(tmp_path, roll_seconds=0.0)
    for number in (5, 2, 3):
        writer.record(record(number))
    writer.work(wait_seconds=0.0)
    send_traffic(writer, bucket, consents=everybody)
    ((_, metadata),) = bucket.objects.values()
    assert metadata["first_timestamp"] == "2026-01-01T00:00:02Z"
    assert metadata["last_timestamp"] == "2026-01-01T00:00:05Z"


def test_a_segment_closes_by_size(tmp_path: Path) -> None:
    writer = segments(tmp_path, clock=Clock(), roll_bytes=500)
    for number in range(4):
        writer.record(record(number))
    writer.work(wait_seconds=0.0)
    assert len(writer.ready()) == 1


def test_while_the_bucket_is_down_the_disk_keeps_up_to_its_cap_and_the_oldest_go_first(tmp_path: Path) -> None:
    bucket = Bucket()
    bucket.is_down = True
    writer = segments(tmp_path, clock=Clock(), roll_seconds=0.0, cap_bytes=400)
    for number in range(10):
        writer.record(record(number))
        writer.work(wait_seconds=0.0)
    with pytest.raises(ObjectStoreError):
        send_traffic(writer, bucket, consents=everybody)
    bucket.is_down = False
    send_traffic(writer, bucket, consents=everybody)
    kept = [item.output_tokens[1] for item in records_in(bucket)]
    assert 0 < len(kept) < 10
    assert kept == list(range(10 - len(kept), 10))
    assert writer.num_dropped == 10 - len(kept)


def test_a_full_queue_drops_and_counts_and_never_blocks(tmp_path: Path) -> None:
    writer = segments(tmp_path, queue_size=2)
    for number in range(5):
        writer.record(record(number))
    assert writer.num_dropped == 3


def test_what_a_crash_left_open_is_sent_by_the_next_boot(tmp_path: Path) -> None:
    crashed = segments(tmp_path)
    for number in range(2):
        crashed.record(record(number))
    crashed.work(wait_seconds=0.0)
    path = next(tmp_path.glob("open/*/*.jsonl"))
    path.write_bytes(path.read_bytes() + b'{"record_id": "torn')
    restarted, bucket = segments(tmp_path), Bucket()
    restarted.recover()
    send_traffic(restarted, bucket, consents=everybody)
    assert records_in(bucket) == [record(0), record(1)]
    assert list(tmp_path.glob("open/*/*")) == []


def test_records_that_look_sensitive_are_screened_and_counted(tmp_path: Path) -> None:
    writer = segments(tmp_path, redact=lambda item: None if item.output_tokens[1] == 1 else item)
    for number in range(3):
        writer.record(record(number))
    writer.work(wait_seconds=0.0)
    writer.close_all()
    assert [segment.metadata["records"] for segment in writer.ready()] == ["2"]
    assert writer.num_screened == 1


def test_everything_in_a_segment_was_captured_under_one_consent_which_it_names(tmp_path: Path) -> None:
    writer = segments(tmp_path)
    policies = (TrafficPolicy(True, redaction="mask"), TrafficPolicy(True, redaction="off"))
    for number, policy in enumerate((policies[0], policies[0], policies[1])):
        writer.record(replace(record(number), consent=policy))
    writer.work(wait_seconds=0.0)
    segments(tmp_path).recover()  # as after a crash
    writer.close_all()
    described = [(one.metadata["records"], json.loads(one.metadata["consent"])["redaction"]) for one in writer.ready()]
    assert sorted(set(described)) == [("1", "off"), ("2", "mask")]


def test_a_segment_names_its_end_users_or_says_that_they_are_too_many(tmp_path: Path) -> None:
    for count in (2, MAX_END_USERS, MAX_END_USERS + 1):
        writer = segments(tmp_path / str(count))
        names = [f"eu_{number:032x}" for number in range(count)]
        for number, name in enumerate([*names, names[0], ""]):
            writer.record(replace(record(number), end_user_id=name))
        writer.work(wait_seconds=0.0)
        writer.close_all()
        metadata = writer.ready()[0].metadata
        assert metadata["end_users"] == (",".join(names) if count <= MAX_END_USERS else "*")
        assert sum(len(name) + len(value) for name, value in metadata.items()) < 2048  # S3's limit


def test_withdrawn_consent_deletes_what_was_not_sent(tmp_path: Path) -> None:
    writer = segments(tmp_path, clock=Clock(), roll_seconds=0.0)
    writer.record(record(0))
    writer.record(record(1, "prj_2"))
    writer.work(wait_seconds=0.0)
    writer.discard("prj_1")
    writer.work(wait_seconds=0.0)
    assert [segment.key.split("/")[1] for segment in writer.ready()] == ["prj_2"]


def test_a_segment_of_a_project_that_no_longer_consents_is_never_sent(tmp_path: Path) -> None:
    writer, bucket = segments(tmp_path, clock=Clock(), roll_seconds=0.0), Bucket()
    writer.record(record(0))
    writer.record(record(1, "prj_2"))
    writer.work(wait_seconds=0.0)
    assert send_traffic(writer, bucket, consents=lambda project_id: project_id == "prj_2") == 1
    assert records_in(bucket) == [record(1, "prj_2")]
    assert writer.ready() == []


def test_withdrawn_consent_deletes_what_a_full_disk_left_open(tmp_path: Path) -> None:
    writer = segments(tmp_path, clock=Clock())
    writer.record(record(0))
    writer.work(wait_seconds=0.0)
    (tmp_path / "open" / "prj_2").write_text("in the way: the next project's folder can't be made")
    writer.record(record(1, "prj_2"))
    writer.work(wait_seconds=0.0)
    assert writer.num_dropped == 1
    writer.discard("prj_1")
    writer.work(wait_seconds=0.0)
    segments(tmp_path).recover()  # as after a restart
    assert segments(tmp_path).ready() == []


def test_consent_and_the_request_decide_and_the_sample_is_a_fixed_share() -> None:
    def captured(policy: TrafficPolicy, *, store: bool = True) -> int:
        return sum(is_captured(policy, store=store, request_id=f"req_{number}") for number in range(1000))

    assert captured(TrafficPolicy()) == 0
    assert captured(TrafficPolicy(capture=True)) == 1000
    assert captured(TrafficPolicy(capture=True), store=False) == 0
    assert 250 < captured(TrafficPolicy(capture=True, sample_rate=0.3)) < 350


def test_the_writer_outlives_whatever_fails_and_closes_what_is_open_at_the_end(tmp_path: Path) -> None:
    def redact(item: TrafficRecord) -> TrafficRecord:
        if item.output_tokens[1] == 0:
            raise ValueError("an undecodable record")
        return item

    writer, stop = segments(tmp_path, redact=redact), threading.Event()
    thread = threading.Thread(target=writer.run, args=(stop,))
    thread.start()
    writer.record(record(0))
    time.sleep(0.1)
    writer.record(record(1))
    stop.set()
    thread.join()
    assert [segment.metadata["records"] for segment in writer.ready()] == ["1"]
