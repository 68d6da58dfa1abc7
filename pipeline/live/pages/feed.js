// Follows one poll for ever. Reconnects in silence, and never goes back to an older version.

const RETRY_MS = 1000;
const SILENCE_MS = 15000; // on a line that stands something comes every 10 s
const HELD_MS = 3000; // since the last look at the count: Redis is away, and what is shown is held
const AHEAD_MS = 10000; // a version so far behind ours comes from a system that was set up anew
const REST_MS = 5000; // between two looks at what is final
const ANSWER_MS = 5000; // that an instance has for an answer: one that hangs is left

// Colours of options that bring none: easy to tell apart, also for the colour-blind, on dark and on light.
export const PALETTE = ["#3d8bfd", "#f5a524", "#2fbf9b", "#e0569b", "#9b7bff", "#e8663c", "#55c2e6", "#b7c94a"];

// The poll that an address like /overlay/{show}/{poll} names.
export function pollOf(location) {
  const parts = location.pathname.split("/");
  return { show: parts[2], poll: parts[3], url: "/v1/shows/" + parts[2] + "/polls/" + parts[3] };
}

export function colourOf(option, index) {
  return option.color || PALETTE[index % PALETTE.length];
}

export function nameOf(option) {
  return option.label || option.id;
}

let ahead = -Infinity; // of the clock that performance.now() is

// The time as the service has it: a playout machine without a time server may be a minute off. Of all that was heard the
// latest is the nearest: the others took longer to come.
export function now() {
  return ahead === -Infinity ? Date.now() : performance.now() + ahead;
}

function hear(instant) {
  ahead = Math.max(ahead, instant - performance.now());
}

// Fetches, but does not wait for ever.
export async function ask(url) {
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), ANSWER_MS);
  try {
    const answer = await fetch(url, { cache: "no-cache", signal: giveUp.signal });
    if (!answer.ok) {
      throw new Error("not served: " + answer.status);
    }
    return await answer.text();
  } finally {
    clearTimeout(timer);
  }
}

// Whether nothing is to be expected any more, but what somebody decides.
function isSettled(snapshot) {
  return snapshot.status === "final" && (snapshot.closed_at === null || snapshot.complete_to >= snapshot.closed_at);
}

// Calls onSnapshot with each newer snapshot, and onLine with whether the line stands, and since when the count says nothing any more
// (an instant; null: it does).
export function follow(url, onSnapshot, onLine) {
  const silence = SILENCE_MS * (1 + Math.random()); // not all pages at the same moment
  let source = null;
  let version = 0;
  let heardAt = Date.now();

  function take(snapshot) {
    hear(snapshot.as_of);
    if (snapshot.version <= version && version - snapshot.version < AHEAD_MS) {
      return;
    }
    version = snapshot.version;
    onLine(true, null);
    onSnapshot(snapshot);
  }

  function takeEvent(event) {
    heardAt = Date.now();
    const snapshot = JSON.parse(event.data);
    take(snapshot);
    if (isSettled(snapshot)) {
      source.close();
      rest();
    }
  }

  // A browser has six lines to a host, and a page that has nothing to expect is not to keep one from another.
  function rest() {
    setTimeout(async () => {
      try {
        const snapshot = JSON.parse(await ask(url));
        onLine(true, null);
        take(snapshot);
        if (!isSettled(snapshot)) {
          connect();
          return;
        }
      } catch (_) {
        onLine(false, null);
      }
      rest();
    }, REST_MS * (1 + Math.random()));
  }

  function takeBeat(event) {
    heardAt = Date.now();
    const beat = JSON.parse(event.data);
    hear(beat.at);
    onLine(true, beat.looked_ms_ago > HELD_MS ? beat.at - beat.looked_ms_ago : null);
  }

  function connect() {
    heardAt = Date.now();
    source = new EventSource(url + "/events");
    source.onmessage = takeEvent;
    source.addEventListener("beat", takeBeat);
    source.onopen = () => {
      heardAt = Date.now();
      onLine(true, null);
    };
    source.onerror = () => {
      onLine(false, null);
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(connect, RETRY_MS * (1 + Math.random())); // not all pages at the same moment
      }
    };
  }

  setInterval(() => {
    if (source.readyState !== EventSource.CLOSED && Date.now() - heardAt > silence) {
      source.close();
      onLine(false, null);
      connect();
    }
  }, RETRY_MS);
  connect();
}
