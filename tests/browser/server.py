"""A site for a browser: a thread for each connection, and none left when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread, QuietWSGIRequestHandler


class OneRequestHandler(QuietWSGIRequestHandler):
    protocol_version = "HTTP/1.0"  # a connection that Chromium keeps open would outlive the test


class JoiningServer(ThreadedWSGIServer):
    daemon_threads = False


class SiteThread(LiveServerThread):
    server_class = JoiningServer

    def _create_server(self, connections_override: object = None) -> JoiningServer:
        return JoiningServer((self.host, self.port), OneRequestHandler, allow_reuse_address=False)


@contextmanager
def serving() -> Iterator[str]:
    """Serve the project of the test on a free port, and yield the address; each thread has connections of its own."""
    thread = SiteThread("127.0.0.1", StaticFilesHandler)
    thread.start()
    thread.is_ready.wait()
    if thread.error is not None:
        raise thread.error
    try:
        yield f"http://{thread.host}:{thread.port}"
    finally:
        thread.terminate()
