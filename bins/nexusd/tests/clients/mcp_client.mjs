// Uses the hub with the official SDK for TypeScript: over Streamable HTTP, or over a command that relays to it.
//
//   node mcp_client.mjs URL TOKEN PLAN [PROGRAM]
//
// PLAN is an object of JSON: `calls` of tools, `read` (addresses of resources), `prompts`, and `change`, a request
// to the API after which the list of the tools has to be another. What was seen is printed as one object of JSON:
// the names of what there is, and the answers in the order of the plan. Before that, a line for each message of a
// stream that has an id: {"id":…}.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

// Of one answer, in milliseconds. Only a failing test waits that long.
const PATIENCE_MS = 300_000;

const [url, token, written, program] = process.argv.slice(2);
const plan = JSON.parse(written);
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const authorization = `Bearer ${token}`;
const patient = { timeout: PATIENCE_MS };

// How often a stream was taken up again where it had ended.
let resumed = 0;
// How often a server said how far it was.
let progress = 0;

function overHttp() {
  const counting = (address, init) => {
    if (new Headers(init.headers).has("last-event-id")) resumed += 1;
    return fetch(address, init);
  };
  return new StreamableHTTPClientTransport(new URL(url), {
    fetch: counting,
    requestInit: { headers: { authorization } },
    reconnectionOptions: {
      initialReconnectionDelay: 50,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 1.5,
      maxRetries: 100,
    },
  });
}

function overACommand() {
  const env = { NEXUS_TOKEN: token, PATH: process.env.PATH };
  return new StdioClientTransport({ command: program, args: ["mcp", "--url", url], env });
}

/** All entries of a list, page by page. */
async function every(ask, member) {
  const entries = [];
  let cursor;
  do {
    const page = await ask({ cursor }, patient);
    entries.push(...page[member]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return entries;
}

const transport = program === undefined ? overHttp() : overACommand();
const client = new Client({ name: "nexus-test", version: "1.0.0" });
const names = async () => (await every((page) => client.listTools(page, patient), "tools")).map((tool) => tool.name);

/** Calls a tool: its result, and how often its server said how far it was. */
async function call(wanted) {
  const before = progress;
  const result = await client.callTool(wanted, undefined, {
    ...patient,
    // Asked for here and counted where it arrives: the SDK drops what comes in one piece with the result.
    onprogress: () => {},
    onresumptiontoken: (id) => print({ id }),
  });
  return { result, progress: progress - before };
}

/** Counts what arrives of the progress of calls. */
function countProgress() {
  const usual = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if (message.method === "notifications/progress") progress += 1;
    usual(message, extra);
  };
}

/** Asks the API for a change: the tools that there are once the hub has told of it. */
async function after(change) {
  const told = new Promise((resolve, reject) => {
    client.setNotificationHandler(ToolListChangedNotificationSchema, resolve);
    setTimeout(() => reject(new Error("nobody told of the change")), PATIENCE_MS).unref();
  });
  const answer = await fetch(new URL(change, url), { method: "POST", headers: { authorization } });
  if (!answer.ok) throw new Error(`${change}: ${answer.status} ${await answer.text()}`);
  await told;
  return names();
}

/** Does one after another what the plan has of a kind. */
async function each(wanted = [], act) {
  const answers = [];
  for (const one of wanted) answers.push(await act(one));
  return answers;
}

await client.connect(transport, patient);
countProgress();
const seen = {
  tools: await names(),
  resources: (await every((page, options) => client.listResources(page, options), "resources")).map((it) => it.uri),
  prompts: (await every((page, options) => client.listPrompts(page, options), "prompts")).map((it) => it.name),
  calls: await each(plan.calls, call),
  read: await each(plan.read, (uri) => client.readResource({ uri }, patient)),
  got: await each(plan.prompts, (prompt) => client.getPrompt(prompt, patient)),
};
if (plan.change !== undefined) seen.after = await after(plan.change);
seen.resumed = resumed;
print(seen);
await transport.terminateSession?.();
await client.close();
