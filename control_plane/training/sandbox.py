"""Bind this process with limits, cut it off from the machine, then become the given command.

Run as a script, with the standard library only: `python -I sandbox.py LIMITS_JSON COMMAND...`. It is a program of its
own instead of a `preexec_fn`, because code between fork and exec may not take locks, and because the parent-death
signal must be set after the user namespace was entered (changing credentials clears it, prctl(2)).

    worker ── outer: new user, network, mount, process, IPC and host-name namespaces; mirrors the command's end
                └── init: process 1 of the namespace; builds the root; when it ends, the kernel kills all that is left
                      └── command: limits, no capability, no way to new privileges

The new root holds only what is listed: system libraries, the interpreter and the code, the model, all read-only; the
scratch folder, writable but for the inputs in it. Where the kernel refuses these namespaces, the network alone is cut
off; where it refuses that too, limits and the clean environment are all there is, unless isolation is required.
"""

import ctypes
import json
import os
import platform
import resource
import select
import signal
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
EVERYTHING = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE, MS_RELATIME = 16384, 1 << 18, 1 << 21
ST_NOATIME, ST_NODIRATIME, ST_RELATIME = 1024, 2048, 4096  # statvfs; the first two have the values of their MS_ twins
MNT_DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CANNOT_START = 126
ORDINARY_USER = 1000  # inside, where the worker is root: a user whose exec drops all capabilities
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/sys/devices/system/cpu")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    limits, command = json.loads(arguments[0]), arguments[1:]
    isolated = limits["isolate"] and unshare(EVERYTHING)
    if limits["isolate"] and not isolated:
        if limits["require_isolation"]:
            sys.exit("cannot isolate the training process: the kernel gives it no namespaces of its own")
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
    die_with_parent()
    if os.getppid() != limits["parent_pid"]:  # the worker died before the signal was armed
        sys.exit(CANNOT_START)
    if isolated:
        supervise(limits, command)
    else:
        become(limits, command)


def unshare(flags: int) -> bool:
    """Enter new namespaces, as the same user in them. One that is root outside is an ordinary user inside."""
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(flags) != 0:
        return False
    maps = (("setgroups", "deny"), ("uid_map", f"{uid or ORDINARY_USER} {uid} 1"), ("gid_map", f"{gid} {gid} 1"))
    for path, text in maps:
        with open(f"/proc/self/{path}", "w") as file:
            file.write(text)
    return True


def die_with_parent() -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def supervise(limits: dict, command: list[str]) -> None:
    """Run init in the process namespace and end as the command ended. Never returns."""
    told, tells = os.pipe()  # the command's wait status
    alive, holds = os.pipe()  # closed when this process ends
    if os.fork() == 0:
        os.close(told)
        os.close(holds)
        init(limits, command, tells=tells, alive=alive)
    os.close(tells)
    os.close(alive)
    message = os.read(told, 16)
    os.wait()
    if not message:  # init was killed, or could not start the command
        os._exit(CANNOT_START)
    status = int(message)
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def init(limits: dict, command: list[str], *, tells: int, alive: int) -> None:
    """Process 1: make the root, start the command, reap whatever becomes its orphan. Never returns."""
    die_with_parent()
    if select.select([alive], [], [], 0)[0]:  # the outer process ended before the signal was armed
        os._exit(CANNOT_START)
    try:
        enter_root(limits)
    except OSError as error:
        print(f"cannot isolate the training process: {error}", file=sys.stderr)
        os._exit(CANNOT_START)
    child = os.fork()
    if child == 0:
        become(limits, command)
    while True:
        pid, status = os.wait()
        if pid == child:
            os.write(tells, str(status).encode())
            os._exit(0)


def become(limits: dict, command: list[str]) -> None:
    """Take the limits on and execute the command. Never returns."""
    die_with_parent()
    for name in ("CPU", "AS", "FSIZE", "NOFILE"):
        bound = limits[name.lower()]
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits["isolate"] and counts_processes_by_namespace():
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"], limits["processes"]))
    os.nice(limits["nice"])
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


def counts_processes_by_namespace() -> bool:
    """Before Linux 5.14, the limit counted everything that the user runs on the machine."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14)


# ---------------------------------------------------------------------------------------------------------- the root


def enter_root(limits: dict) -> None:
    """A root of its own in which nothing else of the machine exists. Raises OSError."""
    scratch = limits["scratch"]
    root = os.path.join(scratch, "root")
    os.makedirs(root, exist_ok=True)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for folder, size in (("tmp", "64m"), ("dev", "1m"), ("dev/shm", "256m"), ("proc", None)):
        os.mkdir(f"{root}/{folder}")
        if size:
            mount("tmpfs", f"{root}/{folder}", "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=755")
    for device in DEVICES:
        show(device, root, writable=True)
    shown: list[str] = []
    for path in sorted({*SYSTEM, *limits["visible"]}):
        if not any(path == above or path.startswith(above + "/") for above in shown) and os.path.lexists(path):
            show(path, root, writable=False)
            shown.append(path)
    show(scratch, root, writable=True)
    for path in limits["inputs"]:
        show(path, root, writable=False)
    show_processes(root)
    os.chdir(root)
    if libc.syscall(PIVOT_ROOT[platform.machine()], b".", b".") != 0:
        raise failure("pivot_root")
    if libc.umount2(b".", MNT_DETACH) != 0:
        raise failure("umount")
    os.chdir(scratch)


def show(path: str, root: str, *, writable: bool) -> None:
    """Let `path` exist under `root`, as what it is. Read-only mounts can't be made writable without capabilities."""
    place = root + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.makedirs(place, exist_ok=True)
    elif not os.path.exists(place):
        open(place, "w").close()
    mount(path, place, None, MS_BIND if writable else MS_BIND | MS_REC)
    if not writable:
        mount(None, place, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept_flags(place))


def kept_flags(place: str) -> int:
    """Flags that a mount has and that may not be taken from it."""
    found = os.statvfs(place).f_flag
    return (found & (MS_NOSUID | MS_NODEV | MS_NOEXEC | ST_NOATIME | ST_NODIRATIME)) | (
        MS_RELATIME if found & ST_RELATIME else 0
    )


def show_processes(root: str) -> None:
    """Its own processes alone; where the kernel refuses (some containers), none, and facts about the processor."""
    try:
        mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat"):
            show(path, root, writable=False)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [value and value.encode() for value in (source, target, kind)]
    if libc.mount(*encoded, ctypes.c_ulong(flags), data and data.encode()) != 0:
        raise failure(f"mount {target}")


def failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
