"use strict";
// Names and remarks come from files that are not trusted: they only ever become text nodes.
const { files, tensors } = JSON.parse(document.getElementById("data").textContent);
const pair = files.length === 2;
const ROW = 27, SPARE = 12;
const at = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

// ---- what is known of a tensor ------------------------------------------------------------------

const collator = new Intl.Collator(undefined, { numeric: true });
const count = (n) => n.toLocaleString("en-US");
const short = (x) => (x === null || x === undefined ? "" : typeof x === "string" ? x : String(+x.toPrecision(4)));
const measure = (x) => (typeof x === "string" ? { "∞": Infinity, "-∞": -Infinity, NaN: NaN }[x] : x);
const shape = (side) => (side.shape.length ? side.shape.join(" × ") : "scalar");
const share = (n) => (n === 0 ? "" : count(n));

const ties = files.map((file) => {
  const known = new Map();
  const tie = (a, b, transposed) => known.set(a, [...(known.get(a) ?? []), { name: b, transposed }]);
  for (const [kept, others] of Object.entries(file.ties)) {
    for (const other of others) {
      tie(kept, other.name, other.transposed);
      tie(other.name, kept, other.transposed);
    }
  }
  return known;
});
const places = new Map(tensors.map((tensor, index) => [tensor.name, index]));

// Names that share one array, as pairs of neighbours; a name may be tied in either file or in both.
const pairs = new Map();
files.forEach((file) => {
  for (const [kept, others] of Object.entries(file.ties)) {
    const names = [kept, ...others.map((other) => other.name)].filter((name) => places.has(name));
    names.slice(1).forEach((name, i) => pairs.set(JSON.stringify([names[i], name]), [places.get(names[i]), places.get(name)]));
  }
});

for (const tensor of tensors) {
  tensor.side = tensor.sides.findLast((side) => side);
  const tied = new Set(ties.flatMap((known) => (known.get(tensor.name) ?? []).map((other) => other.name)));
  const said = [];
  if (tensor.other !== undefined) said.push(`${tensor.sides[0] ? "now" : "was"} ${tensor.other}`);
  if (tensor.change?.what) said.push(tensor.change.what);
  if (tied.size) said.push(`tied to ${[...tied].join(", ")}`);
  const equal = (tensor.side.equal ?? []).filter((name) => !tied.has(name));
  if (equal.length) said.push(`equal to ${equal.join(", ")}`);
  tensor.remarks = [...said, ...tensor.side.faults].join("; ");
  tensor.partners = [...tied].filter((name) => places.has(name));
  tensor.words = [tensor.name, tensor.side.dtype, shape(tensor.side), tensor.status ?? "", tensor.remarks].join(" ").toLowerCase();
}

// ---- columns: header, width in pixels, text, what to sort by, whether it is a number ------------

const longest = tensors.reduce((most, tensor) => Math.max(most, [tensor.name, ...tensor.partners].join(" ⇄ ").length), 12);
const number = (header, key, width, text = short) => [header, width, (t) => text(t.side[key]), (t) => measure(t.side[key]), true];
const columns = [
  ["name", Math.min(440, 30 + 7.5 * longest + (pairs.size ? 40 : 0)), (t) => t.name, (t) => t.name, false],
  ...(pair
    ? [
        ["status", 90, (t) => t.status, (t) => t.status, false],
        ["relative", 90, (t) => short(t.change?.relative), (t) => measure(t.change?.relative), true],
        ["largest", 90, (t) => short(t.change?.largest), (t) => measure(t.change?.largest), true],
      ]
    : []),
  ["shape", 140, (t) => shape(t.side), (t) => shape(t.side), false],
  ["dtype", 85, (t) => t.side.dtype, (t) => t.side.dtype, false],
  number("count", "size", 110, count),
  number("bytes", "nbytes", 120, count),
  number("mean", "mean", 95),
  number("std", "std", 90),
  number("min", "min", 90),
  number("max", "max", 90),
  number("zeros", "zeros", 90, share),
  number("NaN", "nans", 75, share),
  ["remarks", 320, (t) => t.remarks, (t) => t.remarks || null, false],
];
const grid = columns.map(([, width], i) => (i ? `${width}px` : `minmax(${width}px, 1fr)`)).join(" ");
const total = columns.reduce((sum, [, width]) => sum + width, 0);

