"""A web server on this machine that serves files well and badly, and remembers what it was asked."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes, self.asked, self.released = {}, [], threading.Event()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """Clients that leave in the middle are what is tested."""


class Handler(BaseHTTPRequestHandler):
    server: Loopback

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        route = self.server.routes.get(self.path)
        if route is None:
            self.send_error(404)
        else:
            route(self)

    def answer(self, body, *, length=None, status=200, **headers):
        """Headers and body; names of headers have underscores for dashes."""
        self.send_response(status)
        headers.setdefault("Content_Type", "application/octet-stream")
        if length != "none":
            headers["Content_Length"] = len(body) if length is None else length
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = Loopback()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def good(body, **headers):
    """Ignores ranges."""
    return lambda handler: handler.answer(body, **headers)


def cut(body, keep):
    """Announces everything and leaves in the middle."""
    return lambda handler: handler.answer(body[:keep], length=len(body), ETag='"v1"')


def longer(body, extra):
    """Announces less than it sends."""
    return lambda handler: handler.answer(body + extra, length=len(body))


def redirecting(address):
    return lambda handler: handler.answer(b"", status=302, Location=address)


def stalling(body, keep):
    """Sends a beginning, then nothing, and keeps the connection."""

    def route(handler):
        handler.answer(body[:keep], length=len(body), ETag='"v1"')
        handler.server.released.wait(20)

    return route


def trickling(body):
    """One byte at a time, each well before a time-out."""

    def route(handler):
        handler.answer(b"", length=len(body))
        for index in range(len(body)):
            if handler.server.released.wait(0.02):
                return
            handler.wfile.write(body[index : index + 1])

    return route


def ranged(body, *, etag='"v1"'):
    """Understands Range and If-Range, as object stores do."""

    def route(handler):
        wanted = handler.headers.get("Range", "")
        if not wanted or handler.headers.get("If-Range", etag) != etag:
            return handler.answer(body, ETag=etag)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        place = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return handler.answer(body[start:], status=206, ETag=etag, Content_Range=place)

    return route


def in_turn(*routes):
    """A different answer each time; the last one stays."""
    rest = list(routes)
    return lambda handler: (rest.pop(0) if len(rest) > 1 else rest[0])(handler)
