"""What a command works with: the API, what was chosen, and how to show the answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from slipstream_cli import credentials, output
from slipstream_cli.credentials import Profile
from slipstream_cli.exits import NOT_FOUND, USAGE, CommandError
from slipstream_cli.person import api_of_session
from slipstream_client.errors import WaitTimedOut
from slipstream_client.transport import Transport
from slipstream_client.waiting import DEFAULT_WAIT_SECONDS, POLL_SECONDS, wait_for

Object = dict[str, Any]
_PAGE = 100


@dataclass(frozen=True)
class Session:
    """One run of the command line."""

    api: Transport
    profile_name: str
    profile: Profile  # as it applies, variables included
    as_json: bool
    dry_run: bool = False

    @classmethod
    def open(cls, profile: str | None, *, as_json: bool, dry_run: bool = False) -> Session:
        name = credentials.profile_name(profile)
        found = credentials.effective(credentials.load(name))
        if found.session_token and not found.api_key:
            api = api_of_session(found.url, found.session_token)
        else:
            api = Transport(found.api_key, found.url, headers={"User-Agent": "slipstream-cli"})
        return cls(api, name, found, as_json, dry_run)

    # ------------------------------------------------------------------------------------------------------- requests

    def get(self, path: str, **params: Any) -> Object:
        return self.call("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Object:
        return self.call("POST", path, body, params=params)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """The answer's object; {} for an answer without one. `path` is relative to /api/v1; None is left out."""
        query = _given(params or {})
        if self.dry_run and method != "GET":
            query["validate_only"] = "true"
        response = self.api.send(
            method, f"/api/v1{path}", params=query, headers=headers, json=None if body is None else _given(body)
        )
        answer: Object = response.json() if response.content else {}
        return answer

    def page(self, path: str, *, limit: int, **params: Any) -> Object:
        """At most `limit` items in the form of a page of the API, however many pages that takes."""
        items: list[Object] = []
        found: Object = {"next_cursor": None}
        while True:
            size = min(_PAGE, limit - len(items))
            found = self.get(path, **params, limit=size, after=found["next_cursor"])
            items += found["data"]
            if found["next_cursor"] is None or len(items) >= limit:
                return {**found, "data": items}

    # -------------------------------------------------------------------------------------------------------- choices

    def organization(self, given: str | None) -> str:
        """The id of the organization that is meant: by option, variable or profile; else the only one there is."""
        return self._chosen("organization", "/organizations", "org_", given or self.profile.organization)

    def project(self, given: str | None) -> str:
        return self._chosen("project", "/projects", "prj_", given or self.profile.project)

    def endpoint(self, given: str, project: str | None = None) -> str:
        """The id of an endpoint that is named by its id or its name."""
        if given.startswith("ep_"):
            return given
        chosen = self.project(project) if project or self.profile.project else None
        return self._named("endpoint", "/endpoints", given, project_id=chosen)

    def speculator(self, given: str | None, project: str | None = None) -> str:
        """The id of a speculator; without one, the only one of the project."""
        if given:
            return given
        return self._only("speculator", "/speculators", project_id=self.project(project))

    def _chosen(self, kind: str, path: str, prefix: str, given: str) -> str:
        if given.startswith(prefix):
            return given
        return self._named(kind, path, given) if given else self._only(kind, path)

    def _named(self, kind: str, path: str, name: str, **params: Any) -> str:
        found = [item for item in self.page(path, limit=10_000, **params)["data"] if item["name"] == name]
        if not found:
            raise CommandError(f"There is no {kind} named {name!r}.", NOT_FOUND)
        if len(found) > 1:
            raise CommandError(f"{len(found)} {kind}s are named {name!r}: give the id. {_ids(found)}", USAGE)
        return str(found[0]["id"])

    def _only(self, kind: str, path: str, **params: Any) -> str:
        found = self.page(path, limit=2, **params)["data"]
        if len(found) == 1:
            return str(found[0]["id"])
        if found:
            raise CommandError(f"There are several {kind}s: say which one. {_ids(found)}, …", USAGE)
        raise CommandError(f"There is no {kind} yet.", NOT_FOUND)

    # --------------------------------------------------------------------------------------------------------- output

    def show(self, thing: Object, note: str = "") -> None:
        """One object; the note is for people only."""
        if self.as_json:
            output.print_json(thing)
            return
        if thing:
            output.print_fields(thing)
        self.note(note)

    def show_page(self, page: Object, columns: Sequence[output.Column]) -> None:
        if self.as_json:
            output.print_json(page)
            return
        if page["data"]:
            output.print_table(page["data"], columns)
        else:
            self.note("(none)")
        if page.get("has_more"):
            self.note("(there are more: raise --limit)")

    def note(self, text: str) -> None:
        if text and not self.as_json:
            output.note(text)

    # --------------------------------------------------------------------------------------------------------- people

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only with a yes; where nobody can be asked, only with --yes."""
        if yes or self.dry_run:
            return
        if not sys.stdin.isatty():
            raise CommandError(f"{question} Nobody is here to confirm: add --yes.", USAGE)
        if not typer.confirm(question, err=True):
            raise CommandError("Nothing was done.")

    def until(self, title: str, read: Callable[[], Object | None], *, timeout: float) -> Object:
        """The first object that `read` returns; for what has no state of its own to wait for."""
        deadline = time.monotonic() + timeout
        with output.progress(title) as move:
            while (found := read()) is None:
                if time.monotonic() > deadline:
                    raise WaitTimedOut(f"{title}: not within {timeout:.0f} s.", {})
                move("waiting", None)
                time.sleep(POLL_SECONDS)
        return found

    def wait(self, thing: Object, states: Collection[str], *, timeout: float = DEFAULT_WAIT_SECONDS) -> Object:
        """The object once it is in one of `states`, with a progress bar meanwhile."""
        if self.dry_run:
            return thing
        title = str(thing.get("name") or thing["id"])
        with output.progress(title) as move:
            return wait_for(
                self.api,
                str(thing["id"]),
                states,
                timeout=timeout,
                on_change=lambda reading: move(_words(reading), reading.get("progress")),
            )


def _given(values: Mapping[str, Any]) -> Object:
    return {name: value for name, value in values.items() if value is not None}


def _ids(found: Sequence[Object]) -> str:
    return ", ".join(f"{item['id']} ({item['name']})" if "name" in item else str(item["id"]) for item in found)


def _words(reading: Object) -> str:
    parts = [str(reading["state"]), str(reading.get("phase") or "")]
    if (loss := reading.get("loss")) is not None and sys.stderr.isatty():  # in a log it would be a line a second
        parts.append(f"loss {loss:.3f}")
    return " ".join(part for part in parts if part)
