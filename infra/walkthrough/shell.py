"""A shell in which commands run one by one; variables and functions stay, and questions are answered."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from pathlib import Path

_TIMEOUT_SECONDS = 1800.0
_MAIL_SECONDS = 20.0
_PASSWORD_ASKED = re.compile(rb"Password[^\n]*:\n?\Z")
_CODE_ASKED = re.compile(rb"Code from the mail[^\n]*:\n?\Z")
_CODE = re.compile(r"^[A-Z0-9]{3,}(?:-[A-Z0-9]{3,})*$", re.MULTILINE)


class CommandFailed(Exception):
    """A command of the document ended with another status than 0."""


class Shell:
    """Commands of one person, in a home of their own.

    home: an empty folder. tools: the folder that holds `slipstream`. mail: where the service writes its mails.
    """

    def __init__(self, home: Path, *, tools: Path, mail: Path) -> None:
        self._home = home
        self._mail = mail
        self._state = home / ".state"
        self._state.touch()
        self.password = secrets.token_urlsafe(12)
        inherited = {name: os.environ[name] for name in ("LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
        self._environment = inherited | {
            "HOME": str(home),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PASSWORD": self.password,
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def run(self, command: str) -> str:
        """What the command printed, errors included. Raises CommandFailed."""
        # Everything but what bash itself keeps read-only goes from one command to the next, arrays too.
        keep = "declare -p | grep -vE '^declare -[a-zA-Z]*r'; declare -f"
        script = f"set -a -o pipefail; . {self._state} 2>/dev/null; {command}\nstatus=$?; "
        script += f"{{ {keep}; }} > {self._state}; exit $status"
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            printed = self._converse(process)
        if process.returncode != 0:
            raise CommandFailed(f"$ {command}\n{printed}\nended with status {process.returncode}")
        return printed

    def _converse(self, process: subprocess.Popen[bytes]) -> str:
        """Read to the end, and type what is asked for."""
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        printed = b""
        while piece := os.read(process.stdout.fileno(), 65_536):
            printed += piece
            answer = None
            if _PASSWORD_ASKED.search(printed):
                answer = self.password
            elif _CODE_ASKED.search(printed):
                answer = self._code()
            if answer is not None:
                process.stdin.write(f"{answer}\n".encode())
                process.stdin.flush()
            if time.monotonic() > deadline:
                process.kill()
        process.stdin.close()
        return printed.decode()

    def _code(self) -> str:
        """The code of the newest mail."""
        deadline = time.monotonic() + _MAIL_SECONDS
        while time.monotonic() < deadline:
            mails = sorted(self._mail.glob("*"), key=lambda path: path.stat().st_mtime)
            if mails and (found := _CODE.findall(mails[-1].read_text())):
                return str(found[-1])
            time.sleep(0.2)
        raise CommandFailed(f"No mail with a code came to {self._mail}.")
