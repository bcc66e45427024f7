#!/usr/bin/env python3
"""An application that knows nothing of sessions: it says who the gateway says is asking.

    application.py NAME [ADDRESS:PORT]

/echo answers the request as JSON, /events is an event stream. Only the gateway may reach it."""

import html
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = sys.argv[1] if len(sys.argv) > 1 else "application"
ADDRESS, PORT = (sys.argv[2] if len(sys.argv) > 2 else "0.0.0.0:3000").rsplit(":", 1)


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # A whole body is read before the answer, so that the connection can be used again.
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        if path == "echo":
            told = {
                "application": NAME,
                "method": self.command,
                "target": self.path,
                "headers": [list(line) for line in self.headers.items()],
            }
            return self.answer("application/json", json.dumps(told))
        if path == "events":
            return self.events()
        user = html.escape(self.headers.get("X-Forwarded-User") or "nobody")
        self.answer(
            "text/html; charset=utf-8",
            f'<!doctype html><title>{NAME}</title><h1>{NAME}</h1><p>You are {user}.</p>'
            '<p><a href="/">application one</a> · <a href="/two">application two</a> · '
            '<a href="/.portcullis/sessions">where you are signed in</a></p>',
        )

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def answer(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        number = 0
        while True:
            number += 1
            self.wfile.write(f"data: {NAME} {number}\n\n".encode())
            self.wfile.flush()
            time.sleep(1)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # the reader went away

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


Server((ADDRESS, int(PORT)), Application).serve_forever()
