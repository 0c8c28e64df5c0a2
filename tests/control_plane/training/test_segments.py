import json
from datetime import UTC, date, datetime

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from control_plane.training.inputs import split
from control_plane.training.segments import (
    SegmentError,
    copy_records,
    listing_start,
    read_metadata,
    segment_day,
)

METADATA = {
    "records": "3",
    "tokens": "70",
    "first_timestamp": "2026-01-02T03:04:05Z",
    "last_timestamp": "2026-01-02T03:04:06+00:00",
}


def test_metadata_is_read_also_when_a_gateway_rewrote_its_names():
    found = read_metadata(METADATA)
    assert (found.records, found.tokens, found.first_at) == (3, 70, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert read_metadata({name.replace("_", "-"): value for name, value in METADATA.items()}) == found


@pytest.mark.parametrize("change", [{"records": "x"}, {"tokens": "-1"}, {"first_timestamp": "2026-01-02T03:04:05"}])
def test_bad_metadata_is_a_typed_error(change):
    with pytest.raises(SegmentError):
        read_metadata(METADATA | change)


@pytest.mark.parametrize("name", METADATA)
def test_missing_metadata_is_named(name):
    with pytest.raises(SegmentError, match=name):
        read_metadata({key: value for key, value in METADATA.items() if key != name})


def test_the_day_comes_from_the_key():
    assert segment_day("projects/prj_1/traffic/2026-01-02/node-boot-1.jsonl.zst") == date(2026, 1, 2)
    for key in ("projects/prj_1/traffic/2026-13-02/a.jsonl.zst", "projects/prj_1/speculators/a.safetensors", "x"):
        with pytest.raises(SegmentError):
            segment_day(key)


def test_a_listing_starts_before_the_oldest_late_arrival():
    start = listing_start("prj_1", today=date(2026, 1, 10), lookback_days=3)
    assert start < "projects/prj_1/traffic/2026-01-07/a" and start > "projects/prj_1/traffic/2026-01-06/a"


def write(path, lines):
    path.write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(lines)))


def read(path):
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()


def test_only_the_projects_records_of_the_model_are_copied(tmp_path):
    good = json.dumps({"project_id": "prj_1", "model": "tiny"}).encode()
    others = [
        json.dumps({"project_id": "prj_2", "model": "tiny"}).encode(),
        json.dumps({"project_id": "prj_1", "model": "huge"}).encode(),
        b"[1]", b"{", b"\xff\xfe", b"[" * 100_000,
    ]  # fmt: skip
    write(tmp_path / "in", [good, *others, b"", good])
    count = copy_records(tmp_path / "in", tmp_path / "out", project_id="prj_1", model="tiny")
    assert (count.kept, count.dropped) == (2, len(others))
    assert read(tmp_path / "out") == [good, good]


@pytest.mark.parametrize("body", [b"no zstd at all", zstandard.ZstdCompressor().compress(bytes(9999))[:9]])
def test_a_broken_stream_is_a_typed_error_or_empty(tmp_path, body):
    (tmp_path / "in").write_bytes(body)
    try:
        assert copy_records(tmp_path / "in", tmp_path / "out", project_id="prj_1", model="tiny").kept == 0
    except SegmentError:
        pass


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 32))
def test_held_out_segments_are_enough_and_never_most_of_the_traffic(records, wanted):
    count = split(records, heldout_records=wanted, max_share=0.4)
    if count:
        assert sum(records[:count]) >= wanted
        assert sum(records[:count]) <= 0.4 * sum(records)
        assert count < len(records)
