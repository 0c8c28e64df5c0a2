"""`manage.py node_token --name NAME`: a one-time token with which a node of that name registers.

Tokens for the same name that nobody has used are revoked: at most one is open.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from control_plane.common.errors import ServiceError
from control_plane.fleet.models import NodeToken
from control_plane.fleet.registration import LONGEST_TOKEN_SECONDS, create_token, revoke_token

ACTOR = "manage.py"


class Command(BaseCommand):
    help = "Make a one-time registration token for one node; it is printed, or written to a private file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="name of the node that may register")
        parser.add_argument("--model", default="", help="target model that it must serve; default: any")
        parser.add_argument("--valid-seconds", type=int, default=LONGEST_TOKEN_SECONDS)
        parser.add_argument("--out", type=Path, help="write the token to this file instead of printing it")

    def handle(self, *arguments: Any, **options: Any) -> None:
        name, path = options["name"], options["out"]
        try:
            with transaction.atomic():
                for token in NodeToken.objects.filter(node_name=name, used_at=None, revoked_at=None):
                    revoke_token(token, actor=ACTOR)
                _, text = create_token(
                    node_name=name, model=options["model"], valid_seconds=options["valid_seconds"], actor=ACTOR
                )
        except ServiceError as error:
            raise CommandError(error.detail) from error
        if path is None:
            self.stdout.write(text)
            return
        temporary = path.with_name(f"{path.name}.new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        temporary.replace(path)
