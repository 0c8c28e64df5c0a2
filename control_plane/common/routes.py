"""What the URLconf serves, as a list: whatever must hold for every path is checked over this list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is as in the URLconf, without the first slash: `api/v1/endpoints/<str:endpoint_id>`."""

    path: str
    view: Callable[..., Any]

    @property
    def methods(self) -> tuple[str, ...]:
        """HTTP methods of a class-based view, upper-case; empty for a view that is a function."""
        view = getattr(self.view, "cls", None) or getattr(self.view, "view_class", None)
        if view is None:
            return ()
        return tuple(name.upper() for name in view.http_method_names if name != "options" and hasattr(view, name))


def routes(prefix: str = "") -> list[Route]:
    """Every route whose path begins with `prefix`, ordered by path."""
    found = (route for route in _walk(get_resolver().url_patterns, "") if route.path.startswith(prefix))
    return sorted(found, key=lambda route: route.path)


def _walk(patterns: list[Any], above: str) -> Iterator[Route]:
    for pattern in patterns:
        path = above + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield Route(path, pattern.callback)
