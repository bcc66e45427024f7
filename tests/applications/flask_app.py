"""An application with Flask-Session and SQLAlchemy: flask_app.py SETTINGS, which are JSON. Says its port."""

import json
import random
import sys
import time
from datetime import timedelta
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flask import Flask, jsonify, request, session
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy

settings = json.loads(sys.argv[1])
app = Flask(__name__)
app.config.update(
    SECRET_KEY="not used for the cookie",
    SQLALCHEMY_DATABASE_URI=settings["database"],
    SESSION_TYPE="sqlalchemy",
    SESSION_SERIALIZATION_FORMAT=settings.get("format", "msgpack"),
    PERMANENT_SESSION_LIFETIME=timedelta(milliseconds=settings.get("lives", 31 * 86_400_000)),
)
db = SQLAlchemy(app)
app.config["SESSION_SQLALCHEMY"] = db
Session(app)
with app.app_context():
    db.create_all()


@app.post("/login")
def login():
    # As Flask-Login does it.
    session["_user_id"] = request.args["user"]
    return "", 204


@app.post("/logout")
@app.post("/bye")
def logout():
    session.clear()
    return "", 204


@app.post("/change")
def change():
    """A request that takes its time and changes the session."""
    session["changed"] = random.random()
    time.sleep(int(request.args["takes"]) / 1000)
    return "", 204


@app.get("/")
def who():
    return jsonify(user=session.get("_user_id"), told=request.headers.get("X-Forwarded-User"))


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


with make_server("127.0.0.1", 0, app, server_class=Threads, handler_class=Quiet) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
