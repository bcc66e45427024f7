// An application with better-auth: node better_auth.mjs SETTINGS, which are JSON. Says its port.
import express from "express";
import pg from "pg";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { fromNodeHeaders } from "better-auth/node";

const settings = JSON.parse(process.argv[2]);
const auth = betterAuth({
  baseURL: settings.origin,
  secret: settings.secret,
  database: new pg.Pool({ connectionString: settings.database }),
  emailAndPassword: { enabled: true, autoSignIn: false },
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
  ...(settings.lives && { session: { expiresIn: settings.lives / 1000 } }),
  ...(settings.busy && { session: { updateAge: 0 } }),
});
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();

const app = express();
const person = (request) => ({
  name: "Ada", email: `${request.query.user}@example.com`, password: "a long enough password",
});

// What the library answers goes back with its cookies.
async function pass(answer, response) {
  for (const line of answer.headers.getSetCookie()) response.append("Set-Cookie", line);
  if (answer.ok) return response.sendStatus(204);
  response.status(answer.status).send(await answer.text());
}

app.post("/login", async (request, response) => {
  await auth.api.signUpEmail({ body: person(request), asResponse: true });
  const body = person(request);
  await pass(await auth.api.signInEmail({ body, headers: fromNodeHeaders(request.headers), asResponse: true }), response);
});

app.post(["/logout", "/bye"], async (request, response) => {
  await pass(await auth.api.signOut({ headers: fromNodeHeaders(request.headers), asResponse: true }), response);
});

// A request that takes its time; the library writes the session anew each time it reads it, and sends its cookie again.
app.post("/change", async (request, response) => {
  const headers = fromNodeHeaders(request.headers);
  await auth.api.getSession({ headers, asResponse: true });
  await new Promise((resolve) => setTimeout(resolve, Number(request.query.takes)));
  await pass(await auth.api.getSession({ headers, asResponse: true }), response);
});

app.get("/", async (request, response) => {
  const found = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  response.json({ user: found?.user.id ?? null, told: request.get("x-forwarded-user") ?? null });
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
