"""Profiles: addresses and keys, in a file that only this user can read.

The file is `credentials.json` in SLIPSTREAM_CONFIG_DIR, else in $XDG_CONFIG_HOME/slipstream, else in
~/.config/slipstream. Environment variables go before it: SLIPSTREAM_URL, SLIPSTREAM_API_KEY, SLIPSTREAM_INFERENCE_URL,
SLIPSTREAM_INFERENCE_KEY, SLIPSTREAM_ORGANIZATION, SLIPSTREAM_PROJECT; SLIPSTREAM_PROFILE names the profile.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from slipstream_cli.exits import CommandError
from slipstream_client.transport import DEFAULT_URL

DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class Profile:
    """What one sign-in remembers. An empty value is one that is not known."""

    url: str = ""
    api_key: str = ""  # slm_…: the management API
    api_key_id: str = ""  # of a key that `slipstream login` made, so that `logout` can revoke it
    session_token: str = ""  # a person's session, for operators: `slipstream login --as-person`
    inference_url: str = ""  # ends in /v1
    inference_key: str = ""  # sls_…: `slipstream chat`
    organization: str = ""
    project: str = ""


def profile_name(given: str | None, environment: Mapping[str, str] = os.environ) -> str:
    return given or environment.get("SLIPSTREAM_PROFILE") or DEFAULT_PROFILE


def path(environment: Mapping[str, str] = os.environ) -> Path:
    if folder := environment.get("SLIPSTREAM_CONFIG_DIR"):
        return Path(folder) / "credentials.json"
    base = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "slipstream" / "credentials.json"


def load(name: str, environment: Mapping[str, str] = os.environ) -> Profile:
    """The stored profile; an empty one if there is none. Raises CommandError for a file that others can read."""
    return _read(path(environment)).get(name, Profile())


def effective(profile: Profile, environment: Mapping[str, str] = os.environ) -> Profile:
    """The profile as it applies: variables go before what is stored, and an address has a default."""
    names = {
        "url": "SLIPSTREAM_URL",
        "api_key": "SLIPSTREAM_API_KEY",
        "inference_url": "SLIPSTREAM_INFERENCE_URL",
        "inference_key": "SLIPSTREAM_INFERENCE_KEY",
        "organization": "SLIPSTREAM_ORGANIZATION",
        "project": "SLIPSTREAM_PROJECT",
    }
    given = {field: environment[variable] for field, variable in names.items() if environment.get(variable)}
    found = replace(profile, **given)
    return replace(found, url=found.url or DEFAULT_URL)


def save(name: str, profile: Profile, environment: Mapping[str, str] = os.environ) -> Path:
    """Store the profile under its name (an empty one is forgotten); returns the file's path."""
    target = path(environment)
    known = _read(target)
    known[name] = profile
    stored = {key: {k: v for k, v in asdict(value).items() if v} for key, value in known.items() if value != Profile()}
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp makes the file with mode 0600; the rename leaves no moment with half a file.
    handle, scratch = tempfile.mkstemp(dir=target.parent)
    with open(handle, "w") as file:
        json.dump({"profiles": stored}, file, indent=2)
    os.replace(scratch, target)
    return target


def _read(source: Path) -> dict[str, Profile]:
    try:
        if source.stat().st_mode & 0o077:
            raise CommandError(f"{source} holds keys and others can read it: run `chmod 600 {source}`.")
        stored = json.loads(source.read_text())["profiles"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{source} is damaged: remove it and sign in again.") from error
    known = {field.name for field in fields(Profile)}
    return {name: Profile(**{k: str(v) for k, v in values.items() if k in known}) for name, values in stored.items()}
