"""A tenant's rows are only ever read through the tenant: a query that names no organization or project raises.

    ApiKey.objects.filter(revoked_at=None)                         # UnscopedQuery when it runs
    ApiKey.objects.filter(project__organization_id=…)              # fine: `tenant_columns` of the model say which
    ApiKey.objects.unscoped()                                      # fine: says what it does; for the system's own work

Rows reached from a row that was found by its tenant (`project.api_keys`) carry the parent's id and pass.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from django.db import models
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql.where import AND, WhereNode

Row = TypeVar("Row", bound=models.Model, covariant=True)


class UnscopedQuery(RuntimeError):
    """A query over tenants' rows has no tenant in it: a defect of ours, never a user's mistake."""


class TenantQuerySet(models.QuerySet[Row], Generic[Row]):
    _unscoped = False

    def unscoped(self) -> TenantQuerySet[Row]:
        """Across tenants, on purpose."""
        clone: TenantQuerySet[Row] = self.all()
        clone._unscoped = True
        return clone

    def _clone(self) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        clone._unscoped = self._unscoped
        return clone

    def _require_scope(self) -> None:
        columns = getattr(self.model, "tenant_columns", ("organization",))
        if not self._unscoped and not self.query.is_empty() and not _names(self.query.where, frozenset(columns)):
            raise UnscopedQuery(f"{self.model.__name__}: filter on one of {', '.join(columns)}, or say .unscoped()")

    def _fetch_all(self) -> None:
        if self._result_cache is None:  # type: ignore[has-type]
            self._require_scope()
        super()._fetch_all()  # type: ignore[misc]

    def iterator(self, *arguments: Any, **options: Any) -> Any:
        self._require_scope()
        return super().iterator(*arguments, **options)

    def count(self) -> int:
        self._require_scope()
        return super().count()

    def exists(self) -> bool:
        self._require_scope()
        return super().exists()

    def aggregate(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        self._require_scope()
        return super().aggregate(*arguments, **options)

    def update(self, **values: Any) -> int:
        self._require_scope()
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._require_scope()
        return super().delete()


class TenantManager(models.Manager[Row], Generic[Row]):
    def get_queryset(self) -> TenantQuerySet[Row]:
        return TenantQuerySet(self.model, using=self._db)

    def unscoped(self) -> TenantQuerySet[Row]:
        return self.get_queryset().unscoped()


class TenantModel(models.Model):
    """Base of every row that belongs to a tenant. `tenant_columns`: the foreign keys (or ids) that name the tenant."""

    tenant_columns: ClassVar[tuple[str, ...]] = ("organization",)
    objects: ClassVar[TenantManager[Any]] = TenantManager()

    class Meta:
        abstract = True


def _names(where: WhereNode, columns: frozenset[str]) -> bool:
    """Whether an AND-ed condition pins one of the columns by equality (or membership)."""
    if where.negated or (where.connector != AND and len(where.children) > 1):
        return False
    for child in where.children:
        if isinstance(child, WhereNode):
            if _names(child, columns):
                return True
        elif _pins(child, columns):
            return True
    return False


def _pins(condition: Any, columns: frozenset[str]) -> bool:
    if not isinstance(condition, Lookup) or condition.lookup_name not in ("exact", "in"):
        return False
    return isinstance(condition.lhs, Col) and condition.lhs.target.name in columns
