// The edges that went quiet, in words. Asked for once a second: they are no part of the stream.

import { ask } from "/pages/feed.js";

const EVERY_MS = 1000;
const NAMED = 4; // quiet edges that are named; the others are only counted

function wordsFor(edges, isOver) {
  const quiet = edges.filter((edge) => edge.quiet).length;
  if (edges.length === 0) {
    return "No votes from any edge yet";
  }
  const all = edges.length === 1 ? "1 edge" : edges.length + " edges";
  if (isOver) {
    return all + " took part";
  }
  return quiet === 0 ? "Votes come from " + all : quiet + " of " + all + " went quiet";
}

function linesFor(edges, clock) {
  const quiet = edges.filter((edge) => edge.quiet).sort((one, other) => one.heard_at - other.heard_at);
  const lines = quiet.slice(0, NAMED).map((edge) => edge.id + ", last heard at " + clock.format(edge.heard_at));
  return quiet.length > NAMED ? lines.concat("and " + (quiet.length - NAMED) + " more") : lines;
}

// Writes into `words` and `list` for as long as `state()` says { wanted, over }.
export function watchEdges(url, words, list, clock, state) {
  let written = "";
  let done = false; // after the end nothing changes any more

  async function look() {
    const now = state();
    if (now.wanted && !done) {
      try {
        write(JSON.parse(await ask(url + "/edges")).edges, now.over);
        done = now.over;
      } catch (_) {
        // The page says already that nobody answers.
      }
    }
    setTimeout(look, EVERY_MS);
  }

  function write(edges, over) {
    const lines = linesFor(edges, clock);
    const text = [wordsFor(edges, over), ...lines].join("\n");
    if (text === written) {
      return; // a screen reader would read it out again
    }
    written = text;
    words.textContent = wordsFor(edges, over);
    words.classList.toggle("late", lines.length > 0);
    list.textContent = "";
    lines.forEach((line) => (list.appendChild(document.createElement("li")).textContent = line));
  }

  look();
}
