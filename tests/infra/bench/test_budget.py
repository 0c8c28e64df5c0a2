"""Time is shared out; the least is always done, and interrupted work goes on."""

from __future__ import annotations

from pathlib import Path

from infra.bench.budget import Box
from infra.bench.store import Store


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rounds(time: Time, box: Box, seconds: list[float], *, least: int) -> int:
    done = 0
    for length in box.rounds(seconds, least=least):
        time.now += length
        done += 1
    return done


def test_rounds_end_before_one_that_would_not_fit() -> None:
    time = Time()
    assert rounds(time, Box(10.0, time), [3.0] * 9, least=1) == 3


def test_the_least_is_done_however_slow_the_machine_is() -> None:
    time = Time()
    assert rounds(time, Box(1.0, time), [50.0] * 9, least=2) == 2


def test_all_items_are_used_where_there_is_time() -> None:
    time = Time()
    assert rounds(time, Box(100.0, time), [1.0] * 4, least=1) == 4


def test_a_part_is_a_share_of_what_is_left() -> None:
    time = Time()
    box = Box(100.0, time)
    time.now = 60.0
    assert box.part(0.5).seconds == 20.0
    time.now = 160.0
    assert box.part(0.5).seconds == 0.0


def test_a_section_is_read_back_under_the_same_settings_only(tmp_path: Path) -> None:
    store = Store(tmp_path, {"commit": "abc", "peers": ("a",)})
    store.write("drift", {"tokens": 3})
    assert store.read("drift") == {"tokens": 3}
    assert store.read("rows") is None
    assert Store(tmp_path, {"commit": "other", "peers": ("a",)}).read("drift") is None


def test_a_torn_or_forgotten_section_is_measured_again(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    store.write("drift", {"tokens": 3})
    (tmp_path / "sections" / "rows.json").write_text('{"settings": {}, "rec')
    assert store.read("rows") is None
    store.forget()
    assert store.read("drift") is None
