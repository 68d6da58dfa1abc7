// Follows one poll for ever. Reconnects in silence, and never goes back to an older version.

const RETRY_MS = 1000;
const SILENCE_MS = 15000; // a poll that is not final has news every second
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

// Calls onSnapshot with each newer snapshot, and onConnected with whether the line stands.
export function follow(url, onSnapshot, onConnected) {
  let source = null;
  let version = 0;
  let status = "";
  let heardAt = Date.now();

  function take(event) {
    heardAt = Date.now();
    const snapshot = JSON.parse(event.data);
    if (snapshot.version <= version && version - snapshot.version < AHEAD_MS) {
      return;
    }
    version = snapshot.version;
    status = snapshot.status;
    onSnapshot(snapshot);
  }

  function connect() {
    source = new EventSource(url + "/events");
    source.onmessage = take;
    source.onopen = () => {
      heardAt = Date.now();
      onConnected(true);
    };
    source.onerror = () => {
      onConnected(false);
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(connect, RETRY_MS * (1 + Math.random())); // not all pages at the same moment
      }
    };
  }

  setInterval(() => {
    const waiting = source.readyState === EventSource.OPEN && status !== "final";
    if (waiting && Date.now() - heardAt > SILENCE_MS) {
      heardAt = Date.now();
      source.close();
      onConnected(false);
      connect();
    }
  }, RETRY_MS);
  connect();
}
