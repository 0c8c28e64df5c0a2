"""`python -m infra.walkthrough cli|curl`: run every command of a walkthrough against the running service.

The service must be fresh (`make run` with an empty `var`): the walkthrough makes its own account. With --write the
document is rewritten with what was printed; ids are shortened, secrets masked. Without, it is only tried.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infra.walkthrough.document import Command, Mask, rewrite
from infra.walkthrough.shell import CommandFailed, Shell

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# What the documents say; a run may use other ports and another folder.
_PORT, _NODE_PORT, _VAR = 8000, 8100, "var"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 every command did what it should, 1 one failed."""
    parser = argparse.ArgumentParser(prog="python -m infra.walkthrough", description=__doc__)
    parser.add_argument("name", choices=["cli", "curl"])
    parser.add_argument("--port", type=int, default=_PORT)
    parser.add_argument("--node-port", type=int, default=_NODE_PORT)
    parser.add_argument("--var", type=Path, default=REPOSITORY / _VAR, help="folder of the service's state")
    parser.add_argument("--write", action="store_true", help="record what was printed")
    given = parser.parse_args(arguments)
    path = REPOSITORY / "infra" / "docs" / f"walkthrough-{given.name}.md"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        shell = Shell(home, tools=Path(sys.executable).parent, mail=given.var.resolve() / "mail")
        wanted = {
            f"127.0.0.1:{_PORT}": f"127.0.0.1:{given.port}",
            f"127.0.0.1:{_NODE_PORT}": f"127.0.0.1:{given.node_port}",
            f"{_VAR}/mail": str(given.var.resolve() / "mail"),
        }
        mask = Mask(((str(home), "~"), *((there, here) for here, there in wanted.items()), (shell.password, "…")))

        def run(command: Command) -> str:
            text = command.text
            for here, there in wanted.items():
                text = text.replace(here, there)
            print("\n".join(command.shown()), flush=True)
            printed = mask(shell.run(text))
            print(printed, flush=True)
            return printed

        try:
            document = rewrite(path.read_text(), run)
        except CommandFailed as error:
            print(mask(str(error)), file=sys.stderr)
            return 1
    if given.write:
        path.write_text(document)
        print(f"Written: {path.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
