// The host's page: the running result, in numbers and in words.

import { drawChart } from "/pages/chart.js";
import { watchEdges } from "/pages/edges.js";
import { ask, colourOf, follow, nameOf, now, pollOf } from "/pages/feed.js";
import { Gliding, animate } from "/pages/motion.js";

const STATUS = {
  open: "Voting is open",
  closing: "Voting is closed, last votes are arriving",
  final: "Final result",
  recounting: "Recounting",
};
const OUTCOMES = {
  counted: "Counted",
  duplicate: "Repeats",
  over_limit: "Over the limit",
  late: "Too late",
  unknown_option: "No such option",
  implausible_time: "Impossible time",
  poll_not_open: "Before opening",
  wrong_key: "Wrong key",
};
const LAGGING = 100000; // two seconds of the record minute

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const poll = pollOf(location);
const byId = (id) => document.getElementById(id);
const put = (id, text) => {
  // Written only when it is another text: a screen reader would read it out again.
  if (byId(id).textContent !== text) {
    byId(id).textContent = text;
  }
};

let shown = null;
let rows = [];
let drawn = ""; // what the chart is of
let fetching = false;
let connected = false;
const total = new Gliding((value) => put("total", whole.format(Math.round(value))), 0.5);

function cell(row, kind, name) {
  const made = document.createElement(kind);
  made.className = name;
  row.appendChild(made);
  return made;
}

function makeRow(option, index) {
  const row = document.createElement("tr");
  const head = cell(row, "th", "");
  head.scope = "row";
  const label = cell(head, "span", "label");
  label.dir = "auto";
  label.textContent = nameOf(option);
  label.title = nameOf(option);
  const track = cell(cell(row, "td", "wide"), "div", "track");
  const fill = cell(track, "div", "fill");
  fill.style.backgroundColor = colourOf(option, index);
  const share = cell(row, "td", "share");
  const votes = cell(row, "td", "votes");
  const last = cell(row, "td", "last wide");
  row.dataset.option = option.id;
  byId("options").appendChild(row);
  return {
    last,
    length: new Gliding((value) => (fill.style.transform = "scaleX(" + value + ")"), 0.0005),
    share: new Gliding((value) => (share.textContent = tenths.format(value) + "\u00a0%"), 0.05),
    votes: new Gliding((value) => (votes.textContent = whole.format(Math.round(value))), 0.5),
  };
}

function show(snapshot) {
  const order = (options) => options.map((option) => option.id + "\n" + nameOf(option)).join("\n");
  if (shown === null || order(shown.options) !== order(snapshot.options)) {
    byId("options").textContent = "";
    rows = snapshot.options.map(makeRow);
    byId("options").parentNode.style.setProperty("--rows", rows.length);
    rows.forEach((row) => [row.votes, row.share].forEach((number) => number.draw(0)));
    total.draw(0);
  }
  shown = snapshot;
  const lead = Math.max(1, ...snapshot.options.map((option) => option.share));
  rows.forEach((row, index) => {
    const option = snapshot.options[index];
    row.length.target = option.share / lead;
    row.share.target = option.share;
    row.votes.target = option.votes;
    row.last.textContent = whole.format(option.last);
  });
  total.target = snapshot.total;
  put("rate", whole.format(snapshot.rate));
  showOutcomes(snapshot.outcomes);
  showWords();
  showPace();
}

function isOver() {
  return shown.closed_at !== null && now() >= shown.closed_at;
}

function showWords() {
  if (shown === null) {
    return;
  }
  const held = shown.status === "recounting";
  const runs = shown.status === "open" || shown.status === "closing"; // a part of the count may not have heard of the end
  const status = runs ? (isOver() ? "closing" : "open") : shown.status;
  put("status", STATUS[status]);
  byId("status").className = "pill " + status;
  const left = shown.closed_at === null || isOver() ? 0 : Math.ceil((shown.closed_at - now()) / 1000);
  put("countdown", left > 0 ? "closes in " + left + " s" : "");
  put("complete", shown.complete_to > shown.opened_at ? clock.format(shown.complete_to) : "\u2013");
  const none = held ? "being recounted" : "nothing";
  const unknown = shown.lag === null || !connected;
  put("lag", unknown ? "unknown" : shown.lag === 0 ? none : whole.format(shown.lag));
  byId("lag").classList.toggle("late", held || unknown || shown.lag > LAGGING);
  const notices = [];
  if (held) {
    notices.push("A part of the count is being rebuilt. These are the numbers of " + clock.format(shown.as_of) + ", held until it is done.");
  }
  if (shown.voids > 0) {
    notices.push("Votes were struck after they were counted. The official result is the audit\u2019s, not this one.");
  }
  if (shown.conflicts.length > 0) {
    notices.push("The parts of the count disagree about this poll. Do not announce this result.");
  }
  put("notice", notices.join(" "));
  byId("notice").hidden = notices.length === 0;
}

function showOutcomes(outcomes) {
  const words = byId("words");
  for (const name of Object.keys(OUTCOMES)) {
    const number = outcomes[name] || 0;
    let entry = words.querySelector("[data-outcome=" + name + "]");
    if (entry === null && number > 0) {
      entry = document.createElement("div");
      entry.dataset.outcome = name;
      cell(entry, "dt", "").textContent = OUTCOMES[name];
      cell(entry, "dd", "");
      words.appendChild(entry);
    }
    if (entry !== null) {
      entry.lastChild.textContent = whole.format(number);
    }
  }
}

async function showPace() {
  const wanted = shown.complete_to + shown.phase; // at the end all seconds are read again
  if (fetching || wanted === drawn) {
    return;
  }
  fetching = true;
  try {
    drawChart(byId("chart"), JSON.parse(await ask(poll.url + "/seconds")), whole, clock);
    drawn = wanted;
  } catch (_) {
    // The line says already that nobody answers.
  } finally {
    fetching = false;
  }
}

function showLine(stands, heldSince) {
  connected = stands && heldSince === null;
  const since = shown === null ? "" : ", numbers of " + clock.format(shown.as_of);
  const held = heldSince === null ? "Connected" : "The count has not answered since " + clock.format(heldSince) + since;
  put("line", stands ? held : "Connection lost, trying again" + since);
  byId("line").classList.toggle("away", !connected);
}

put("name", poll.show + " / " + poll.poll);
document.title = poll.show + " / " + poll.poll;
setInterval(showWords, 250);
new ResizeObserver(() => {
  drawn = "";
  if (shown !== null && connected) {
    showPace();
  }
}).observe(byId("pace"));
animate(() => rows.reduce((all, row) => all.concat(row.length, row.share, row.votes), [total]));
watchEdges(poll.url, byId("heard"), byId("quiet"), clock, () => ({
  wanted: shown !== null && connected && shown.status !== "recounting",
  over: shown !== null && shown.phase === "final",
}));
follow(poll.url, show, showLine);
