"""What was measured so far, section by section on the disk: a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]  # what a section measured: JSON


@dataclass(frozen=True, slots=True)
class Store:
    """`folder`/sections/NAME.json. A record of other settings (another commit, model, size) does not count."""

    folder: Path
    settings: Mapping[str, Any]

    def read(self, section: str) -> Record | None:
        """The section's record, if it was measured under the same settings."""
        try:
            kept = json.loads(self._path(section).read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or kept.get("settings") != json.loads(json.dumps(dict(self.settings))):
            return None
        record = kept.get("record")
        return record if isinstance(record, dict) else None

    def write(self, section: str, record: Record) -> None:
        write_json(self._path(section), {"settings": dict(self.settings), "record": record})

    def forget(self) -> None:
        """Start anew."""
        for path in (self.folder / "sections").glob("*.json"):
            path.unlink()

    def _path(self, section: str) -> Path:
        return self.folder / "sections" / f"{section}.json"


def write_json(path: Path, value: object) -> None:
    """Atomically: whoever reads it finds the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.rename(path)
