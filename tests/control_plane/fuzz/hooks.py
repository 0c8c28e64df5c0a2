"""What schemathesis is told about Slipstream (SCHEMATHESIS_HOOKS): ids of real objects, and whose they are.

Nearly every random id is a 404: half of the ids in paths and bodies are therefore the tester's own, some are another
tenant's, the rest is made up. Which, is a hash of what was generated: a failure can be repeated.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import schemathesis

# By route (as in the OpenAPI file), its path parameters; under "" what bodies and queries may name.
_OURS: dict[str, dict[str, str]] = json.loads(os.environ["SLIPSTREAM_FUZZ_OURS"])
_THEIRS: dict[str, dict[str, str]] = json.loads(os.environ["SLIPSTREAM_FUZZ_THEIRS"])
# Without them the tester is locked out, and everything after that is a 401.
_KEEP: frozenset[str] = frozenset(json.loads(os.environ["SLIPSTREAM_FUZZ_KEEP"]))


def _replaced(values: Any, route: str = "") -> Any:
    if not isinstance(values, dict):
        return values
    ours, theirs, found = _OURS.get(route, {}), _THEIRS.get(route, {}), dict(values)
    for name in values.keys() & ours.keys():
        choice = zlib.crc32(repr(values[name]).encode("utf-8", "replace")) % 4
        found[name] = values[name] if choice == 0 else theirs[name] if choice == 1 else ours[name]
    return found


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    return _replaced(path_parameters, context.operation.path)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return _replaced(query)


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    return _replaced(body)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    sent = json.dumps([case.path_parameters, case.body], default=str)
    return case.method.upper() == "GET" or not any(kept in sent for kept in _KEEP)


@schemathesis.check
def another_tenants_ids_never_come_back(context: Any, response: Any, case: Any) -> None:
    if response.status_code < 300:
        text = response.content.decode("utf-8", "replace")
        shown = [found for found in _THEIRS[""].values() if found in text]
        assert not shown, f"the answer shows another tenant's {shown}"
