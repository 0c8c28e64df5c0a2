"""`python -m tests.contract.scripted_node FLAGS`: a whole node, like `python -m dataplane`, over a scripted engine."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from dataplane.config import read_config
from dataplane.node import Node, bind, exclusive_state
from dataplane.server.engines import LoadedEngine
from tests.dataplane.server.fakes import ByteCodec, ScriptedEngine


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    config = read_config(sys.argv[1:], os.environ)
    engine = LoadedEngine(
        engine=ScriptedEngine(version=None, pause_seconds=0.05),
        codec=ByteCodec(),
        max_context=4096,
        refresh=lambda wanted: [],
        forget=lambda project_id: None,
        is_alive=lambda: True,
        stop=lambda: None,
    )
    with exclusive_state(config.state_dir), bind(config) as listener:
        node = Node(config, engine, listener, lambda phase: print(phase, flush=True))
        return 0 if asyncio.run(node.serve()) else 1


if __name__ == "__main__":
    sys.exit(main())
