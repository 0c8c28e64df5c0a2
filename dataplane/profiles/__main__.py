"""`python -m dataplane.profiles [NAME]`: the profiles, or one profile's launch command and memory budget."""

from __future__ import annotations

import argparse
import shlex
import sys

from dataplane.profiles.budget import budget
from dataplane.profiles.profile import ProfileError, load_profile, profile_names


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m dataplane.profiles", description="Launch commands of known nodes.")
    parser.add_argument("name", nargs="?", help="a profile; without one, all are listed")
    parser.add_argument("--model", help="folder of the target model")
    parser.add_argument("--draft", help="folder of the EAGLE-3 checkpoint")
    parser.add_argument(
        "--replica", action="store_true", help="print the command of an unmodified SGLang with EAGLE3 instead"
    )
    parser.add_argument("--budget", action="store_true", help="print the memory of one accelerator instead")
    parser.add_argument("--reasons", action="store_true", help="print why each choice was made instead")
    options = parser.parse_args(argv)
    if options.name is None:
        for name in profile_names():
            print(f"{name:<28}{load_profile(name).summary}")
        return 0
    try:
        profile = load_profile(options.name)
    except ProfileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.budget:
        print(budget(profile))
    elif options.replica:
        try:
            print(shlex.join(profile.replica_command(model=options.model, draft=options.draft)))
        except ProfileError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    elif options.reasons:
        for name, reason in profile.reasons.items():
            print(f"{name}: {reason}")
        for name, argument in profile.arguments.items():
            print(f"--{name} {argument.value}: {argument.reason}")
    else:
        print(shlex.join(profile.command(model=options.model, draft=options.draft)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
