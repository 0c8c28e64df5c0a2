"""Where a project belongs: rendezvous hashing (Thaler and Ravishankar 1996). Pure: no database, no clock.

Every project ranks all nodes by a hash of both names and lives on the first ones that have room. A node that joins or
leaves moves only the projects that rank it first, 1 of n; a project finds its learned state where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Host:
    """A node that can hold projects. `accepts`: also new ones; a cordoned node only keeps those that it has."""

    node_id: str
    accepts: bool
    room: int  # how many more projects it takes

    def can_hold(self, *, holds_it: bool) -> bool:
        return holds_it or (self.accepts and self.room > 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to change for one project. `leave`: nodes that need not serve it any more."""

    add: tuple[str, ...]
    leave: tuple[str, ...]


def score(project_id: str, node_id: str) -> int:
    """How much the project likes the node: uniform, and the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{project_id} {node_id}".encode(), digest_size=8).digest())


def plan(project_id: str, *, wanted: int, held: Mapping[str, bool], hosts: Mapping[str, Host]) -> Plan:
    """Bring a project to `wanted` of the hosts, without a moment in which nobody serves it.

    held: the nodes that have it -> whether the node serves it by now. A node leaves only when all of
    the project's homes serve it. Where no host has room, everything stays as it is.
    """
    able = [host.node_id for host in hosts.values() if host.can_hold(holds_it=host.node_id in held)]
    homes = sorted(able, key=lambda node_id: score(project_id, node_id), reverse=True)[:wanted]
    add = tuple(node_id for node_id in homes if node_id not in held)
    if wanted and not (homes and all(held.get(node_id, False) for node_id in homes)):
        return Plan(add, ())
    return Plan(add, tuple(node_id for node_id in held if node_id not in homes))


def is_settled(*, wanted: int, held: Collection[str], hosts: Mapping[str, Host]) -> bool:
    """Whether the project can stay as it is as long as no node joins: the cheap test before `plan`."""
    return len(held) == min(wanted, len(hosts)) and all(node_id in hosts for node_id in held)
