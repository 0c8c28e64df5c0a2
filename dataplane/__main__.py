"""`python -m dataplane`: run one node. Prints a line for each phase on the way to readiness."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

from dataplane.config import ConfigError, read_config


def main() -> int:
    started = time.monotonic()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "botocore", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    def say(phase: str) -> None:
        print(f"[{time.monotonic() - started:6.2f}s] node: {phase}", flush=True)

    try:
        config = read_config(sys.argv[1:], os.environ)
        # Torch takes seconds to import: a wrong flag is told before that.
        import uvloop

        from dataplane.node import Node, bind, exclusive_state
        from dataplane.server.engines import load_engine

        with exclusive_state(config.state_dir), bind(config) as listener:
            say(f"loading {config.model_name} from {config.model}")
            loaded = load_engine(config)
            say(f"engine {config.engine} is loaded")
            node = Node(config, loaded, listener, say)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return 0 if runner.run(node.serve()) else 1
    except (ConfigError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
