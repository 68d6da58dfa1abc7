// The overlay. Whatever happens it shows the last good numbers, and never an error.
//
// Parameters: theme=dark|light|clear, hide=title,status,totals,votes,share,bars, title=..., lang=de, wait=1 (show at play()),
// and words: live=, closed=, final=, votes=. Written for the browsers inside playout systems, back to Chromium 71.

import { Gliding, animate } from "/pages/motion.js";
import { colourOf, follow, nameOf, now, pollOf } from "/pages/feed.js";

const THEMES = ["dark", "light", "clear"];
const PARTS = ["title", "status", "totals", "votes", "share", "bars"];
const VIEWS = ["", "votes", "share"]; // what next() hides in turn
const MOST = 36; // rows that can still be read: of more options, those with the most votes
const LABEL_GAP = 28; // between name and bar, as in overlay.css
const SMALLEST = 0.72; // of their size: names get no smaller
const LONGEST_BAR = 40; // per cent: a leader below this does not fill the track

const query = new URLSearchParams(location.search);
const root = document.documentElement;
const panel = document.getElementById("panel");
const bars = document.getElementById("bars");
const text = (id, content) => {
  document.getElementById(id).textContent = content;
};

const chosen = { title: "", hide: [], view: 0, live: "Voting open", closed: "Voting closed", final: "Final result", votes: "votes" };
let shown = null;
let built = "";
let playing = query.get("wait") === null;
let rows = [];

