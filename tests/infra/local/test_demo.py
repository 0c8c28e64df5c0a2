from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.local.demo import wait_until_served

DEMO = {"api_key": "sls_live_demo", "endpoint": "demo"}


class Node(HTTPServer):
    """Knows the demo project from its third request on, and serves what `endpoints` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.num_requests = 0
        self.endpoints = ["demo"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Node

    def do_GET(self) -> None:
        self.server.num_requests += 1
        known = self.headers["Authorization"] == "Bearer sls_live_demo" and self.server.num_requests > 2
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": name} for name in self.server.endpoints]}).encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_node_that_does_not_know_the_project_yet_is_waited_for(node: Node) -> None:
    assert wait_until_served(DEMO, node.url, timeout_seconds=20)
    assert node.num_requests == 3


def test_an_endpoint_that_was_stopped_is_not_waited_for_in_vain(node: Node) -> None:
    node.endpoints = ["another"]
    assert not wait_until_served(DEMO, node.url, timeout_seconds=1)


def test_without_the_key_nobody_can_tell(node: Node) -> None:
    assert not wait_until_served({"endpoint": "demo"}, node.url, timeout_seconds=20)
    assert node.num_requests == 1


def test_a_node_that_is_gone_is_not_served(node: Node) -> None:
    assert not wait_until_served(DEMO, "http://127.0.0.1:9/v1", timeout_seconds=0.5)
