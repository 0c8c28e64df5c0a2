"""`slipstream bench`: the repository's benchmark, where the repository is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer

from slipstream_cli.command import Group
from slipstream_cli.exits import FAILED, CommandError

_MARK = Path("infra") / "bench" / "__main__.py"


def register(top: Group) -> None:
    # Its options are the benchmark's own, --help among them: they are handed on as they are.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    top.app.command("bench", context_settings=settings)(bench)


def bench(context: typer.Context) -> None:
    """Measure every figure on this machine, beside other engines with the same weights (needs the repository)."""
    root = repository()
    if root is None:
        raise CommandError(
            "The benchmark is part of the repository: run this inside of it, or set SLIPSTREAM_REPOSITORY.", FAILED
        )
    local = root / ".venv" / "bin" / "python"
    python = str(local) if local.exists() else sys.executable
    paths = [str(root), str(root / "kernels"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    command = [python, "-m", "infra.bench", *(_absolute(one) for one in context.args)]
    raise typer.Exit(subprocess.run(command, cwd=root, env=environment, check=False).returncode)


def repository() -> Path | None:
    """From SLIPSTREAM_REPOSITORY, the folder where one is or those above it, or where this package lies."""
    named = os.environ.get("SLIPSTREAM_REPOSITORY")
    places = [Path(named)] if named else [Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents]
    return next((place.resolve() for place in places if (place / _MARK).is_file()), None)


def _absolute(argument: str) -> str:
    """The benchmark runs in the repository; files are named from where the person is."""
    return str(Path(argument).resolve()) if not argument.startswith("-") and Path(argument).exists() else argument
