from __future__ import annotations

from pathlib import Path

import pytest

from infra.walkthrough.document import Command, Mask, rewrite
from infra.walkthrough.shell import CommandFailed, Shell

DOCUMENT = """\
Before.

```console
$ echo one
old output
$ echo two \\
>   three
> more old output that looks like a continuation
```

After.
"""


def test_outputs_are_replaced_and_everything_else_stays() -> None:
    ran: list[str] = []

    def run(command: Command) -> str:
        ran.append(command.text)
        return f"output {len(ran)}"

    written = rewrite(DOCUMENT, run)
    assert ran[0] == "echo one"
    assert written.startswith("Before.\n\n```console\n$ echo one\noutput 1\n$ echo two \\\n>   three\n")
    assert written.endswith("output 2\n```\n\nAfter.\n")
    assert "old output\n" not in written
    assert rewrite(written, lambda command: "again").count("again") == 2, "a record can be recorded again"


def test_a_record_keeps_no_secret_and_shortens_what_nobody_reads() -> None:
    mask = Mask((("/tmp/home", "~"), ("the password", "…")))
    key = "sls_live_3zTiAbCdEfGh_0123456789abcdefghijABCDEFGHIJKLMNOPQR"
    shown = mask(f"/tmp/home the password {key} prj_01m85c2721etqsxcpyv4jr1g9v {'ab' * 32} plain words")
    assert shown == "~ … sls_live_3zTi… prj_01m8…1g9v abababab… plain words"


def test_variables_arrays_and_functions_stay_from_one_command_to_the_next(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tools=tmp_path, mail=tmp_path)
    shell.run("NAME=$(printf 'two\\nlines') list=(a 'b c') && greet() { echo hello $1; }")
    assert shell.run('echo "$NAME"; echo ${#list[@]}; greet you') == "two\nlines\n2\nhello you\n"


def test_questions_are_answered_with_the_password_and_the_newest_mail(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tools=tmp_path, mail=tmp_path / "mail")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "1.log").write_text("Your code:\n\nAB12-CD34\n\nGoodbye.\n")
    script = 'echo "Password:"; read p; echo "Code from the mail:"; read c; test "$p" = "$PASSWORD" && echo "code $c"'
    assert shell.run(script).endswith("code AB12-CD34\n")


def test_a_command_that_fails_ends_the_walkthrough(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tools=tmp_path, mail=tmp_path)
    with pytest.raises(CommandFailed, match="status 3"):
        shell.run("echo before; exit 3")
    with pytest.raises(CommandFailed, match="status 1"):
        shell.run("false | cat")
