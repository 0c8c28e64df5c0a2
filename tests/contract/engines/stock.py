"""A child process: an unmodified SGLang (with the CPU shim alone) answers prompts greedily. JSON in, JSON out."""

from __future__ import annotations

import json
import sys


def main() -> None:
    from sglang.srt.entrypoints.engine import Engine

    work = json.load(sys.stdin)
    engine = Engine(**work["arguments"])
    try:
        answers = engine.generate(
            input_ids=work["prompts"],
            sampling_params={"temperature": 0, "max_new_tokens": work["max_tokens"], "ignore_eos": True},
        )
    finally:
        engine.shutdown()
    print("answers " + json.dumps([answer["output_ids"] for answer in answers]))
    print("meta " + json.dumps([answer["meta_info"].get("spec_accept_length") for answer in answers]))


if __name__ == "__main__":
    main()
