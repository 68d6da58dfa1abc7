// The votes per second as a curve: SVG made by hand, redrawn once a second.

const SPACE = "http://www.w3.org/2000/svg";
const LEFT = 74;
const RIGHT = 10;
const TOP = 14;
const BOTTOM = 34;
const LEAST_SECONDS = 30; // so that a young poll is not drawn across the whole width

function draw(parent, kind, attributes, text) {
  const made = document.createElementNS(SPACE, kind);
  Object.keys(attributes).forEach((name) => made.setAttribute(name, attributes[name]));
  if (text !== undefined) {
    made.textContent = text;
  }
  parent.appendChild(made);
}

// The next round number: 1, 2 or 5 times a power of ten, so that some four lines of it reach the top.
function stepFor(most) {
  const rough = Math.max(1, most / 4);
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

export function drawChart(svg, series, whole, clock) {
  const totals = series.votes.map((row) => row.reduce((sum, votes) => sum + votes, 0));
  const width = svg.clientWidth;
  const height = svg.clientHeight;
  svg.textContent = "";
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  if (totals.length === 0 || width === 0) {
    return;
  }
  const most = Math.max(...totals);
  const step = stepFor(most);
  const top = Math.max(step, Math.ceil(most / step) * step);
  const span = Math.max(LEAST_SECONDS, totals.length);
  const x = (index) => LEFT + ((span - totals.length + index) / (span - 1)) * (width - LEFT - RIGHT);
  const y = (votes) => height - BOTTOM - (votes / top) * (height - TOP - BOTTOM);

  for (let votes = 0; votes <= top; votes += step) {
    draw(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(votes), y2: y(votes) });
    draw(svg, "text", { x: LEFT - 8, y: y(votes) + 5, "text-anchor": "end" }, whole.format(votes));
  }
  const points = totals.map((votes, index) => x(index).toFixed(1) + "," + y(votes).toFixed(1));
  const last = totals.length - 1;
  draw(svg, "polygon", { class: "area", points: [x(0) + "," + y(0), ...points, x(last) + "," + y(0)].join(" ") });
  draw(svg, "polyline", { class: "curve", points: points.join(" ") });

  const at = (index) => clock.format(series.first + index * series.window_ms);
  draw(svg, "text", { x: x(last), y: height - 8, "text-anchor": "end" }, at(last));
  if (x(last) - x(0) > 180) {
    draw(svg, "text", { x: x(0), y: height - 8, "text-anchor": x(0) < LEFT + 40 ? "start" : "middle" }, at(0));
  }
  const peak = totals.indexOf(most);
  const said = "now " + whole.format(totals[last]) + ", highest " + whole.format(most) + " at " + at(peak);
  svg.setAttribute("aria-label", "Votes per second in the last " + totals.length + " seconds: " + said);
}
