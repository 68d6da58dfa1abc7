// Publishes votes from Node.js: lines of vote id, option and voter, separated by tabs.
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
const VOTE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const WITHIN_MS = 30_000; // a record that comes to the log later might not count

const [show, poll] = process.argv.slice(2);
const { AIRTALLY_KAFKA, AIRTALLY_EDGE_SECRET = "", AIRTALLY_TOPIC = "votes" } = process.env;
if (AIRTALLY_EDGE_SECRET.length < 32 || !ID.test(show) || !ID.test(poll)) {
  throw new Error("show and poll are ids; AIRTALLY_EDGE_SECRET has 32 characters or more");
}

const hmac = (key, text) => createHmac("sha256", key).update(text);
const showKey = hmac(AIRTALLY_EDGE_SECRET, `airtally voter pseudonym 1\0${show}\x01`).digest();

const messages = [];
let refused = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [vote_id, option_id, voter, ...more] = line.split("\t");
  if (!VOTE_ID.test(vote_id) || !ID.test(option_id) || !voter || more.length) {
    refused += 1;
    continue;
  }
  const voter_id = hmac(showKey, voter).digest().toString("base64url", 0, 16); // the person stays here
  const vote = {
    type: "vote", vote_id, show_id: show, poll_id: poll, option_id, voter_id,
    cast_at: Date.now(), edge_id: "node-1", channel: "web",
  };
  messages.push({ key: voter_id, value: JSON.stringify(vote) });
}

const late = setTimeout(() => { // kafkajs itself would try for ever
  console.error(`not acknowledged within ${WITHIN_MS / 1000} s: the viewers send again, with the same ids`);
  process.exit(1);
}, WITHIN_MS);
const kafka = new Kafka({ brokers: AIRTALLY_KAFKA.split(","), logLevel: logLevel.ERROR });
const producer = kafka.producer({
  idempotent: true,
  maxInFlightRequests: 1,
  createPartitioner: Partitioners.DefaultPartitioner, // murmur2, as Java
});
await producer.connect();
await producer.sendBatch({ acks: -1, topicMessages: [{ topic: AIRTALLY_TOPIC, messages }] });
clearTimeout(late);
await producer.disconnect();
console.log(`${messages.length} acknowledged`);
if (refused) {
  console.error(`${refused} refused: no vote`);
  process.exitCode = 1;
}
