// Receives webhooks and verifies each with the official libraries, once for each secret.
//
//   node webhooks.mjs --secrets FILE
//
// FILE holds the secrets that the receiver has, one a line; it is read anew for each request. The first line of output
// says where it listens, {"listening":<port>}; each request is a line, {"id":…,"verified":[{"standardwebhooks":true,
// "svix":true}, …],"event":<the body>}. A request that either library refuses with the first secret is answered 401.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Webhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";

const { values } = parseArgs({ options: { secrets: { type: "string" } } });
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const verifies = (Library, secret, body, headers) => {
  try {
    new Library(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
};

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts).toString();
    const secrets = readFileSync(values.secrets, "utf8").trim().split("\n");
    const verified = secrets.map((secret) => ({
      standardwebhooks: verifies(Webhook, secret, body, request.headers),
      svix: verifies(SvixWebhook, secret, body, request.headers),
    }));
    print({ id: request.headers["webhook-id"], verified, event: JSON.parse(body) });
    response.writeHead(verified[0].standardwebhooks && verified[0].svix ? 204 : 401).end();
  });
});
server.listen(0, "127.0.0.1", () => print({ listening: server.address().port }));
