// Publishes votes from Node.js: lines of vote id, option and voter, separated by tabs.
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const [show, poll] = process.argv.slice(2);
const { AIRTALLY_KAFKA, AIRTALLY_EDGE_SECRET, AIRTALLY_TOPIC = "votes" } = process.env;

const hmac = (key, text) => createHmac("sha256", key).update(text);
const showKey = hmac(AIRTALLY_EDGE_SECRET, `airtally voter pseudonym 1\0${show}\x01`).digest();

const messages = [];
for await (const line of createInterface({ input: process.stdin })) {
  const [vote_id, option_id, voter] = line.split("\t");
  const voter_id = hmac(showKey, voter).digest().toString("base64url", 0, 16); // the person stays here
  const vote = {
    type: "vote", vote_id, show_id: show, poll_id: poll, option_id, voter_id,
    cast_at: Date.now(), edge_id: "node-1", channel: "web",
  };
  messages.push({ key: voter_id, value: JSON.stringify(vote) });
}

const kafka = new Kafka({ brokers: AIRTALLY_KAFKA.split(","), logLevel: logLevel.ERROR });
const producer = kafka.producer({
  idempotent: true,
  maxInFlightRequests: 1,
  createPartitioner: Partitioners.DefaultPartitioner, // murmur2, as Java
});
await producer.connect();
await producer.sendBatch({ acks: -1, topicMessages: [{ topic: AIRTALLY_TOPIC, messages }] });
await producer.disconnect();
console.log(`${messages.length} acknowledged`);