const lang = (() => {
  try {
    return Intl.getCanonicalLocales(query.get("lang") || navigator.language)[0];
  } catch (_) {
    return "en";
  }
})();
root.lang = lang; // capitals are those of the language
const whole = new Intl.NumberFormat(lang, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const total = new Gliding((value) => text("total", whole.format(Math.round(value))), 0.5);

function element(kind, parent) {
  const made = document.createElement(kind === "row" ? "li" : "span");
  made.className = kind;
  parent.appendChild(made);
  return made;
}

function makeRow(option) {
  const row = element("row", bars);
  const label = element("label", row);
  label.dir = "auto";
  label.textContent = nameOf(option);
  const fill = element("fill", element("track", row));
  fill.style.backgroundColor = colourOf(option, option.index);
  const votes = element("votes", row);
  const share = element("share", row);
  row.dataset.option = option.id;
  return {
    row,
    label,
    length: new Gliding((value) => (fill.style.transform = "scaleX(" + value + ")"), 0.0005),
    votes: new Gliding((value) => (votes.textContent = whole.format(Math.round(value))), 0.5),
    share: new Gliding((value) => (share.textContent = tenths.format(value) + "\u00a0%"), 0.05),
  };
}

// All options in the order of the poll, or the leading ones where all would be too many.
function listed(snapshot) {
  const all = snapshot.options.map((option, index) => Object.assign({ index }, option));
  return all.length <= MOST ? all : all.sort((one, other) => other.votes - one.votes || one.index - other.index).slice(0, MOST);
}

function build(options, unlisted) {
  bars.textContent = "";
  rows = options.map(makeRow);
  rows.forEach((row) => [row.votes, row.share].forEach((number) => number.draw(0)));
  const columns = options.length <= 8 ? 1 : options.length <= 20 ? 2 : 3;
  const perColumn = Math.ceil((options.length + (unlisted > 0 ? 1 : 0)) / columns);
  const height = Math.min(66, Math.floor(860 / perColumn));
  bars.style.setProperty("--columns", columns);
  bars.style.setProperty("--rows", perColumn);
  bars.style.setProperty("--row", height + "px");
  bars.style.setProperty("--size", Math.min([0, 36, 30, 24][columns], Math.floor(height * 0.55)) + "px");
  fitLabels(columns);
  panel.classList.toggle("many", columns > 1);
  if (unlisted > 0) {
    const more = element("row", bars);
    more.id = "more";
    more.textContent = "+ " + unlisted;
  }
}

// Names get the room that the longest of them needs, within reason. Beyond that all of them get smaller alike; and one that
// would still be too long, at the smallest size, does not count: it is cut.
function fitLabels(columns) {
  const most = [0, 690, 390, 270][columns];
  bars.style.setProperty("--label", "max-content");
  bars.style.setProperty("--shrink", 1);
  const needed = rows.map((row) => row.label.scrollWidth + 1 - LABEL_GAP); // it is rounded, and a part of a pixel cuts a name
  const shown = needed.filter((width) => width * SMALLEST <= most);
  const widest = Math.max(160, ...shown);
  const width = shown.length < needed.length ? most : Math.min(most, widest);
  bars.style.setProperty("--label", width + LABEL_GAP + "px");
  bars.style.setProperty("--shrink", width < widest ? (0.97 * width) / widest : 1);
}

function show(snapshot) {
  const options = listed(snapshot);
  const key = options.map((option) => option.id + "\n" + nameOf(option) + option.color).join("\n");
  const rebuilt = key !== built;
  if (rebuilt) {
    build(options, snapshot.options.length - options.length);
    built = key;
  }
  const lead = Math.max(LONGEST_BAR, ...options.map((option) => option.share));
  const most = Math.max(...options.map((option) => option.votes));
  rows.forEach((row, index) => {
    const option = options[index];
    row.length.target = option.share / lead;
    row.votes.target = option.votes;
    row.share.target = option.share;
    row.row.classList.toggle("winner", isOfficial(snapshot) && option.votes === most && most > 0);
    if (rebuilt && shown !== null) {
      [row.length, row.votes, row.share].forEach((number) => number.jump()); // it was in another row before
    }
  });
  shown = snapshot;
  total.target = snapshot.total;
  render();
}

function render() {
  const phase = shown === null ? "" : phaseOf(shown);
  text("title", chosen.title);
  text("unit", chosen.votes);
  text("word", { open: chosen.live, closed: chosen.closed, final: chosen.final }[phase] || "");
  panel.className = [phase, bars.children.length > 8 ? "many" : "", bars.querySelector(".winner") ? "won" : ""].join(" ");
  const hidden = chosen.hide.concat(VIEWS[chosen.view] || []);
  PARTS.forEach((part) => panel.classList.toggle("hide-" + part, hidden.includes(part)));
  panel.classList.toggle("away", !playing || shown === null);
}

// What viewers are told. A close is announced a little ahead: until then voting is open, and from then on it is closed, even
// if a part of the count has not heard of it yet. A recount is no news for them. A result on which the parts of the count
// disagree is none.
function phaseOf(snapshot) {
  if (snapshot.phase === "final") {
    return snapshot.conflicts.length > 0 ? "closed" : "final";
  }
  return snapshot.closed_at !== null && now() >= snapshot.closed_at ? "closed" : "open";
}

// Whether who leads has won. If votes were struck, the audit says so.
function isOfficial(snapshot) {
  return phaseOf(snapshot) === "final" && snapshot.voids === 0;
}

function choose(fields) {
  for (const name of ["title", "live", "closed", "final", "votes"]) {
    if (typeof fields[name] === "string") {
      chosen[name] = fields[name];
    }
  }
  if (typeof fields.hide === "string") {
    chosen.hide = fields.hide.split(",").filter((part) => PARTS.includes(part));
  }
  if (THEMES.includes(fields.theme)) {
    root.classList.remove(...THEMES);
    root.classList.add(fields.theme);
  }
  render();
}

// CasparCG sends XML or JSON: both are read as names with texts, and what cannot be read changes nothing.
function read(content) {
  if (typeof content !== "string") {
    return content !== null && typeof content === "object" ? content : {};
  }
  try {
    const fields = JSON.parse(content);
    return fields !== null && typeof fields === "object" ? fields : {};
  } catch (_) {
    const fields = {};
    const marks = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&" };
    for (const part of content.split("<componentData ").slice(1)) {
      const found = part.match(/id="([^"]*)"[^]*?value="([^"]*)"/);
      if (found) {
        fields[found[1]] = found[2].replace(/&(lt|gt|quot|apos|amp);/g, (mark) => marks[mark]);
      }
    }
    return fields;
  }
}

// The functions that CasparCG, SPX and the like call. Nothing here needs them to be called.
window.play = () => {
  playing = true;
  render();
};
window.stop = () => {
  playing = false;
  render();
};
window.next = () => {
  chosen.view = (chosen.view + 1) % VIEWS.length;
  render();
};
window.update = (content) => choose(read(content));

function fit() {
  const scale = Math.min(innerWidth / 1920, innerHeight / 1080);
  document.getElementById("stage").style.transform = "scale(" + scale + ")";
}

addEventListener("resize", fit);
fit();
choose(Array.from(query).reduce((all, [name, value]) => Object.assign(all, { [name]: value }), {}));
setInterval(render, 250);
animate(() => rows.reduce((all, row) => all.concat(row.length, row.votes, row.share), [total]));
follow(pollOf(location).url, show, () => {});
