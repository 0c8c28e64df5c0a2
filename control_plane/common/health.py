"""Live: the process answers. Ready: the database answers, with the schema that this code expects."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> JsonResponse:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return JsonResponse({"status": "not ready", "reason": f"database: {type(error).__name__}"}, status=503)
    if pending:
        return JsonResponse({"status": "not ready", "reason": f"{len(pending)} migrations are pending"}, status=503)
    return JsonResponse({"status": "ready"})
