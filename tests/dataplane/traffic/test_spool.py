"""The usage spool loses nothing that it reported as durable, whatever fails and whenever the process dies."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.contracts import UsageEvent
from dataplane.traffic.spool import LocalDisk, SpoolError, UsageSpool, acknowledge_all

WRITER = """
import sys
from pathlib import Path
from dataplane.traffic.spool import UsageSpool
from tests.dataplane.traffic.test_spool import event
spool = UsageSpool(Path(sys.argv[1]), sys.argv[2], roll_events=7)
for number in range(100_000):
    spool.append(event(f"{sys.argv[2]}-{number}"))
    print(number, flush=True)
"""


def event(name: str) -> UsageEvent:
    return UsageEvent(
        event_id=name,
        organization_id="org_1",
        project_id="prj_1",
        endpoint_id="ep_1",
        deployment_id="dep_1",
        key_id="key_1",
        model="m",
        status="completed",
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:01Z",
        prompt_tokens=3,
        cached_tokens=0,
        completion_tokens=2,
    )


class FailingDisk(LocalDisk):
    """Fails the i-th I/O call, once; a failing write may still leave half of its bytes behind."""

    def __init__(self, failing_call: int) -> None:
        self.calls_left = failing_call

    def _call(self) -> bool:
        self.calls_left -= 1
        return self.calls_left == -1

    def open(self, path: Path) -> int:
        if self._call():
            raise OSError(errno.EMFILE, "no more files")
        return super().open(path)

    def write(self, fd: int, data: bytes) -> int:
        if self._call():
            super().write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "disk full")
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        if self._call():
            raise OSError(errno.EIO, "fsync failed")
        super().fsync(fd)

    def sync_folder(self, path: Path) -> None:
        if self._call():
            raise OSError(errno.EIO, "folder fsync failed")
        super().sync_folder(path)


def drain(spool: UsageSpool, limit: int = 3) -> list[tuple[str, int, str]]:
    """Send everything as the uploader does."""
    sent = []
    while batch := spool.unacknowledged(limit):
        sent += [(entry.boot_id, entry.seq, entry.event.event_id) for entry in batch]
        acknowledge_all(spool, {batch[-1].boot_id: batch[-1].seq})
    return sent


def test_events_come_back_in_order_with_gapless_numbers_and_go_when_acknowledged(tmp_path: Path) -> None:
    spool = UsageSpool(tmp_path, "a", roll_events=4)
    for number in range(10):
        spool.append(event(str(number)))
    assert spool.size() == 10
    assert drain(spool) == [("a", number + 1, str(number)) for number in range(10)]
    assert spool.size() == 0
    assert list(tmp_path.glob("*.log")) == []
    spool.append(event("after"))
    assert drain(spool) == [("a", 11, "after")]


def test_what_was_not_acknowledged_is_sent_again(tmp_path: Path) -> None:
    spool = UsageSpool(tmp_path, "a")
    spool.append(event("x"))
    assert spool.unacknowledged(10) == spool.unacknowledged(10) != []


def test_leftovers_of_earlier_boots_are_sent_first_under_their_own_boot(tmp_path: Path) -> None:
    for boot in ("a", "b"):
        spool = UsageSpool(tmp_path, boot)
        spool.append(event(boot))
        spool.close()
    spool = UsageSpool(tmp_path, "0")
    spool.append(event("new"))
    assert spool.size() == 3
    assert drain(spool) == [("a", 1, "a"), ("b", 1, "b"), ("0", 1, "new")]


def test_an_acknowledgement_survives_a_restart(tmp_path: Path) -> None:
    spool = UsageSpool(tmp_path, "a")
    for number in range(5):
        spool.append(event(str(number)))
    spool.acknowledge("a", 3)
    restarted = UsageSpool(tmp_path, "b")
    assert restarted.size() == 2
    assert [seq for _, seq, _ in drain(restarted)] == [4, 5]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing_call", range(24))
def test_whichever_io_call_fails_every_event_is_kept_once_with_gapless_numbers(
    tmp_path: Path, failing_call: int
) -> None:
    spool = UsageSpool(tmp_path, "a", disk=FailingDisk(failing_call), roll_events=3)
    failures = 0
    for number in range(8):
        try:
            spool.append(event(str(number)))
        except SpoolError:
            failures += 1
    spool.flush()
    assert failures <= 1
    expected = [("a", number + 1, str(number)) for number in range(8)]
    # A reader of the next boot sees the same as this boot's own reader.
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("*.log"):
        (copy / path.name).write_bytes(path.read_bytes())
    assert drain(UsageSpool(copy, "b")) == expected
    assert drain(spool) == expected


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=4000), events=st.integers(min_value=1, max_value=6))
def test_a_torn_tail_costs_only_the_torn_event(tmp_path_factory: pytest.TempPathFactory, cut: int, events: int) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = UsageSpool(folder, "a")
    for number in range(events):
        spool.append(event(str(number)))
    spool.close()
    path = next(folder.glob("*.log"))
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n") + (cut < len(data) and data[cut : cut + 1] == b"\n")
    assert [seq for _, seq, _ in drain(UsageSpool(folder, "b"))] == list(range(1, whole + 1))


def test_concurrent_appends_are_all_kept(tmp_path: Path) -> None:
    spool = UsageSpool(tmp_path, "a", roll_events=5)
    sent: list[tuple[str, int, str]] = []
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(20):
            spool.append(event(f"{writer}-{number}"))

    def send() -> None:
        while not done.is_set():
            sent.extend(drain(spool))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    sender = threading.Thread(target=send)
    for thread in [sender, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    sender.join()
    sent += drain(spool)
    assert [seq for _, seq, _ in sent] == list(range(1, 81))
    assert {name for _, _, name in sent} == {f"{writer}-{number}" for writer in range(4) for number in range(20)}


@pytest.mark.crash
def test_a_kill_in_the_middle_of_writing_loses_no_reported_event(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    for attempt, kill_after in enumerate((1, 23, 60)):
        boot = f"boot{attempt}"
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), boot], stdout=subprocess.PIPE, text=True, cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        assert child.stdout is not None
        for _ in range(kill_after):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        reported = kill_after + len(child.stdout.read().splitlines())
        child.wait()
        child.stdout.close()
        sent = drain(UsageSpool(tmp_path, f"reader{attempt}"), limit=50)
        assert [(name, seq) for name, seq, _ in sent] == [(boot, seq) for seq in range(1, len(sent) + 1)]
        assert len(sent) >= reported
