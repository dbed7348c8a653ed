// Sends with the official CloudEvents SDK in each mode, and reads back what Nexus then has.
//
//   node cloud_events.mjs http://127.0.0.1:3000 --token T
//
// Each answer is a line of JSON, {"sent":<mode>,"status":…,"data":…}; each event that is read back too,
// {"received":<the CloudEvent>}, after the SDK has parsed and checked it. Then the same over a WebSocket, where each
// message is one event: {"streamed":<the CloudEvent>}.

import { parseArgs } from "node:util";
import { CloudEvent, HTTP, Mode } from "cloudevents";
import WebSocket from "ws";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { token: { type: "string", default: "" } },
});
const address = `${positionals[0]}/api/v1/events`;
const authorization = `Bearer ${values.token}`;
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const event = (id) =>
  new CloudEvent({
    id,
    source: "/sdk/javascript",
    type: "VOTE_CAST",
    // This SDK does not escape what it puts into headers.
    subject: "voter 7",
    time: "2026-11-21T06:00:00.000Z",
    myextension: "kept by nobody",
    datacontenttype: "application/json",
    data: { proposalId: "p", voterId: id, decision: "for" },
  });

async function send(mode, { headers, body }) {
  const response = await fetch(address, { method: "POST", headers: { ...headers, authorization }, body });
  const { data, code } = await response.json();
  print({ sent: mode, status: response.status, data, code });
}

await send(Mode.BINARY, HTTP.binary(event("binary")));
await send(Mode.STRUCTURED, HTTP.structured(event("structured")));
await send(Mode.BATCH, {
  headers: { "content-type": "application/cloudevents-batch+json" },
  body: JSON.stringify([event("batch-1"), event("batch-2")]),
});
// The same event once more.
await send(Mode.BINARY, HTTP.binary(event("binary")));

const response = await fetch(`${address}?patterns=vote.cast`, {
  headers: { authorization, accept: "application/cloudevents-batch+json" },
});
const message = { headers: Object.fromEntries(response.headers), body: await response.text() };
for (const received of HTTP.toEvent(message)) {
  received.validate();
  print({ received });
}

const stream = `${positionals[0].replace(/^http/, "ws")}/api/v1/stream?patterns=vote.cast&from=earliest`;
const socket = new WebSocket(stream, ["cloudevents.json"], { headers: { authorization } });
await new Promise((resolve, reject) => {
  // The four, the one that is sent here, and the answer to it.
  let expected = 6;
  socket.on("open", () => socket.send(HTTP.structured(event("socket")).body));
  socket.on("message", (data) => {
    const headers = { "content-type": "application/cloudevents+json" };
    const streamed = HTTP.toEvent({ headers, body: data.toString() });
    streamed.validate();
    print({ streamed });
    expected -= 1;
    if (expected === 0) socket.close();
  });
  socket.on("error", reject);
  socket.on("close", (code, reason) => {
    if (expected === 0) resolve();
    else reject(new Error(`closed with ${code} ${reason}`));
  });
});
