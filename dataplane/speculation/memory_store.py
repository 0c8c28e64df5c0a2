"""Context tables on the node's disk: a file each, written atomically, checked by digest, gone with a purge.

A thread of its own does what waits for a disk; the engine's thread only hands over bytes and picks them up. What a
crash can lose is what was learned since the last save. A file holds a JSON line (format, project, tokenizer, digest,
geometry of the tables) and then the table's bytes: hashed contexts and token ids, no text.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from dataplane.speculation.drafters.context_table import NUM_TOKENS, ORDERS
from dataplane.speculation.types import project_of

FORMAT = 2
_SUFFIX = ".memory"
_GEOMETRY = [*ORDERS, NUM_TOKENS]

log = logging.getLogger(__name__)


class MemoryStore:
    """Implements `drafters.memory.TableStore` over a folder of at most `max_bytes`: beyond it the oldest files go.

    A table is saved when a request that learned ends and it was not saved for `save_seconds` (of `clock`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 2 << 30,
        save_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
        tokenizer: str = "",
    ) -> None:
        """`tokenizer`: whose token ids they are; files of another one are not used. Raises OSError if the folder can't
        be made."""
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("*.partial"):  # a crash in the middle of a save
            partial.unlink(missing_ok=True)
        self._folder, self._max_bytes, self._save_seconds, self._clock = folder, max_bytes, save_seconds, clock
        self._tokenizer = tokenizer
        self._known = {path.name for path in folder.glob(f"*{_SUFFIX}")}  # files to be read when somebody asks
        self._reading: set[str] = set()
        self._saved_at: dict[str, float] = {}
        self._arrived: deque[tuple[str, bytes]] = deque()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="memory-store", daemon=True)
        self._thread.start()

    def save(self, scope: str, data: bytes) -> None:
        """Write the project's table, soon."""
        self._saved_at[scope] = self._clock()
        self._known.add(_name(scope))  # whoever lacks the table from now on has lost it, and may read it again
        self._jobs.put(lambda: self._write(scope, data))

    def is_due(self, scope: str) -> bool:
        """Was the project not saved for a while?"""
        now = self._clock()
        return now - self._saved_at.setdefault(scope, now) >= self._save_seconds

    def forget(self, project_id: str) -> None:
        """Delete the files of the project and its end users, after whatever was to be written before."""
        mark = _mark(project_id)
        for names in (self._known, self._reading):
            names.difference_update([name for name in names if name.startswith(mark)])
        self._saved_at = {scope: at for scope, at in self._saved_at.items() if project_of(scope) != project_id}
        self._jobs.put(lambda: self._delete(mark))

    def ask(self, scope: str) -> bool:
        """Read the project's file unless that was done. True: it is being read, and will be among `arrived`."""
        name = _name(scope)
        if name in self._known:
            self._known.discard(name)
            self._reading.add(name)
            self._jobs.put(lambda: self._read(scope))
        return name in self._reading

    def arrived(self) -> Iterator[tuple[str, bytes]]:
        """Tables that were read since the last call. What was forgotten meanwhile is not among them."""
        while self._arrived:
            scope, data = self._arrived.popleft()
            name = _name(scope)
            if name in self._reading:
                self._reading.discard(name)
                self._saved_at.setdefault(scope, self._clock())
                if data:
                    yield scope, data

    def keep_only(self, project_ids: Collection[str]) -> None:
        """After a start: delete files of projects that are gone or have withdrawn their consent meanwhile."""
        marks = {_mark(project_id) for project_id in project_ids}
        for name in [name for name in self._known if name.partition("-")[0] not in marks]:
            self._known.discard(name)
            self._jobs.put(lambda name=name: self._delete(name))  # type: ignore[misc]

    def flush(self) -> None:
        """Wait until everything that was handed over is on the disk."""
        done = threading.Event()
        self._jobs.put(done.set)
        done.wait()

    def close(self) -> None:
        """Finish what was handed over and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    # ------------------------------------------------------------------------------------------- the store's thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except OSError:
                log.exception("the tenant memory's folder failed")

    def _delete(self, start: str) -> None:
        for path in self._folder.glob(f"{start}*"):
            path.unlink(missing_ok=True)

    def _write(self, scope: str, data: bytes) -> None:
        header = {
            "format": FORMAT,
            "project_id": project_of(scope),
            "tokenizer": self._tokenizer,
            "scope": _mark(scope),  # an end user may be called by an address
            "sha256": hashlib.sha256(data).hexdigest(),
            "geometry": _GEOMETRY,
        }
        path = self._folder / _name(scope)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        files = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self._max_bytes and path != newest:
                path.unlink(missing_ok=True)

    def _read(self, scope: str) -> None:
        data = b""  # arrives in any case: somebody waits for it
        try:
            head, _, body = (self._folder / _name(scope)).read_bytes().partition(b"\n")
            data = _checked(scope, self._tokenizer, head, body)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("a stored memory of project %s is not used: %s", project_of(scope), error)
        self._arrived.append((scope, data))


def _mark(project_id: str) -> str:
    return hashlib.sha256(project_id.encode()).hexdigest()[:32]


def _name(scope: str) -> str:
    """Of the scope's file: it begins with its project's mark."""
    return f"{_mark(project_of(scope))}-{_mark(scope)}{_SUFFIX}"


def _checked(scope: str, tokenizer: str, head: bytes, body: bytes) -> bytes:
    header = json.loads(head)
    if header["format"] != FORMAT or header["geometry"] != _GEOMETRY:
        raise ValueError("it was written by another build")
    if header["tokenizer"] != tokenizer:
        raise ValueError("its tokens are another tokenizer's")
    if header["scope"] != _mark(scope):
        raise ValueError("it belongs to somebody else")
    if header["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError("its digest does not match")
    return body
