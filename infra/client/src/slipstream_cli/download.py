"""Files behind short-lived signed addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from slipstream_cli.exits import CommandError
from slipstream_client.errors import ConnectionFailed

_TIMEOUT_SECONDS = 60.0


def download(files: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Each file (`name`, `url`, `sha256`) below `folder`, which is made. A file with another digest is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_download(file, folder / Path(str(file["name"])).name) for file in files]


def _download(file: dict[str, Any], target: Path) -> Path:
    digest = hashlib.sha256()
    try:
        with httpx.stream("GET", str(file["url"]), timeout=_TIMEOUT_SECONDS, follow_redirects=False) as response:
            if response.status_code != 200:
                raise CommandError(f"The store answered with HTTP {response.status_code} for {file['name']}.")
            with target.open("wb") as out:
                for piece in response.iter_bytes():
                    digest.update(piece)
                    out.write(piece)
    except httpx.TransportError as error:
        raise ConnectionFailed(f"The store does not answer: {error}") from error
    if file.get("sha256") and digest.hexdigest() != file["sha256"]:
        target.unlink()
        raise CommandError(f"{file['name']} is not what the service signed: its digest is another.")
    return target
