"""A search index of a test's own, for `search`, whose results are those it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class SearchIndex:
    """Answers every search with the same results, on a free loopback port.

    Attributes:
        host: Host and port.
        asked: The queries that came, in that order.
    """

    def __init__(self, results: Sequence[dict[str, Any]]) -> None:
        self.asked: list[dict[str, list[str]]] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                target = urlsplit(self.path)
                found = target.path == "/v1/search"
                if found:
                    index.asked.append(parse_qs(target.query))
                raw = json.dumps({"num_results": len(results), "results": list(results)}).encode()
                self.send_response(200 if found or target.path == "/v1/_ping" else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, name="search index")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
