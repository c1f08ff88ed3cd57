// The page of framepair's monitor. Names and reasons are text of others: they only ever become textContent.
const POLL_MS = 1000, TIMEOUT_MS = 4000, RETRY_MS = 1000, STALE_MS = 2000;
const MAX_SENT = 600, MAX_SENT_BYTES = 64 << 20;
const MAX_PIXEL_RATIO = 2;
const $ = (id) => document.getElementById(id);
const make = (tag, ...children) => {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
};
// An element that shows what it shows already is left alone: a screen reader would say it again.
const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};
const ms = (value) => (value == null ? "–" : value < 10 ? value.toFixed(1) : Math.round(value).toString());
const time = (ns) => new Date(Number(BigInt(ns) / 1000000n)).toISOString().slice(11, 23);

// ---- pictures -------------------------------------------------------------------------------------------

const figures = new Map(); // by source: its elements
const sent = []; // what came lately, oldest first; of each instant the files, which are drawn when it is shown
let sentBytes = 0;
let shown = null;
let held = false;
let socket = null;
let cameMs = 0;
let refused = "";

function figureOf(source) {
  if (!figures.has(source)) {
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.width = 1600;
    canvas.height = 900;
    const note = make("p", "no picture yet");
    const stamp = make("time");
    const offset = make("small");
    const figure = make("figure", canvas, note, make("figcaption", make("b", source), stamp, offset));
    figures.set(source, { figure, canvas, note, stamp, offset });
    $("pictures").append(figure);
  }
  return figures.get(source);
}

function parse(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const instant = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let begin = 4 + length;
  for (const picture of instant.pictures) {
    picture.file = new Blob([buffer.slice(begin, begin + picture.bytes)], { type: "image/jpeg" });
    begin += picture.bytes;
  }
  instant.bytes = buffer.byteLength;
  return instant;
}

function keep(instant) {
  sent.push(instant);
  sentBytes += instant.bytes;
  while (!held && (sent.length > MAX_SENT || sentBytes > MAX_SENT_BYTES)) sentBytes -= sent.shift().bytes;
}

// Shows all pictures of an instant at the same moment: never one of it beside one of another.
async function show(instant) {
  shown = instant;
  const images = await Promise.all(instant.pictures.map(({ file }) => createImageBitmap(file).catch(() => null)));
  if (shown !== instant) {
    for (const image of images) image?.close();
    return;
  }
  for (const picture of instant.pictures) figureOf(picture.source);
  for (const [source, figure] of figures) {
    const index = instant.pictures.findIndex((picture) => picture.source === source);
    draw(figure, source, instant, images[index] ? instant.pictures[index] : undefined, images[index]);
  }
  $("pictures").dataset.ns = instant.at_ns;
  write($("spread"), instant.pictures.length > 1 ? `spread ${instant.spread_ms.toFixed(2)} ms` : "");
  showControls();
}

function draw({ canvas, note, stamp, offset }, source, instant, picture, image) {
  note.hidden = Boolean(picture);
  canvas.setAttribute("aria-label", picture ? `${source} at ${time(picture.captured_ns)}` : `no picture of ${source}`);
  if (!picture) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    write(note, "no picture of this instant");
    write(stamp, "");
    write(offset, "");
    delete stamp.dataset.ns;
    return;
  }
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  const apart = Number(BigInt(picture.captured_ns) - BigInt(instant.at_ns)) / 1e6;
  write(stamp, time(picture.captured_ns));
  stamp.dataset.ns = picture.captured_ns;
  stamp.title = `${picture.captured_ns} ns, frame ${picture.seq}`;
  write(offset, `${apart < 0 ? "−" : "+"}${Math.abs(apart).toFixed(2)} ms`);
}

function connect() {
  if (socket || document.hidden) return;
  const address = new URL("pictures", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const opened = (socket = new WebSocket(address));
  opened.binaryType = "arraybuffer";
  opened.onopen = tellWidth;
  opened.onmessage = async ({ data }) => {
    const instant = parse(data);
    cameMs = performance.now();
    keep(instant);
    try {
      if (!held) await show(instant);
      else showControls();
    } finally {
      if (opened.readyState === WebSocket.OPEN) opened.send('{"drawn":true}');
    }
  };
  opened.onclose = ({ reason }) => {
    if (socket !== opened) return;
    refused = reason;
    socket = null;
    setTimeout(connect, RETRY_MS);
  };
}

function disconnect() {
  const open = socket;
  socket = null;
  open?.close();
}

// While pictures are held no more are asked for.
function tellWidth() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const widths = [...figures.values()].map(({ figure }) => figure.clientWidth);
  const width = Math.max(...widths, 320) * Math.min(devicePixelRatio, MAX_PIXEL_RATIO);
  socket.send(JSON.stringify({ width: held ? 0 : Math.round(width) }));
}