// ---- state and table ----------------------------------------------------------------------------

let shown = tensors.map((_, index) => index); // Indices of tensors, filtered and sorted.
let sorting = { column: -1, down: false };
let prefix = "";
let active = 0; // A position in `shown`.
let opened = -1; // An index of a tensor.
let lines = []; // Ties between rows that are shown: {from, to, lane}, from above to below.

const table = at("table"), body = at("body"), head = at("head"), detail = at("detail"), search = at("search");

columns.forEach(([header, , , , numeric], i) => {
  const cell = make("div", undefined, { role: "columnheader", "aria-sort": "none", class: numeric ? "number" : "" });
  const button = make("button", header, { type: "button" });
  button.addEventListener("click", () => {
    const down = sorting.column === i ? !sorting.down : numeric;
    sorting = { column: i, down };
    filter();
  });
  cell.append(button);
  head.append(cell);
});
for (const part of [head, body]) part.style.width = `max(100%, ${total}px)`;
head.style.gridTemplateColumns = grid;

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const differing = at("differing").checked;
  const kept = shown[active];
  const below = (name) => !prefix || name === prefix || (name.startsWith(prefix) && "./".includes(name[prefix.length]));
  shown = [];
  tensors.forEach((tensor, index) => {
    if (below(tensor.name) && words.every((word) => tensor.words.includes(word)) && !(differing && tensor.status === "same")) shown.push(index);
  });
  if (sorting.column >= 0) {
    const [, , , key, numeric] = columns[sorting.column];
    const keys = tensors.map(key);
    const sign = sorting.down ? -1 : 1;
    const empty = (value) => value === null || value === undefined || Number.isNaN(value);
    shown.sort((a, b) => {
      const x = keys[a], y = keys[b];
      if (empty(x) || empty(y)) return empty(x) - empty(y) || a - b;
      return sign * (numeric ? (x > y) - (x < y) : collator.compare(x, y)) || a - b;
    });
  }
  head.childNodes.forEach((cell, i) => cell.setAttribute("aria-sort", i !== sorting.column ? "none" : sorting.down ? "descending" : "ascending"));
  active = Math.max(0, shown.indexOf(kept));
  at("count").textContent = shown.length === tensors.length ? `${count(shown.length)} tensors` : `${count(shown.length)} of ${count(tensors.length)} tensors`;
  table.setAttribute("aria-rowcount", shown.length + 1);
  layTies();
  body.style.height = `${shown.length * ROW}px`;
  table.scrollTop = Math.max(0, active * ROW - table.clientHeight / 2);
  render();
}

// ---- ties, as lines in the margin: each keeps to a lane that is free all the way ------------------

const LANE = 9, LANES = 7, CROSSING = 100;
const drawing = at("ties");

function layTies() {
  if (!pairs.size) return;
  const position = new Map(shown.map((index, at) => [index, at]));
  lines = [];
  for (const [one, other] of pairs.values()) {
    const a = position.get(one), b = position.get(other);
    if (a !== undefined && b !== undefined) lines.push({ from: Math.min(a, b), to: Math.max(a, b), lane: 0 });
  }
  lines.sort((x, y) => x.from - y.from || y.to - x.to);
  const taken = []; // The last row that a line in each lane reaches.
  for (const line of lines) {
    const free = taken.findIndex((last) => last < line.from);
    line.lane = free >= 0 ? free : Math.min(taken.length, LANES - 1);
    taken[line.lane] = Math.max(taken[line.lane] ?? 0, line.to);
  }
  // Short lines next to the names: long ones began first, and shall go around them.
  const most = Math.max(0, taken.length - 1);
  for (const line of lines) line.lane = most - line.lane;
  body.style.setProperty("--margin", lines.length ? `${most * LANE + 24}px` : "0.5em");
}

