#!/usr/bin/env python3
"""The application: its pages under /app/, and notes that each user writes. It knows nothing of sessions: who it is,
the gateway says in X-Forwarded-User. Only the gateway may reach it."""

import json
import os
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

PAGES = pathlib.Path(__file__).parent / "app"
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
NOTES, LOCK = {}, Lock()  # for each user: id of the note -> text


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/":
            return self.answer(302, b"", {"Location": "/app/"})
        if path == "/app/notes":
            with LOCK:
                mine = list(NOTES.get(self.user(), {}).values())
            return self.answer(200, json.dumps(mine).encode(), {"Content-Type": "application/json"})
        name = path.removeprefix("/app/") or "index.html"
        file = PAGES / name
        if not path.startswith("/app/") or "/" in name or file.suffix not in KINDS or not file.is_file():
            return self.answer(404, b"not found")
        self.answer(200, file.read_bytes(), {"Content-Type": KINDS[file.suffix], "Cache-Control": "no-cache"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, 64 * 1024))
        if self.path != "/app/notes" or self.headers.get_content_type() != "application/json":
            return self.answer(404, b"not found")
        try:
            note = json.loads(body)
            key, text = str(note["id"])[:64], str(note["text"])[:1000]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, b"a note has an id and a text")
        with LOCK:
            # Sent twice, because an answer was lost, it is still one note.
            NOTES.setdefault(self.user(), {}).setdefault(key, text)
        self.answer(204)

    def user(self):
        return self.headers.get("X-Forwarded-User", "")

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    host, port = os.environ.get("NOTES_ADDRESS", "127.0.0.1:3000").rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Application).serve_forever()