// ---- hold, step, go on ----------------------------------------------------------------------------------

function hold(wanted) {
  if (wanted && !sent.length) return;
  held = wanted;
  cameMs = performance.now();
  tellWidth();
  if (sent.length) show(held ? shown : sent.at(-1));
}

function step(by) {
  if (!sent.length) return;
  if (!held) hold(true);
  const index = Math.min(sent.length - 1, Math.max(0, sent.indexOf(shown) + by));
  show(sent[index]);
}

function showControls() {
  const index = sent.indexOf(shown);
  $("hold").setAttribute("aria-pressed", held);
  write($("hold"), held ? "Go on" : "Hold");
  $("slider").max = Math.max(0, sent.length - 1);
  $("slider").value = index;
  $("slider").disabled = !sent.length;
  $("back").disabled = index <= 0;
  $("forward").disabled = !held || index >= sent.length - 1;
  const silentMs = performance.now() - cameMs;
  const stale = !held && shown !== null && silentMs > STALE_MS;
  $("pictures").classList.toggle("stale", stale);
  const before = shown ? Number(BigInt(sent.at(-1).at_ns) - BigInt(shown.at_ns)) / 1e9 : 0;
  if (!shown) write($("when"), refused || "no picture yet");
  else if (stale) write($("when"), `none for ${Math.round(silentMs / 1000)} s`);
  else write($("when"), held ? `held, ${before ? `−${before.toFixed(1)} s` : "newest"}` : "live");
}

$("hold").onclick = () => hold(!held);
$("back").onclick = () => step(-1);
$("forward").onclick = () => step(1);
$("slider").oninput = () => {
  if (!held) hold(true);
  show(sent[Number($("slider").value)]);
};
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || (event.repeat && key === " ")) return;
  if (key === " " && !target.closest("button")) hold(!held);
  else if (key === "ArrowLeft" && target.id !== "strip" && target.id !== "slider") step(-1);
  else if (key === "ArrowRight" && target.id !== "strip" && target.id !== "slider") step(1);
  else return;
  event.preventDefault();
});

// ---- pairs ----------------------------------------------------------------------------------------------

let pairs = [];
let meanings = {};
let selected = null;

function showPairs(state) {
  pairs = state.pairs;
  meanings = state.meanings ?? {};
  const cells = new Map([...$("strip").children].map((cell) => [cell.dataset.index, cell]));
  for (const pair of pairs) {
    const cell = cells.get(pair.index) ?? $("strip").appendChild(newCell(pair));
    cell.className = pair.state;
    cells.delete(pair.index);
  }
  for (const cell of cells.values()) cell.remove();
  const count = (state) => pairs.filter((pair) => pair.state === state).length;
  const counted = ["complete", "incomplete", "lost"].filter((state) => state === "complete" || count(state));
  const since = pairs.length ? ` since ${time(pairs[0].start_ns).slice(0, 8)}` : "";
  write($("counts"), counted.map((state) => `${count(state)} ${state}`).join(", ") + since);
  select(selected);
}

function newCell(pair) {
  const cell = make("i");
  cell.id = `pair-${pair.index}`;
  cell.dataset.index = pair.index;
  cell.setAttribute("role", "option");
  cell.setAttribute("aria-label", `${time(pair.start_ns)} ${pair.state}`);
  return cell;
}

function select(index) {
  $("strip").querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const pair = pairs.find((each) => each.index === index);
  selected = pair ? index : null;
  if (!pair) {
    write($("why"), pairs.length ? "Choose a pair to see what is known of it." : "No pair yet.");
    $("strip").removeAttribute("aria-activedescendant");
    return;
  }
  $(`pair-${index}`).setAttribute("aria-selected", "true");
  $("strip").setAttribute("aria-activedescendant", `pair-${index}`);
  const lag = pair.lag_ms == null ? "" : `, lag ${ms(pair.lag_ms)} ms`;
  const known = Object.entries(meanings).filter(([reason]) => pair.why.some((line) => line.includes(reason)));
  const lines = [...pair.why, ...known.map(([reason, meaning]) => `${reason}: ${meaning}`)];
  write($("why"), [`${time(pair.start_ns)} ${pair.state}${lag}`, ...lines].join("\n"));
}

