// The list of polls, the newest first.

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
  add(item, "p", STATUS[poll.status]).className = "pill " + poll.status;
  add(item, "p", whole.format(poll.total) + " votes");
  for (const page of ["host", "overlay"]) {
    const link = add(item, "a", page === "host" ? "Host" : "Overlay");
    link.href = "/" + page + "/" + show + "/" + poll.poll_id;
    link.setAttribute("aria-label", link.textContent + " of " + show + " / " + poll.poll_id);
  }
  return item;
}

let before = "";

async function refresh() {
  try {
    const answer = await fetch("/v1/shows");
    if (!answer.ok) {
      throw new Error("not served");
    }
    const text = await answer.text();
    line.textContent = "";
    if (text !== before) {
      before = text;
      const polls = JSON.parse(text).shows.reduce((all, show) => all.concat(show.polls.map((poll) => [show.show_id, poll])), []);
      polls.sort((one, other) => other[1].opened_at - one[1].opened_at);
      const focused = document.activeElement && document.activeElement.getAttribute("href");
      list.textContent = "";
      polls.forEach(([show, poll]) => list.appendChild(entry(show, poll)));
      document.getElementById("none").hidden = polls.length > 0;
      const again = Array.from(list.querySelectorAll("a")).find((link) => link.getAttribute("href") === focused);
      if (again) {
        again.focus();
      }
    }
  } catch (_) {
    line.textContent = "Not reachable for now; this is how it was.";
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
