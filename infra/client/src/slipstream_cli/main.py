"""`slipstream`: assembled from its groups. Every failure is one message on stderr and a documented exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from slipstream_cli import exits
from slipstream_cli.command import Group
from slipstream_cli.commands import (
    account,
    api,
    audit,
    bench,
    chat,
    endpoints,
    keys,
    members,
    money,
    nodes,
    organizations,
    rollouts,
    runs,
    service_accounts,
    speculators,
    traffic,
    webhooks,
)
from slipstream_client.errors import SlipstreamError

_EPILOG = (
    "Keys come from `slipstream login`, or from SLIPSTREAM_API_KEY and SLIPSTREAM_URL. Exit status: 0 done, 1 failed, "
    "2 wrong usage or field, 3 not found, 4 denied, 5 conflict, 6 too many requests, 7 unavailable, 8 not reached."
)


def _app() -> typer.Typer:
    top = Group(None, "Slipstream: endpoints whose speculators learn.", epilog=_EPILOG, rich_markup_mode=None)
    for register in (account.register, api.register, bench.register, chat.register, money.register):
        register(top)
    for group in (
        *(organizations.organizations, organizations.projects, members.members, members.invitations),
        *(keys.api_keys, service_accounts.accounts, service_accounts.keys),
        *(endpoints.app, rollouts.app, rollouts.deployments, endpoints.models),
        *(speculators.app, runs.app, traffic.app, webhooks.app, audit.app, nodes.app, nodes.tokens),
    ):
        top.add(group)
    return top.app


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. Nobody sees a traceback for what can go wrong in use."""
    try:
        status = _app()(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.Abort:
        return exits.INTERRUPTED
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return exits.INTERRUPTED
    except BrokenPipeError:  # `slipstream … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SlipstreamError as error:
        print(f"slipstream: {exits.words_of(error)}", file=sys.stderr)
        return exits.status_of(error)
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        error.show()  # type: ignore[attr-defined]  # a usage error of the parser
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