function drawTies(first, last) {
  const right = lines.reduce((most, line) => Math.max(most, line.lane), 0) * LANE + 20;
  drawing.setAttribute("width", right + 2);
  drawing.setAttribute("height", Math.max(0, last - first) * ROW);
  drawing.style.top = `${first * ROW}px`;
  const inside = (row) => row >= first && row < last;
  const touching = lines.filter((line) => inside(line.from) || inside(line.to));
  const crossing = lines.filter((line) => line.from < first && line.to >= last).slice(0, CROSSING);
  const paths = [...crossing, ...touching].map((line) => {
    // Far outside, a line may end anywhere.
    const y = (row) => (Math.min(last + 1, Math.max(first - 2, row)) - first + 0.5) * ROW;
    const x = right - 9 - line.lane * LANE, top = y(line.from), end = y(line.to);
    const path = document.createElementNS(drawing.namespaceURI, "path");
    path.setAttribute("d", `M${right} ${top}H${x + 5}Q${x} ${top} ${x} ${top + 5}V${end - 5}Q${x} ${end} ${x + 5} ${end}H${right}`);
    if (line.from === active || line.to === active) path.classList.add("active");
    path.line = line;
    return path;
  });
  drawing.replaceChildren(...paths);
}

drawing.addEventListener("click", (event) => {
  const line = event.target.line;
  if (!line) return;
  const middle = (table.scrollTop + table.clientHeight / 2) / ROW;
  const farther = Math.abs(line.from - middle) > Math.abs(line.to - middle) ? line.from : line.to;
  jump(active === farther || active === line.from ? line.to : active === line.to ? line.from : farther);
});

// To a row that may be far away: into the middle, with what stands around it.
function jump(position) {
  table.scrollTop = Math.max(0, (position + 1) * ROW - table.clientHeight / 2);
  go(position);
  table.focus();
}

// ---- rows -----------------------------------------------------------------------------------------

// Only the rows in sight are in the document.
function render() {
  const first = Math.max(0, Math.floor(table.scrollTop / ROW) - SPARE);
  const last = Math.min(shown.length, Math.ceil((table.scrollTop + table.clientHeight) / ROW) + SPARE);
  const rows = [];
  for (let position = first; position < last; position++) {
    const tensor = tensors[shown[position]];
    const row = make("div", undefined, {
      role: "row", id: `row-${position}`, class: `row ${tensor.status ?? ""}`,
      "aria-rowindex": position + 2, "aria-selected": position === active,
    });
    row.style.top = `${position * ROW}px`;
    row.style.gridTemplateColumns = grid;
    for (const [header, , text, , numeric] of columns) {
      const cell = make("div", text(tensor), { role: "gridcell", class: `cell ${numeric ? "number" : header}` });
      if (header === "name" || header === "remarks") cell.title = cell.textContent;
      if (header === "name") for (const partner of tensor.partners) cell.append(" ", tieTo(partner));
      row.append(cell);
    }
    rows.push(row);
  }
  if (lines.length) drawTies(first, last);
  body.replaceChildren(...rows, ...(lines.length ? [drawing] : []));
  if (active >= first && active < last) table.setAttribute("aria-activedescendant", `row-${active}`);
  else table.removeAttribute("aria-activedescendant");
}

function tieTo(name) {
  const button = make("button", `⇄ ${name}`, { type: "button", class: "tie", tabindex: "-1", title: `tied to ${name}: go there (t)` });
  button.partner = name;
  return button;
}

function go(position) {
  if (!shown.length) return;
  active = Math.min(shown.length - 1, Math.max(0, position));
  const top = active * ROW, room = table.clientHeight - ROW - head.offsetHeight;
  if (top < table.scrollTop) table.scrollTop = top;
  else if (top > table.scrollTop + room) table.scrollTop = top - room;
  render();
  if (!detail.hidden) open(shown[active]);
}

// ---- one tensor -----------------------------------------------------------------------------------

