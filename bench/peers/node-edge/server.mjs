// The edge's job in Node.js, as its best users would write it: node:http, kafkajs, votes batched by hand.
//
// Same guarantees as `airtally edge`: a vote is checked, its voter made a pseudonym, voter and address are held to a rate, and
// 202 is said when all in-sync replicas have the vote, from an idempotent producer, keyed by voter. The poll's options are
// given by the environment instead of read from Redis.

import { createServer } from "node:http";
import { createHmac } from "node:crypto";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const env = process.env;
const ROOT = env.AIRTALLY_EDGE_SECRET;
const TOPIC = env.AIRTALLY_TOPIC;
const OPTIONS = new Set(env.PEER_OPTIONS.split(","));
const MOST_IN_FLIGHT = Number(env.AIRTALLY_EDGE_IN_FLIGHT);
const RATE = Number(env.AIRTALLY_EDGE_ADDRESS_PER_S);
const BURST = Number(env.AIRTALLY_EDGE_ADDRESS_BURST);
const MOST_BUCKETS = 200_000;
const MOST_BODY = 4096;
const LINGER_MS = 5;

const PATH = /^\/v1\/shows\/([a-z0-9][a-z0-9-]{0,62})\/polls\/([a-z0-9][a-z0-9-]{0,62})\/votes$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const FIELDS = new Set(["vote_id", "option_id", "voter"]);

const kafka = new Kafka({ brokers: env.AIRTALLY_KAFKA.split(","), logLevel: logLevel.ERROR });
const producer = kafka.producer({
  idempotent: true,
  maxInFlightRequests: 1,
  createPartitioner: Partitioners.DefaultPartitioner,
});

let waiting = [];
let inFlight = 0;
let sending = false;

async function send() {
  sending = true;
  while (waiting.length > 0) {
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    const batch = waiting;
    waiting = [];
    let failed = null;
    try {
      await producer.sendBatch({ acks: -1, topicMessages: [{ topic: TOPIC, messages: batch }] });
    } catch (error) {
      failed = error;
    }
    inFlight -= batch.length;
    for (const message of batch) message.settled(failed);
  }
  sending = false;
}

const buckets = new Map();

function isAllowed(name, rate, burst, now) {
  const bucket = buckets.get(name);
  if (bucket === undefined) {
    if (buckets.size >= MOST_BUCKETS) buckets.delete(buckets.keys().next().value);
    buckets.set(name, { left: burst - 1, at: now });
    return true;
  }
  bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) * rate) / 1000);
  bucket.at = now;
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}

const showKeys = new Map();

function pseudonym(show, voter) {
  let key = showKeys.get(show);
  if (key === undefined) {
    key = createHmac("sha256", ROOT).update(show).digest();
    showKeys.set(show, key);
  }
  return createHmac("sha256", key).update(voter).digest().toString("base64url", 0, 16);
}

function answer(response, status, content, headers = {}) {
  const body = JSON.stringify(content);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers });
  response.end(body);
}

function problem(response, status, detail, headers = {}) {
  answer(response, status, { type: "about:blank", status, detail }, { "content-type": "application/problem+json", ...headers });
}

function checked(text) {
  const ballot = JSON.parse(text);
  for (const field of Object.keys(ballot)) if (!FIELDS.has(field)) throw new Error(`unknown field ${field}`);
  if (!UUID.test(ballot.vote_id)) throw new Error("vote_id is not a UUID");
  if (!OPTIONS.has(ballot.option_id)) throw new Error("option_id is not an option");
  if (typeof ballot.voter !== "string" || ballot.voter.length < 1 || ballot.voter.length > 256) throw new Error("voter");
  return ballot;
}

function take(request, response, text) {
  const path = PATH.exec(request.url);
  if (request.method !== "POST" || path === null) return problem(response, 404, "no such address");
  if (request.headers["content-type"] !== "application/json") return problem(response, 415, "send application/json");
  const [, show, poll] = path;
  const now = performance.now();
  if (!isAllowed(request.socket.remoteAddress, RATE, BURST, now)) return problem(response, 429, "too many", { "retry-after": "1" });
  let ballots;
  try {
    const parsed = text.startsWith("[") ? JSON.parse(text) : null;
    ballots = parsed === null ? [checked(text)] : parsed.map((each) => checked(JSON.stringify(each)));
  } catch (error) {
    return problem(response, 422, String(error));
  }
  if (inFlight + ballots.length > MOST_IN_FLIGHT) return problem(response, 503, "overloaded", { "retry-after": "1" });
  let left = ballots.length;
  let failed = null;
  const settled = (error) => {
    failed ??= error;
    left -= 1;
    if (left > 0) return;
    if (failed !== null) problem(response, 503, "not acknowledged", { "retry-after": "1" });
    else answer(response, 202, { accepted: ballots.length });
  };
  for (const ballot of ballots) {
    const voter = pseudonym(show, ballot.voter);
    if (ballots.length === 1 && !isAllowed(voter, 1, 10, now)) return problem(response, 429, "too many", { "retry-after": "1" });
    const value = JSON.stringify({
      type: "vote",
      vote_id: ballot.vote_id,
      show_id: show,
      poll_id: poll,
      option_id: ballot.option_id,
      voter_id: voter,
      cast_at: Date.now(),
      edge_id: "node",
      channel: "web",
    });
    inFlight += 1;
    waiting.push({ key: voter, value, settled });
  }
  if (!sending) send();
}

const server = createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on("data", (chunk) => {
    size += chunk.length;
    if (size <= 500 * MOST_BODY) chunks.push(chunk);
  });
  request.on("end", () => take(request, response, (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)).toString()));
});
server.requestTimeout = 10_000;

await producer.connect();
server.listen(Number(env.AIRTALLY_EDGE_PORT), "127.0.0.1", 4096, () => console.log("ready"));
process.on("SIGTERM", () => server.close(async () => { await producer.disconnect(); process.exit(0); }));
