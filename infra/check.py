"""`make check`: style, types, layers, migrations and the committed OpenAPI file; all of them, also after a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
OPENAPI = REPOSITORY / "control_plane" / "openapi.yaml"
_TOOLS = Path(sys.executable).parent


def main() -> int:
    """Exit status 0 if everything holds."""
    with tempfile.TemporaryDirectory() as scratch:
        schema = Path(scratch) / "openapi.yaml"
        checks: dict[str, list[str | Path]] = {
            "layers (import-linter)": [_TOOLS / "lint-imports", "--no-logo"],
            "types (mypy, strict)": [_TOOLS / "mypy"],
            "types (mypy, Django)": [_TOOLS / "mypy", "--config-file", "infra/mypy-django.ini", "control_plane", "web"],
            "style (ruff check)": [_TOOLS / "ruff", "check"],
            "style (ruff format)": [_TOOLS / "ruff", "format", "--check"],
            "migrations are complete": [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"],
            "typed client is current": [sys.executable, "-m", "infra.client.generate", "--check"],
            "OpenAPI can be generated": [
                *(sys.executable, "manage.py", "spectacular", "--file", schema),
                *("--validate", "--fail-on-warn"),
            ],
        }
        with ThreadPoolExecutor(max_workers=2) as pool:
            passed = list(pool.map(_run, checks.keys(), checks.values()))
        passed.append(_is_current(schema))
    return 0 if all(passed) else 1


def _run(name: str, command: list[str | Path]) -> bool:
    started = time.monotonic()
    # Debug mode supplies the secrets; nothing here connects to a service.
    environment = os.environ | {
        "SLIPSTREAM_DEBUG": "1",
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'kernels'}{os.pathsep}{REPOSITORY / 'infra/client/src'}",
    }
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    print(f"  {'ok    ' if done.returncode == 0 else 'FAILED'}  {name}  {seconds:.1f} s", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


def _is_current(generated: Path) -> bool:
    """Whether the committed OpenAPI file is what the code says."""
    if generated.exists() and OPENAPI.exists() and generated.read_text() == OPENAPI.read_text():
        print("  ok      OpenAPI file is current")
        return True
    command = f"SLIPSTREAM_DEBUG=1 .venv/bin/python manage.py spectacular --file {OPENAPI.relative_to(REPOSITORY)}"
    print(f"  FAILED  OpenAPI file is current: run {command} and review the change")
    return False


if __name__ == "__main__":
    sys.exit(main())
