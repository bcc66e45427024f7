// An application with a table of its own whose key is the cookie: node plain.mjs SETTINGS, which are JSON. Says its port.
import { randomBytes } from "node:crypto";
import express from "express";
import cookieParser from "cookie-parser";
import pg from "pg";

const settings = JSON.parse(process.argv[2]);
const pool = new pg.Pool({ connectionString: settings.database, options: settings.options });
const WEEK = 7 * 24 * 3600 * 1000;
await pool.query(`CREATE TABLE IF NOT EXISTS users (id varchar PRIMARY KEY, email text NOT NULL)`);
await pool.query(`CREATE TABLE IF NOT EXISTS sessions (id text PRIMARY KEY,
  user_id varchar NOT NULL REFERENCES users (id) ON DELETE CASCADE, expires_at timestamp NOT NULL,
  created_at timestamp NOT NULL DEFAULT now())`);
await pool.query(`INSERT INTO users VALUES ('1', 'Ada@Example.com'), ('2', 'eve@example.com')`);

async function userOf(request) {
  const { rows } = await pool.query("SELECT user_id, expires_at::text || 'Z' AS over FROM sessions WHERE id = $1", [
    request.cookies.session ?? "",
  ]);
  return rows.length && new Date(rows[0].over) > new Date() ? rows[0].user_id : null;
}

const app = express();
app.use(cookieParser());

app.post(["/login", "/api/auth/login"], async (request, response) => {
  const id = randomBytes(32).toString("base64url");
  const maxAge = Number(request.query.lives ?? WEEK);
  // As a text, from which Postgres drops the zone: UTC, whatever the zones of the database and of this process.
  const over = new Date(Date.now() + maxAge).toISOString();
  await pool.query("INSERT INTO sessions (id, user_id, expires_at) VALUES ($1, $2, $3)", [id, request.query.user, over]);
  response.cookie("session", id, { httpOnly: true, maxAge, sameSite: "lax" }).sendStatus(204);
});

app.post(["/logout", "/bye", "/api/auth/logout"], async (request, response) => {
  await pool.query("DELETE FROM sessions WHERE id = $1", [request.cookies.session]);
  response.sendStatus(204);
});

app.post("/change", (request, response) => {
  setTimeout(() => response.sendStatus(204), Number(request.query.takes));
});

app.get(["/", "/api/auth/me"], async (request, response) => {
  const told = request.get("x-forwarded-user") ?? request.get("x-user-name") ?? null;
  response.json({ user: await userOf(request), told });
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
