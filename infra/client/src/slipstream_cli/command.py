"""How a function becomes a command: it takes a `Session` first, and the options that every command has are added.

app = Group("endpoints", "Endpoints: what clients call by name.")

@app.command("show")
def show(session: Session, endpoint: str) -> None:
    "One endpoint."
    session.show(session.get(f"/endpoints/{session.endpoint(endpoint)}"))
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from slipstream_cli.session import Session

Json = Annotated[bool, typer.Option("--json", help="Print the API's answer.")]
ProfileName = Annotated[str | None, typer.Option("--profile", help="Profile of the credentials file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check a change, and show its result, without making it.")]
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it is done.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")]
Project = Annotated[str | None, typer.Option("--project", "-p", help="Id or name; default: the only one.")]
Organization = Annotated[str | None, typer.Option("--organization", "-o", help="Id or name; default: the only one.")]

_COMMON = (
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    inspect.Parameter("dry_run", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=DryRun),
    inspect.Parameter("profile", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ProfileName),
)


class Group:
    """A group of commands, or (without a name) the commands at the top."""

    def __init__(self, name: str | None = None, help: str | None = None, **options: Any) -> None:
        self.name = name
        self.app = typer.Typer(name=name, help=help, no_args_is_help=True, **options)

    def command(self, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        def register(function: Callable[..., None]) -> Callable[..., None]:
            self.app.command(name)(_with_session(function))
            return function

        return register

    def add(self, group: Group) -> None:
        self.app.add_typer(group.app)


def _with_session(function: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]

    @functools.wraps(function)
    def run(*, as_json: bool, dry_run: bool, profile: str | None, **arguments: Any) -> None:
        session = Session.open(profile, as_json=as_json, dry_run=dry_run)
        with session.api:
            function(session, **arguments)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + list(_COMMON)
    del run.__wrapped__  # typer reads the signature, and it is this one
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