const colour = (name) => {
  const probe = make("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return [r, g, b];
};

function histogram(bins) {
  const canvas = make("canvas", undefined, { width: bins.length * 8, height: 140, role: "img", "aria-label": "Histogram of the values" });
  canvas.style.height = "110px";
  const pen = canvas.getContext("2d");
  pen.fillStyle = `rgb(${colour("--mark")})`;
  const most = Math.max(...bins);
  bins.forEach((n, i) => {
    const height = n && Math.max(1, (n / most) * 136);
    pen.fillRect(i * 8, 140 - height, 7, height);
  });
  return canvas;
}

function image({ pixels, height, width }) {
  const canvas = make("canvas", undefined, { width, height, role: "img", "aria-label": "Image of the values" });
  canvas.style.aspectRatio = `${width} / ${Math.max(height, width / 10)}`;
  canvas.style.maxHeight = "26em";
  const pen = canvas.getContext("2d"), data = pen.createImageData(width, height);
  const [low, high, zero, missing] = ["--low", "--high", "--zero", "--front"].map(colour);
  const bytes = atob(pixels);
  for (let i = 0; i < bytes.length; i++) {
    const level = bytes.charCodeAt(i);
    const far = Math.abs(level - 127) / 127, end = level > 127 ? high : low;
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = level === 255 ? missing[c] : zero[c] + far * (end[c] - zero[c]);
    data.data[4 * i + 3] = 255;
  }
  pen.putImageData(data, 0, 0);
  return canvas;
}

const figure = (canvas, ...captions) => {
  const drawn = make("figure"), caption = make("figcaption");
  caption.append(...captions.map((text) => make("span", text)));
  drawn.append(canvas, caption);
  return drawn;
};

function link(name) {
  const button = make("button", name, { type: "button", class: "link" });
  button.disabled = !places.has(name);
  button.addEventListener("click", () => show(name));
  return button;
}

function sideOf(tensor, side, index) {
  const section = make("section"), list = make("dl");
  if (pair) section.append(make("h3", files[index].path));
  if (!side) {
    section.append(make("p", "not in this file"));
    return section;
  }
  const facts = [["shape", shape(side)], ["dtype", side.dtype], ["count", count(side.size)], ["bytes", count(side.nbytes)]];
  for (const key of ["mean", "std", "min", "max"]) if (side[key] !== null) facts.push([key, short(side[key])]);
  facts.push(["zeros", count(side.zeros)], ["NaN", count(side.nans)], ["infinite", count(side.infs)]);
  if (side.faults.length) facts.push(["remarks", side.faults.join("; ")]);
  for (const [term, text] of facts) list.append(make("dt", term), make("dd", text));
  const others = (term, names) => {
    if (!names.length) return;
    const place = make("dd");
    names.forEach(([name, note], i) => place.append(i ? ", " : "", link(name), note));
    list.append(make("dt", term), place);
  };
  others("tied to", (ties[index].get(tensor.name) ?? []).map((other) => [other.name, other.transposed ? " (transposed)" : ""]));
  others("equal to", (side.equal ?? []).map((name) => [name, ""]));
  section.append(list);
  const drawn = side.picture;
  if (drawn?.bins.length) section.append(figure(histogram(drawn.bins), short(side.min), "histogram", short(side.max)));
  if (drawn) section.append(figure(image(drawn), `rows along axis 0`, `colours to ±${short(drawn.scale)}`));
  return section;
}

function open(index) {
  opened = index;
  const tensor = tensors[index], sides = make("div", undefined, { class: "sides" });
  const close = make("button", "×", { type: "button", class: "close", "aria-label": "Close" });
  close.addEventListener("click", shut);
  const parts = [close, make("h2", tensor.name)];
  if (tensor.change) {
    const { what, largest, relative, cosine } = tensor.change;
    parts.push(make("p", `changed${what && ` ${what}`}: largest ${short(largest)}, relative ${short(relative)}, cosine ${short(cosine)}`));
  }
  if (tensor.other !== undefined) {
    const said = make("p", tensor.sides[0] ? "now called " : "was called ");
    said.append(link(tensor.other));
    parts.push(said);
  }
  sides.append(...tensor.sides.map((side, i) => sideOf(tensor, side, i)));
  detail.replaceChildren(...parts, sides);
  detail.hidden = false;
}

// Round and round, also among more than two.
function nextPartner() {
  const tensor = tensors[shown[active]];
  if (!tensor?.partners.length) return undefined;
  const all = ringOf(tensor.name);
  return all[(all.indexOf(tensor.name) + 1) % all.length];
}

function ringOf(name) {
  const found = [name];
  for (const each of found) for (const other of tensors[places.get(each)].partners) if (!found.includes(other)) found.push(other);
  return found.sort((a, b) => places.get(a) - places.get(b));
}

function shut() {
  detail.hidden = true;
  opened = -1;
  table.focus();
}

function show(name) {
  const index = places.get(name);
  if (!shown.includes(index)) {
    search.value = "";
    at("differing").checked = false;
    choose("");
  }
  detail.hidden = false;
  jump(shown.indexOf(index));
}

// ---- the tree of modules; branches are made when they are opened ----------------------------------

const root = { path: "", below: new Map(), size: tensors.length };
for (const { name } of tensors) {
  let node = root;
  for (const found of name.matchAll(/[./]/g)) {
    const path = name.slice(0, found.index);
    if (!node.below.has(path)) node.below.set(path, { path, below: new Map(), size: 0 });
    node = node.below.get(path);
    node.size++;
  }
}

function choose(path) {
  prefix = path;
  document.querySelectorAll("nav .chosen").forEach((each) => each.classList.remove("chosen"));
  document.querySelectorAll("nav summary, nav button").forEach((each) => each.classList.toggle("chosen", each.path === path));
  filter();
}

function branch(node, above) {
  const label = node.path ? node.path.slice(above.path && above.path.length + 1) : "everything";
  const handle = make(node.below.size ? "summary" : "button", label || "(empty)");
  handle.path = node.path;
  handle.append(" ", make("small", count(node.size)));
  handle.addEventListener("click", () => choose(node.path));
  if (!node.below.size) {
    handle.type = "button";
    const line = make("div");
    line.append(handle);
    return line;
  }
  const drawn = make("details");
  drawn.append(handle);
  const fill = () => [...node.below.values()].sort((a, b) => collator.compare(a.path, b.path)).forEach((each) => drawn.append(branch(each, node)));
  drawn.addEventListener("toggle", fill, { once: true });
  return drawn;
}

// ---- beginning ------------------------------------------------------------------------------------

at("title").textContent = files.map((file) => file.path).join(" ↔ ");
at("told").textContent = files.map((file) => [`${file.format}, ${count(file.size)} bytes`, ...file.notes].join("; ")).join(" ↔ ");
at("only").hidden = !pair;
const tree = branch(root, root);
at("tree").append(tree);
if (tree instanceof HTMLDetailsElement) tree.open = true;

let asked = false;
const soon = () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; render(); });
};
table.addEventListener("scroll", soon, { passive: true });
new ResizeObserver(soon).observe(table);
search.addEventListener("input", filter);
at("differing").addEventListener("change", filter);
body.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (!row) return;
  if (event.target.partner !== undefined) return show(event.target.partner);
  detail.hidden = false;
  go(row.ariaRowIndex - 2);
});
table.addEventListener("keydown", (event) => {
  if (event.target !== table) return; // The buttons of the head have their own keys.
  const page = Math.max(1, Math.floor(table.clientHeight / ROW) - 2);
  const moves = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: shown.length - 1 };
  if (event.key in moves) go(moves[event.key]);
  else if (event.key === "Enter" && shown.length) open(shown[active]);
  else if (event.key === "t" && nextPartner() !== undefined) show(nextPartner());
  else return;
  event.preventDefault();
});
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") table.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== search) {
    event.preventDefault();
    search.focus();
  }
  if (event.key === "Escape" && !detail.hidden) shut();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => opened >= 0 && open(opened));
filter();
