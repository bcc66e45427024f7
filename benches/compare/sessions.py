#!/usr/bin/env python3
"""Writes 100,000 native sessions into a SQLite store that `portcullis migrate` made, and their cookies, one a line.

    sessions.py DATABASE SECRET COOKIES [COUNT]

The cookie's value is base64url(token || first 16 bytes of HMAC-SHA-256(key, token)), the key HKDF-SHA-256 of the secret
under the label `cookie`, as src/session/token.rs makes it. Only what the standard library has is used.
"""
import base64, hashlib, hmac, os, sqlite3, sys, time, uuid

database, secret, cookies = sys.argv[1:4]
count = int(sys.argv[4]) if len(sys.argv) > 4 else 100_000
prk = hmac.digest(b"portcullis", secret.encode(), "sha256")
key = hmac.digest(prk, b"cookie\x01", "sha256")
now = int(time.time() * 1e6)
end = now + 86_400_000_000
day = 3_600_000_000


def user_id(number):
    return uuid.UUID(int=(now << 64) | number).bytes


store = sqlite3.connect(database)
store.execute("PRAGMA synchronous = OFF")
store.execute("PRAGMA ignore_check_constraints = ON")
# An older SQLite than the one in the program does not know what the checks of the tables use.
store.create_function("octet_length", 1, lambda text: None if text is None else len(text.encode()), deterministic=True)
users = ((user_id(i), now, 1, "active", f"user{i}", f"user{i}@example.com", "[]") for i in range(count))
store.executemany(
    "INSERT INTO users (id, created_at, email_verified, state, username, email, groups) VALUES (?, ?, ?, ?, ?, ?, ?)", users
)
rows = []
with open(cookies, "w") as lines:
    for i in range(count):
        token = os.urandom(32)
        value = base64.urlsafe_b64encode(token + hmac.digest(key, token, "sha256")[:16]).decode()
        lines.write(f"__Host-portcullis={value}\n")
        digest = hashlib.sha256(token).digest()
        rows.append((digest, os.urandom(16), user_id(i), now, now, now, end, end, -(-end // day) * day, 0, "pwd"))
store.executemany(
    "INSERT INTO sessions (digest, public_id, user_id, created_at, authenticated_at, last_seen_at, expires_at, ends_at,"
    " sweep_at, remembered, methods) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    rows,
)
store.commit()
