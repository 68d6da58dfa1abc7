// Follows one poll for ever. Reconnects in silence, and never goes back to an older version.

const RETRY_MS = 1000;
const SILENCE_MS = 15000; // on a line that stands something comes every 10 s
const HELD_MS = 3000; // since the last look at the count: Redis is away, and what is shown is held
const AHEAD_MS = 10000; // a version so far behind ours comes from a system that was set up anew

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

// Calls onSnapshot with each newer snapshot, and onLine with whether the line stands, and since when the count says nothing any more
// (an instant; null: it does).
export function follow(url, onSnapshot, onLine) {
  const silence = SILENCE_MS * (1 + Math.random()); // not all pages at the same moment
  let source = null;
  let version = 0;
  let heardAt = Date.now();

  function take(event) {
    heardAt = Date.now();
    const snapshot = JSON.parse(event.data);
    if (snapshot.version <= version && version - snapshot.version < AHEAD_MS) {
      return;
    }
    version = snapshot.version;
    onLine(true, null);
    onSnapshot(snapshot);
  }

  function takeBeat(event) {
    heardAt = Date.now();
    const ago = JSON.parse(event.data).looked_ms_ago;
    onLine(true, ago > HELD_MS ? heardAt - ago : null);
  }

  function connect() {
    source = new EventSource(url + "/events");
    source.onmessage = take;
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
    if (source.readyState === EventSource.OPEN && Date.now() - heardAt > silence) {
      heardAt = Date.now();
      source.close();
      onLine(false, null);
      connect();
    }
  }, RETRY_MS);
  connect();
}
