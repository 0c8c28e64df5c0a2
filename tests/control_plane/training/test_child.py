"""Real processes: the sandbox is worth what the kernel enforces."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from control_plane.training.child import Child, ChildLimits, Visible, clean_environment, describe_exit

LIMITS = ChildLimits(cpu_seconds=20, memory_bytes=2 << 30)
REPOSITORY = Path(__file__).parents[3]


def start(scratch, code, limits=LIMITS, **visible):
    environment = clean_environment(scratch=scratch, python_path=[REPOSITORY], threads=1)
    return Child(
        [sys.executable, "-c", code],
        scratch=scratch,
        environment=environment,
        limits=limits,
        visible=Visible(**visible),
    )


def finish(child, seconds=20.0):
    deadline = time.monotonic() + seconds
    while (status := child.poll()) is None:
        assert time.monotonic() < deadline, "the child did not end"
        time.sleep(0.02)
    return status


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def says(scratch, code, **options):
    """What the code prints, in a child that ends well."""
    child = start(scratch, code, **options)
    status = finish(child)
    assert status == 0, child.stderr_tail()
    return child.stderr_tail()


def isolation_is_possible():
    command = ["unshare", "--user", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


isolated = pytest.mark.skipif(not isolation_is_possible(), reason="the kernel gives this user no namespaces")


def test_the_child_runs_in_its_scratch_folder_and_process_group(tmp_path):
    child = start(tmp_path, "import os, time; print(os.getcwd(), flush=True); time.sleep(60)")
    while not child.stderr_tail():
        assert child.poll() is None
        time.sleep(0.02)
    assert child.stderr_tail() == str(tmp_path) and os.getsid(child.pid) == child.pid
    child.kill()


def test_where_isolation_is_required_it_is_had_or_nothing_runs(tmp_path):
    limits = ChildLimits(20, 2 << 30, require=True)
    child = start(tmp_path, "print('ran')", limits)
    assert (finish(child) == 0) == isolation_is_possible()
    assert ("ran" in child.stderr_tail()) == isolation_is_possible()


@isolated
def test_a_hostile_child_sees_no_other_process_and_no_environment_of_the_worker(tmp_path, monkeypatch):
    code = (
        "import os; pids = [pid for pid in os.listdir('/proc') if pid.isdigit()]; "
        "print(len(pids), os.getpid(), *(open(f'/proc/{pid}/environ').read() for pid in pids if pid != '1'))"
    )
    marked = subprocess.Popen(["sleep", "60"], env={"SECRET": "hunter2"})  # as a worker: the same user's process
    try:
        environment = Path(f"/proc/{marked.pid}/environ")
        while not environment.read_text():  # it is empty while the process becomes another program
            time.sleep(0.01)
        assert "hunter2" in environment.read_text()
        seen = says(tmp_path, code)
        assert seen.split()[0] in ("2", "3") and "hunter2" not in seen and "PYTEST" not in seen
        killing = f"import os, signal; os.kill({marked.pid}, signal.SIGKILL)"
        assert finish(start(tmp_path, killing)) != 0
        assert marked.poll() is None
    finally:
        marked.kill()
        marked.wait()


@isolated
def test_a_hostile_child_reads_no_other_projects_inputs_and_no_file_of_the_service(tmp_path):
    mine, theirs = tmp_path / "run_mine", tmp_path / "run_theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "train.jsonl").write_text(folder.name)
    code = (
        "import os, pathlib\n"
        f"for path in ({str(theirs / 'train.jsonl')!r}, '/etc/passwd', {str(REPOSITORY / 'manage.py')!r}, '/var'):\n"
        "    assert not pathlib.Path(path).exists(), path\n"
        f"print(pathlib.Path({str(mine / 'train.jsonl')!r}).read_text(), os.listdir({str(tmp_path)!r}))"
    )
    assert says(mine, code) == "run_mine ['run_mine']"


@isolated
@pytest.mark.parametrize(
    "attack",
    [
        "open('train/1', 'w')",
        "open('spec.json', 'a')",
        "os.unlink('train/1')",
        "os.rename('train', 'other')",
        "os.mkdir('train/more')",
        "os.chmod('train/1', 0o777)",
        "open('/usr/x', 'w')",
        "os.mknod('disk', 0o60600, os.makedev(254, 0)); open('disk', 'rb').read(1)",
    ],
)
def test_a_hostile_child_writes_neither_its_inputs_nor_the_system(tmp_path, attack):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1").write_text("one")
    (tmp_path / "spec.json").write_text("{}")
    code = (
        f"import os\nopen('allowed', 'w').close()\ntry:\n    {attack}\nexcept OSError as error:\n    print('refused')"
    )
    assert says(tmp_path, code, inputs=(tmp_path / "train", tmp_path / "spec.json")) == "refused"
    assert (tmp_path / "allowed").exists() and (tmp_path / "train" / "1").read_text() == "one"


@isolated
def test_a_hostile_child_gets_no_privileges_to_undo_its_isolation(tmp_path):
    (tmp_path / "train").mkdir()
    code = (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "
        f"print(libc.mount(None, {str(tmp_path / 'train')!r}.encode(), None, 4096 | 32, None), "
        "libc.umount2(b'/proc', 2), "
        "[line.split()[1] for line in open('/proc/self/status')"
        " if line.startswith(('CapEff', 'CapPrm', 'NoNewPrivs'))])"
    )
    assert says(tmp_path, code, inputs=(tmp_path / "train",)) == "-1 -1 ['0000000000000000', '0000000000000000', '1']"


@isolated
def test_a_hostile_child_leaves_no_process_behind(tmp_path):
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    while True:\n"
        "        open('alive', 'w').write(str(time.time())); time.sleep(0.05)\n"
        "while not os.path.exists('alive'): time.sleep(0.02)"
    )
    assert finish(start(tmp_path, code)) == 0
    last = (tmp_path / "alive").read_text()
    time.sleep(0.5)
    assert (tmp_path / "alive").read_text() == last


@isolated
@pytest.mark.skipif(os.getuid() == 0, reason="the kernel exempts root from the limit on processes")
def test_a_fork_bomb_ends_at_the_number_of_processes(tmp_path):
    code = (
        "import os, time\ncount = 0\ntry:\n    while count < 1000:\n"
        "        if os.fork() == 0:\n            time.sleep(30); os._exit(0)\n        count += 1\n"
        "except OSError:\n    print(count)"
    )
    assert int(says(tmp_path, code, limits=ChildLimits(20, 2 << 30, processes=20))) < 20


def test_the_child_sees_no_secret_of_the_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "hunter2")
    child = start(tmp_path, "import os; print(sorted(os.environ.values()))")
    assert finish(child) == 0
    assert "hunter2" not in child.stderr_tail()


def test_the_child_has_no_network(tmp_path):
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 2)"
    status = finish(start(tmp_path, code))
    if isolation_is_possible():  # where the kernel allows namespaces, they are used
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
        "import subprocess, sys, time; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; print(\"up\", flush=True); time.sleep(61.5)']);"
        "time.sleep(60)"
    )
    child = start(tmp_path, code)
    while "up" not in child.stderr_tail():
        assert child.poll() is None
        time.sleep(0.02)
    grandchild = next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"61.5)\0" in read(path) and b"subprocess" not in read(path)
    )
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
