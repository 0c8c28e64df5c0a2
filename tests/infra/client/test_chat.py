"""`slipstream chat` against an address that is not the right one."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.infra.client.shell import Shell


class Stranger(BaseHTTPRequestHandler):
    """Another service's inference: it knows no key of ours."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"error": {"message": "The API key is not valid.", "code": "invalid_api_key"}}'
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_refused_inference_key_says_where_it_was_sent_and_is_no_management_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/v1"
        monkeypatch.setenv("SLIPSTREAM_INFERENCE_URL", address)
        ran = Shell(capsys, monkeypatch)("chat", "helpdesk", "Hello", "--key", "sls_live_x")
        server.shutdown()
    assert ran.status == 4
    assert address in ran.err and "SLIPSTREAM_INFERENCE_KEY" in ran.err
    assert "SLIPSTREAM_API_KEY" not in ran.err