$("strip").onclick = ({ target }) => select(target.dataset.index ?? null);
$("strip").onkeydown = (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
  if (event.key === "Escape") select(null);
  if (!by || !pairs.length) return;
  const now = selected === null ? pairs.length : pairs.findIndex((pair) => pair.index === selected);
  select(pairs[Math.min(pairs.length - 1, Math.max(0, now + by))].index);
  event.preventDefault();
};

// ---- numbers --------------------------------------------------------------------------------------------

// From bottom to top it has what came, and at least a fifth of the greatest: noise is to look like noise.
function showChart(name, { p50, p99, recent = [] }, bottom) {
  const known = recent.filter((value) => value != null);
  const top = Math.max(...known, 1e-9);
  bottom ??= Math.max(0, Math.min(...known) - top / 10);
  const scale = 38 / Math.max(top - bottom, top / 5);
  const x = (index) => (known.length > 1 ? (300 * index) / (known.length - 1) : 300);
  const points = known.map((value, index) => `${x(index).toFixed(1)},${(39 - scale * (value - bottom)).toFixed(1)}`);
  $(name).firstElementChild.setAttribute("points", points.join(" "));
  const text = p50 == null ? "not known yet" : `p50 ${ms(p50)} ms, p99 ${ms(p99)} ms`;
  write($(`${name}-numbers`), text);
  $(name).setAttribute("aria-label", `${name} of the last pairs: ${text}`);
}

// What is lost before there are pairs, or before the monitor listens, is nothing to look into.
const EXPECTED = ["startup", "no_subscriber"];
const rows = new Map();

function showSources(sources) {
  for (const source of sources) {
    if (!rows.has(source.name)) {
      const row = make("tr", Object.assign(make("th", source.name), { scope: "row" }));
      for (const { textContent } of document.querySelectorAll("thead th:not(:first-child)")) {
        row.append(make("td"));
        row.lastChild.dataset.label = textContent;
      }
      rows.set(source.name, row);
      $("sources").append(row);
      figureOf(source.name);
    }
    const row = rows.get(source.name);
    const lost = Object.entries(source.lost).filter(([, count]) => count);
    row.classList.toggle("down", !["on", "ended"].includes(source.state));
    row.classList.toggle("has-lost", lost.some(([reason]) => !EXPECTED.includes(reason)));
    const cells = row.querySelectorAll("td");
    cellTexts(source, lost).forEach((text, index) => write(cells[index], text));
  }
  for (const [name, row] of rows) {
    if (sources.some((source) => source.name === name)) continue;
    row.remove();
    rows.delete(name);
    figures.get(name)?.figure.remove();
    figures.delete(name);
  }
}

function cellTexts(source, lost) {
  const { fps, nominal_fps: nominal, age_ms: age, uncertainty_ms: uncertainty } = source;
  return [
    source.state.replaceAll("_", " "),
    source.width ? `${source.width} × ${source.height}` : "–",
    nominal ? `${fps == null ? "–" : fps.toFixed(1)} of ${nominal}` : "–",
    age == null ? "–" : age < 1000 ? `${Math.round(age)} ms ago` : `${(age / 1000).toFixed(1)} s ago`,
    source.stamp ? `${source.stamp}${uncertainty ? `, ±${ms(uncertainty)} ms` : ""}` : "–",
    lost.map(([reason, count]) => `${count} ${reason}`).join(", ") || "0",
    String(source.reopened),
  ];
}

function showState(state) {
  document.body.classList.toggle("well", state.well);
  write($("sentence"), state.sentence);
  document.title = state.well ? "framepair" : "! framepair";
  write($("version"), `framepair ${state.version}, windows of ${state.window_ms} ms, times in UTC`);
  showSources(state.sources);
  showPairs(state);
  showChart("lag", state.lag_ms, 0);
  showChart("interval", state.interval_ms);
}

function complain(sentence) {
  document.body.classList.remove("well");
  document.title = "! framepair";
  write($("sentence"), sentence);
}

async function poll() {
  try {
    const answer = await fetch("api/state", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.ok) showState(await answer.json());
    else complain(answer.status === 401 ? await answer.text() : `The monitor answers ${answer.status}.`);
  } catch {
    complain("The monitor does not answer. Asking again.");
  }
  showControls();
  setTimeout(poll, POLL_MS);
}

new ResizeObserver(tellWidth).observe($("pictures"));
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
poll();
connect();
