"""How the OpenAPI document is made from the views."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

from control_plane.common import responses
from control_plane.common.examples import add_examples

DESCRIPTION = """\
Endpoints, speculators, training runs, keys, webhooks, usage and money of a Slipstream organization.

* **Who**: `Authorization: Bearer slm_…` (a management key), or the dashboard's session. Another organization's object
  is the same 404 as an absent one.
* **Dangerous acts** of a person's session need an authentication within 15 minutes, else they are a 403
  `reauthentication_required`: changing members, invitations, service accounts and their keys, or whether a second
  factor is required; exporting or deleting traffic; deleting an endpoint; draining a node, taking its credential or
  making a token for a new one. Repeat them after `POST /_allauth/app/v1/auth/reauthenticate`. Keys have no second way
  to prove themselves and are not asked.
* **Bodies** are JSON (`application/json`, at most 1 MiB, 64 levels deep). An unknown field or parameter is a 400; every
  error is an RFC 9457 problem whose `errors` point at the field.
* **Lists** are newest first: `?limit=` (1 to 100, by default 20) and `?after=` (`next_cursor` of the page before).
* **Writes** take `?validate_only=true`: everything is checked, permissions and states too, the answer (200) is the one
  to expect without its secrets, and nothing happens. Ids in it name nothing.
* **POST** takes `Idempotency-Key` (1 to 255 characters, kept for 24 hours): a repeated request gets the first one's
  answer, marked with `Idempotency-Replayed: true` (and without secrets), as long as the caller still has the
  permissions that it took; the same key with another request is a 422.
* **Changes of an endpoint** need its ETag as `If-Match`.
* **Long work** is a 202 with the resource, whose `state` and `state_reason` tell how it goes.
* **Limits**: 600 requests a minute for each principal (a bucket that holds 600 and fills in a minute), 60 failed
  authentications a minute for each address, unless the operator set others: `RateLimit-Policy` and `RateLimit` tell
  (draft-ietf-httpapi-ratelimit-headers). A 429 or 503 always has `Retry-After`.
"""
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeating a POST with the same key and body replays its answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_VALIDATE_ONLY = {
    "name": "validate_only",
    "in": "query",
    "required": False,
    "description": "Check everything and change nothing.",
    "schema": {"type": "boolean", "default": False},
}
_VALIDATED = "Only with `validate_only`: what the request would have answered."
_PUBLIC = ("/api/v1/schema", "/api/v1/docs")


class ApiSchema(AutoSchema):
    """Query parameters come from the view's `queries`, If-Match from its `conditional`, the tag from the path."""

    def get_override_parameters(self) -> list[Any]:
        query = getattr(self.view, "queries", {}).get(self.method.lower())
        return [query] if query else []

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/api/v1/").split("/")[0]]

    def get_summary(self) -> str:
        words = str(self.get_operation_id()).replace("_", " ")
        return f"{words[0].upper()}{words[1:]}".replace("Api ", "API ").replace(" api ", " API ")

    def get_operation(self, *arguments: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*arguments, **options)
        required = getattr(self.view, "conditional", {}).get(self.method.lower())
        if operation is not None and required is not None:
            operation.setdefault("parameters", []).append(
                {
                    "name": "If-Match",
                    "in": "header",
                    "required": required,
                    "description": "The ETag that you read, or `*`.",
                    "schema": {"type": "string"},
                }
            )
        return operation


def only_management_paths(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The public document describes /api/v1; nodes' own paths are described by `dataplane/contracts.py`."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def add_common_parts(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """What all operations share: errors, headers, validation, idempotency; and examples of real answers."""
    result["info"]["description"] = DESCRIPTION
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = responses.PROBLEM
    components["headers"] = responses.HEADERS
    components["responses"] = responses.REFUSALS
    _allow_null_once(schemas)
    for name, schema in schemas.items():
        if name.endswith("Request") and schema.get("type") == "object":
            schema["additionalProperties"] = False
    tags = set()
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            tags.update(operation.get("tags", ()))
            _complete(method, path, operation)
    result["tags"] = [{"name": name} for name in sorted(tags)]
    add_examples(result)
    return result


def _allow_null_once(node: Any) -> None:
    """A value that may be anything may be null already: as one of two choices, null would match both."""
    if isinstance(node, dict):
        if node.get("oneOf") == [{}, {"type": "null"}]:
            del node["oneOf"]
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        _allow_null_once(child)


def _complete(method: str, path: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("default", None)
    parameters = operation.setdefault("parameters", [])
    if method != "get":
        parameters.append(_VALIDATE_ONLY)
        success = next(answers[status] for status in sorted(answers) if status.startswith("2"))
        if "200" not in answers and success.get("content"):
            answers["200"] = {"description": _VALIDATED, "content": success["content"]}
    if method == "post":
        parameters.append(_IDEMPOTENCY_KEY)
    for answer in answers.values():
        answer["description"] = answer.get("description") or "Done."
        answer["headers"] = responses.COMMON_HEADERS | answer.get("headers", {})
    if path not in _PUBLIC:
        answers |= {str(status): responses.reference(status) for status in responses.refusals(method, operation, path)}
    operation["responses"] = dict(sorted(answers.items()))
