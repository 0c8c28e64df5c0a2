"""Real processes: the sandbox is worth what the kernel enforces."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from control_plane.training.child import Child, ChildLimits, clean_environment, describe_exit

LIMITS = ChildLimits(cpu_seconds=20, memory_bytes=2 << 30)
REPOSITORY = Path(__file__).parents[3]


def start(tmp_path, code, limits=LIMITS):
    environment = clean_environment(scratch=tmp_path, python_path=[REPOSITORY], threads=1)
    return Child([sys.executable, "-c", code], scratch=tmp_path, environment=environment, limits=limits)


def finish(child, seconds=20.0):
    deadline = time.monotonic() + seconds
    while (status := child.poll()) is None:
        assert time.monotonic() < deadline, "the child did not end"
        time.sleep(0.02)
    return status


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_child_runs_in_its_scratch_folder_and_session(tmp_path):
    child = start(tmp_path, "import os; print(os.getcwd(), os.getsid(0) == os.getpid())")
    assert finish(child) == 0
    assert child.stderr_tail() == f"{tmp_path} True"


def test_the_child_sees_no_secret_of_the_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "hunter2")
    child = start(tmp_path, "import os; print(sorted(os.environ.values()))")
    assert finish(child) == 0
    assert "hunter2" not in child.stderr_tail()


def test_the_child_has_no_network(tmp_path):
    probe = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "true"], capture_output=True, check=False)
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 2)"
    status = finish(start(tmp_path, code))
    if os.getuid() == 0 or probe.returncode == 0:  # where the kernel allows namespaces, they are used
        assert status != 0


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("x = bytearray(1 << 30)", ChildLimits(20, 256 << 20)),
        ("open('big', 'wb').write(bytes(1 << 21))", ChildLimits(20, 2 << 30, file_bytes=1 << 20)),
        ("while True: pass", ChildLimits(1, 2 << 30)),
        ("files = [open('/dev/null') for _ in range(100)]", ChildLimits(20, 2 << 30, open_files=32)),
    ],
    ids=["memory", "file-size", "cpu", "open-files"],
)
def test_a_child_that_exceeds_a_limit_fails(tmp_path, code, limits):
    assert finish(start(tmp_path, code, limits)) != 0


def test_killing_ends_the_whole_group(tmp_path):
    code = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "open('pid', 'w').write(str(p.pid)); time.sleep(60)"
    )
    child = start(tmp_path, code)
    pid_file = tmp_path / "pid"
    while not (pid_file.exists() and pid_file.read_text()):
        assert child.poll() is None
        time.sleep(0.02)
    grandchild = int(pid_file.read_text())
    child.kill()
    assert child.poll() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while not has_ended(grandchild):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()


def test_the_child_dies_with_the_worker(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "from control_plane.training.child import Child, ChildLimits, clean_environment\n"
        "scratch = Path(sys.argv[1])\n"
        "environment = clean_environment(scratch=scratch, python_path=[], threads=1)\n"
        "child = Child([sys.executable, '-c', \"open('ready', 'w').close(); import time; time.sleep(60)\"],"
        " scratch=scratch, environment=environment, limits=ChildLimits(20, 2 << 30))\n"
        "(scratch / 'pid').write_text(str(child.pid))\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(worker), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    while not ((tmp_path / "ready").exists() and (tmp_path / "pid").exists()):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while not has_ended(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_exit_statuses_are_described():
    assert "exit code 3" in describe_exit(3)
    assert "memory" in describe_exit(-signal.SIGKILL)
    assert "CPU" in describe_exit(-signal.SIGXCPU)
    assert "SIGSEGV" in describe_exit(-signal.SIGSEGV)
