"""Our small PyTorch engine for one device: continuous batching around the speculative step."""

from dataplane.engines.embedded.engine import EmbeddedEngine
from dataplane.engines.embedded.target import EmbeddedTarget

__all__ = ["EmbeddedEngine", "EmbeddedTarget"]
