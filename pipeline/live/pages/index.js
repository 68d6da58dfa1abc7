// The list of polls, the newest first.

import { ask } from "/pages/feed.js";

const STATUS = { open: "open", closing: "closed", final: "final", recounting: "recounting" };
const EVERY_MS = 2000;
const whole = new Intl.NumberFormat();
const list = document.getElementById("polls");
const line = document.getElementById("line");

function add(parent, kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  parent.appendChild(made);
  return made;
}

function entry(show, poll) {
  const item = document.createElement("li");
  add(item, "h2", show + " / " + poll.poll_id);
  add(item, "p", "").className = "pill";
  add(item, "p", "").className = "votes";
  for (const page of ["host", "overlay"]) {
    const link = add(item, "a", page === "host" ? "Host" : "Overlay");
    link.href = "/" + page + "/" + show + "/" + poll.poll_id;
    link.setAttribute("aria-label", link.textContent + " of " + show + " / " + poll.poll_id);
  }
  return item;
}

// Entries stay what they are as long as the polls do: nobody's click or place in the list is lost.
function write(polls) {
  const names = polls.map(([show, poll]) => show + "/" + poll.poll_id).join(" ");
  if (names !== listed) {
    const focused = document.activeElement && document.activeElement.getAttribute("href");
    listed = names;
    list.textContent = "";
    polls.forEach(([show, poll]) => list.appendChild(entry(show, poll)));
    document.getElementById("none").hidden = polls.length > 0;
    const again = Array.from(list.querySelectorAll("a")).find((link) => link.getAttribute("href") === focused);
    if (again) {
      again.focus();
    }
  }
  polls.forEach(([, poll], index) => tell(list.children[index], poll));
}

function tell(item, poll) {
  const status = item.querySelector(".pill");
  status.textContent = STATUS[poll.status];
  status.className = "pill " + poll.status;
  item.querySelector(".votes").textContent = whole.format(poll.total) + " votes";
}

let before = "";
let listed = null;

async function refresh() {
  try {
    const text = await ask("/v1/shows");
    line.textContent = "";
    if (text !== before) {
      before = text;
      const polls = JSON.parse(text).shows.reduce((all, show) => all.concat(show.polls.map((poll) => [show.show_id, poll])), []);
      polls.sort((one, other) => other[1].opened_at - one[1].opened_at);
      write(polls);
    }
  } catch (_) {
    line.textContent = "Not reachable for now; this is how it was.";
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
