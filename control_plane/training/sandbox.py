"""Bind this process with limits, cut it off from the network, then become the given command.

Run as a script, with the standard library only: `python -I sandbox.py LIMITS_JSON COMMAND...`. It is a program of its
own instead of a `preexec_fn`, because code between fork and exec may not take locks, and because the parent-death
signal must be set after the user namespace was entered (changing credentials clears it, prctl(2)).
"""

import ctypes
import json
import os
import resource
import signal
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CANNOT_START = 126


def main(arguments: list[str]) -> None:
    limits, command = json.loads(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if limits["isolate_network"] and not enter_empty_network(libc) and limits["require_network_isolation"]:
        sys.exit("cannot cut the training process off from the network: no network namespace could be made")
    for name in ("CPU", "AS", "FSIZE", "NOFILE"):
        bound = limits[name.lower()]
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(limits["nice"])
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != limits["parent_pid"]:  # the worker died before the signal was armed
        sys.exit(CANNOT_START)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


def enter_empty_network(libc: ctypes.CDLL) -> bool:
    """Move to a network namespace without any interface; as an ordinary user, through a user namespace."""
    if libc.unshare(CLONE_NEWNET) == 0:
        return True
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    for path, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{path}", "w") as file:
            file.write(text)
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
