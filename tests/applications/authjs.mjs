// An application with Auth.js, database sessions and links by mail: node authjs.mjs SETTINGS, which are JSON. Says its port.
import express from "express";
import pg from "pg";
import { Auth } from "@auth/core";
import PostgresAdapter from "@auth/pg-adapter";

const settings = JSON.parse(process.argv[2]);
const pool = new pg.Pool({ connectionString: settings.database });
// As the adapter's documentation gives them.
await pool.query(`
  CREATE TABLE verification_token (identifier TEXT NOT NULL, expires TIMESTAMPTZ NOT NULL, token TEXT NOT NULL,
    PRIMARY KEY (identifier, token));
  CREATE TABLE accounts (id SERIAL, "userId" INTEGER NOT NULL, type VARCHAR(255) NOT NULL, provider VARCHAR(255) NOT NULL,
    "providerAccountId" VARCHAR(255) NOT NULL, refresh_token TEXT, access_token TEXT, expires_at BIGINT, id_token TEXT,
    scope TEXT, session_state TEXT, token_type TEXT, PRIMARY KEY (id));
  CREATE TABLE sessions (id SERIAL, "userId" INTEGER NOT NULL, expires TIMESTAMPTZ NOT NULL,
    "sessionToken" VARCHAR(255) NOT NULL, PRIMARY KEY (id));
  CREATE TABLE users (id SERIAL, name VARCHAR(255), email VARCHAR(255), "emailVerified" TIMESTAMPTZ, image TEXT,
    PRIMARY KEY (id))`);

const mails = new Map();
const config = {
  basePath: "/auth",
  trustHost: true,
  secret: settings.secret,
  adapter: PostgresAdapter(pool),
  session: {
    strategy: "database",
    ...(settings.lives && { maxAge: settings.lives / 1000, updateAge: 3600 }),
    ...(settings.busy && { updateAge: 0 }),
  },
  callbacks: { session: ({ session, user }) => ({ expires: session.expires, user: { id: user.id } }) },
  providers: [{
    id: "mail", type: "email", name: "Mail", from: "app@example.com", maxAge: 600,
    sendVerificationRequest: ({ identifier, url }) => void mails.set(identifier, url),
  }],
};

// A request to the library, with a browser's own line of cookies, or with those of the answers before it.
async function ask(cookies, url, form) {
  const cookie = typeof cookies === "string" ? cookies : [...cookies].map((pair) => pair.join("=")).join("; ");
  const headers = { cookie };
  const answer = await Auth(new Request(url, { headers, ...(form && { method: "POST", body: new URLSearchParams(form) }) }), config);
  for (const line of typeof cookies === "string" ? [] : answer.headers.getSetCookie()) {
    const pair = line.split(";", 1)[0];
    cookies.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
  }
  return answer;
}

const cookiesOf = (request) => new Map((request.get("cookie") ?? "").split("; ").filter(Boolean).map((pair) => {
  const at = pair.indexOf("=");
  return [pair.slice(0, at), pair.slice(at + 1)];
}));
const at = (path) => `${settings.origin}/auth/${path}`;
const app = express();

app.post("/login", async (request, response) => {
  const cookies = new Map();
  const email = `${request.query.user}@example.com`;
  const { csrfToken } = await (await ask(cookies, at("csrf"))).json();
  await ask(cookies, at("signin/mail"), { csrfToken, email });
  const answer = await ask(cookies, mails.get(email));
  for (const line of answer.headers.getSetCookie()) response.append("Set-Cookie", line);
  response.sendStatus(204);
});

app.post(["/logout", "/bye"], async (request, response) => {
  const cookies = cookiesOf(request);
  const { csrfToken } = await (await ask(cookies, at("csrf"))).json();
  const answer = await ask(cookies, at("signout"), { csrfToken });
  for (const line of answer.headers.getSetCookie()) response.append("Set-Cookie", line);
  response.sendStatus(204);
});

// A request that takes its time; the library writes the session anew each time it reads it, and sends its cookie again.
app.post("/change", async (request, response) => {
  await ask(request.get("cookie") ?? "", at("session"));
  await new Promise((resolve) => setTimeout(resolve, Number(request.query.takes)));
  const answer = await ask(request.get("cookie") ?? "", at("session"));
  for (const line of answer.headers.getSetCookie()) response.append("Set-Cookie", line);
  response.sendStatus(204);
});

app.get("/", async (request, response) => {
  const found = await (await ask(request.get("cookie") ?? "", at("session"))).json();
  response.json({ user: found?.user?.id ?? null, told: request.get("x-forwarded-user") ?? null });
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
