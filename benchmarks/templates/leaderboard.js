const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const made = (tag, text, name) => {
  const one = document.createElement(tag);
  if (text !== undefined) one.textContent = text;
  if (name) one.className = name;
  return one;
};
const drawn = (tag, values, text) => {
  const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(values)) one.setAttribute(name, value);
  if (text !== undefined) one.textContent = text;
  return one;
};
const number = value => value === null || !value ? "" : String(Number(value.toPrecision(4)));
const score = value => {
  const rounded = Math.round(value * 100) / 100;
  return Number.isInteger(rounded) ? rounded.toFixed(1) : String(rounded);
};
const commonest = values => {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
};

const COLUMNS = [
  { key: "system", title: "System", value: one => one.system },
  { key: "score", title: "Score", value: one => one.score, numeric: true },
  { key: "suite", title: "Suite", value: one => one.suite },
  { key: "how", title: "Protocol", value: one => one.how },
  { key: "pretraining", title: "Pretraining", value: one => one.pretraining },
  { key: "frames", title: "Frames", value: one => one.frames || null, numeric: true },
  { key: "resolution", title: "px", value: one => one.resolution || null, numeric: true },
  { key: "views", title: "Views", value: one => one.views ? one.views.split("x").reduce((a, b) => a * b) : null, numeric: true },
  { key: "params", title: "Params, M", value: one => one.params_m, numeric: true },
  { key: "gflops", title: "GFLOPs", value: one => one.gflops, numeric: true },
  { key: "licence", title: "Licence", value: one => one.licence },
  { key: "source", title: "Source and remarks", value: one => one.source },
];
const FILTERS = ["suite", "frames", "family", "how", "kind", "q"];
const form = at("filters");
let state = {};

// Colour and shape of a family; families of one colour have different shapes.
const SHAPES = ["circle", "square", "triangle", "diamond"];
function look(family) {
  const place = data.families.indexOf(family);
  return family === "others" ? ["var(--control)", "circle"] : [`var(--c${place % data.colors})`, SHAPES[place % SHAPES.length]];
}
function mark(one, x, y, size = 5) {
  const [color, shape] = look(one.family), s = size;
  const style = { class: `mark ${one.kind}`, stroke: color, ...(one.kind === "measured" ? { fill: color } : {}) };
  if (shape === "circle") return drawn("circle", { ...style, cx: x, cy: y, r: s });
  const points = {
    square: [[-s, -s], [s, -s], [s, s], [-s, s]], triangle: [[0, -s * 1.2], [s * 1.15, s], [-s * 1.15, s]],
    diamond: [[0, -s * 1.3], [s * 1.3, 0], [0, s * 1.3], [-s * 1.3, 0]],
  }[shape];
  return drawn("polygon", { ...style, points: points.map(([a, b]) => `${x + a},${y + b}`).join(" ") });
}

function read() {
  const told = new URLSearchParams(location.hash.slice(1));
  const usual = { suite: commonest(data.entries.map(one => one.suite)) ?? "", sort: "score" };
  state = Object.fromEntries(told.size ? told : Object.entries(usual));
  state.sort = COLUMNS.some(column => column.key === state.sort) ? state.sort : "score";
  for (const name of FILTERS) {
    const field = form.elements[name];
    field.value = state[name] ?? "";
    if (field.value !== (state[name] ?? "")) { delete state[name]; field.value = ""; }
  }
}
function write() {
  const words = new URLSearchParams(Object.entries(state).filter(([, value]) => value)).toString();
  history.replaceState(null, "", words ? `#${words}` : "#sort=score");
}
const fits = (one, but) => FILTERS.every(name => {
  const wanted = state[name];
  if (!wanted || name === but) return true;
  if (name === "q") return JSON.stringify(one).toLowerCase().includes(wanted.toLowerCase());
  return String(one[name]) === wanted;
});
function options(field, values, all) {
  field.replaceChildren(new Option(all, ""), ...values.map(value => new Option(value, value)));
}
function choices() {
  const words = name => [...new Set(data.entries.map(one => one[name]))].filter(Boolean);
  options(form.elements.suite, words("suite").sort(), "all suites");
  options(form.elements.frames, words("frames").sort((a, b) => a - b), "any");
  options(form.elements.family, data.families, "all families");
  options(form.elements.how, words("how").sort(), "all protocols");
  options(form.elements.kind, words("kind"), "reported and measured");
}

function ordered(shown) {
  const column = COLUMNS.find(one => one.key === state.sort), lower = column.key === "score" && commonest(shown.map(one => one.lower));
  const down = state.dir ? state.dir === "down" : Boolean(column.key === "score" && !lower);
  const rows = shown.map(one => [column.value(one), one]);
  rows.sort(([a], [b]) => {
    const [noA, noB] = [a, b].map(value => value === null || value === "");
    if (noA || noB) return noA - noB; // what is not known comes last, whichever way
    return (down ? -1 : 1) * (column.numeric ? a - b : String(a).localeCompare(String(b)));
  });
  return [rows.map(([, one]) => one), down];
}
function usual(shown, name) {
  const groups = new Map();
  for (const one of shown) {
    const group = `${one.suite} ${one.metric}`;
    if (!groups.has(group)) groups.set(group, []);
    if (one[name]) groups.get(group).push(one[name]);
  }
  return new Map([...groups].map(([group, values]) => [group, commonest(values)]));
}
function line(one, hows, views) {
  const row = made("tr", undefined, one.kind), group = `${one.suite} ${one.metric}`;
  row.dataset.key = one.key;
  const cell = (name, text) => { const it = made("td", text, name); row.append(it); return it; };
  const odd = (it, value, most) => {
    if (!value || !most || value === most) return;
    row.dataset.differs = "";
    const sign = made("span", "≠ ", "differs");
    sign.title = `most rows shown: ${most}`;
    it.prepend(sign);
  };
  const system = cell("system"), swatch = drawn("svg", { viewBox: "-8 -8 16 16", class: "swatch" });
  swatch.append(mark(one, 0, 0));
  system.append(swatch, one.system);
  if (one.kind === "measured") system.append(" ", made("span", one.kind, "tag"));
  const key = made("small", undefined, "key-name");
  key.append(...one.key.split(/(?<=[:_-])/).flatMap(part => [part, made("wbr")]));
  system.append(key);
  const value = cell("score n");
  value.append(made("b", score(one.score)), made("small", one.metric));
  if (one.interval.length) value.append(made("small", `${score(one.interval[0])} to ${score(one.interval[1])}`));
  for (const other of one.others) value.append(made("small", `also printed: ${other}`, "differs"));
  if (one.verdict) value.append(made("small", one.verdict, one.verdict === "within interval" ? "ok" : "differs"));
  if (!state.suite) cell("", one.suite);
  odd(cell("how", one.how), one.how, hows.get(group));
  cell("pretraining", one.pretraining);
  cell("n", one.frames || "");
  cell("n", one.resolution || "");
  odd(cell("n", one.views), one.views, views.get(group));
  cell("n", number(one.params_m));
  cell("n", number(one.gflops));
  const [licence, words] = one.licence.split(" (");
  cell("", licence).title = words ? words.replace(/\)$/, "") : "";
  const source = cell("source");
  source.append(`${one.source}${one.source_kind && one.source_kind !== "paper" ? ` (${one.source_kind})` : ""}`);
  if (one.more) source.append(made("small", one.more));
  const said = [...one.conflicts, ...one.remarks];
  if (said.length) {
    const remarks = made("details");
    remarks.append(made("summary", one.conflicts.length ? "sources disagree" : said.length > 1 ? `${said.length} remarks` : "a remark"));
    for (const words of said) remarks.append(made("small", words));
    source.append(remarks);
  }
  return row;
}
function head(down) {
  at("head").replaceChildren(...COLUMNS.filter(column => column.key !== "suite" || !state.suite).map(column => {
    const cell = made("th", undefined, column.numeric ? "n" : ""), button = made("button", column.title);
    button.type = "button";
    if (column.key === state.sort) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    button.addEventListener("click", () => {
      state.dir = column.key === state.sort ? (down ? "up" : "down") : "";
      state.sort = column.key;
      show();
    });
    cell.append(button);
    return cell;
  }));
}

const WIDTH = 380, HEIGHT = 270, LEFT = 44, BOTTOM = 42, TOP = 10, RIGHT = 12;
const PANELS = [["GFLOPs per video", "gflops", 10], ["parameters, M", "params_m", 10], ["frames per clip", "frames", 2]];
function ticks(low, high, base) {
  if (base === 2) return Array.from({ length: 12 }, (_, power) => 2 ** power).filter(value => value >= low && value <= high);
  const all = [];
  for (let power = -3; power < 8; power++) for (const step of [1, 2, 5]) all.push(step * 10 ** power);
  const inside = all.filter(value => value >= low && value <= high);
  return inside.length > 6 ? inside.filter(value => Math.log10(value) % 1 === 0) : inside;
}
function linear(low, high) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].find(size => (high - low) / size <= 6) ?? 1000;
  const all = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) all.push(Math.round(value * 10) / 10);
  return all;
}
function panel([title, name, base], entries, metric) {
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${metric} against ${title}` });
  const known = entries.filter(one => one[name]);
  if (!known.length) return null;
  svg.append(drawn("text", { class: "axis", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, title));
  const xs = known.map(one => one[name]), ys = known.map(one => one.score), pad = Math.max(...ys) - Math.min(...ys) || 1;
  const [x0, x1] = [Math.min(...xs) / 1.3, Math.max(...xs) * 1.3].map(Math.log);
  const [y0, y1] = [Math.min(...ys) - 0.08 * pad, Math.max(...ys) + 0.08 * pad];
  const x = value => LEFT + (Math.log(value) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
  const y = value => HEIGHT - BOTTOM - (value - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP);
  for (const value of linear(y0, y1)) {
    svg.append(drawn("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value));
  }
  for (const value of ticks(Math.exp(x0), Math.exp(x1), base)) {
    svg.append(drawn("line", { class: "grid", x1: x(value), x2: x(value), y1: TOP, y2: HEIGHT - BOTTOM }));
    svg.append(drawn("text", { x: x(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, value >= 1e4 ? `${value / 1e3}k` : value));
  }
  for (const one of [...known].sort((a, b) => (a.kind === "measured") - (b.kind === "measured"))) {
    const point = mark(one, x(one[name]), y(one.score), 4.5);
    point.append(drawn("title", {}, `${one.system}: ${score(one.score)}, ${one.how}, ${number(one[name])} ${title} (${one.kind})`));
    svg.append(point);
  }
  return svg;
}
function plots(shown) {
  const group = commonest(shown.map(one => `${one.suite}\n${one.metric}`)) ?? "";
  const entries = shown.filter(one => `${one.suite}\n${one.metric}` === group), [suite, metric] = group.split("\n");
  const panels = PANELS.map(one => panel(one, entries, metric ?? ""));
  at("panels").replaceChildren(...panels.filter(Boolean));
  const lacking = PANELS.filter((_, place) => !panels[place]).map(([title]) => title);
  const unsaid = lacking.length ? ` Not said of any of them: ${lacking.join(", ")}.` : "";
  const rest = entries.length < shown.length ? ` Drawn is what most rows shown are about; ${shown.length - entries.length} others are not.` : "";
  at("plotted").textContent = entries.length ? `${suite}: ${metric}. Filled: measured here; hollow: reported.${unsaid}${rest}` : "";
  at("legend").replaceChildren(...data.families.filter(family => shown.some(one => one.family === family)).map(family => {
    const button = made("button"), key = drawn("svg", { viewBox: "-8 -8 16 16" });
    key.append(mark({ family, kind: "measured" }, 0, 0));
    button.type = "button";
    button.title = "show this family only";
    button.append(key, family);
    button.addEventListener("click", () => choose("family", state.family === family ? "" : family));
    return button;
  }));
}

function show() {
  const shown = data.entries.filter(one => fits(one)), [rows, down] = ordered(shown);
  const hows = usual(shown, "how"), views = usual(shown, "views");
  at("body").replaceChildren(...rows.map(one => line(one, hows, views)));
  at("count").textContent = `${rows.length} of ${data.entries.length} rows`;
  at("sorted").textContent = `by ${COLUMNS.find(one => one.key === state.sort).title}, ${down ? "largest" : "smallest"} first`;
  head(down);
  plots(shown);
  follow();
  write();
}
function choose(name, value) {
  state[name] = value;
  form.elements[name].value = value;
  show();
}

function differences() {
  const group = data.groups[at("group").value], [a, b] = ["first", "second"].map(id => group.systems[at(id).value]);
  const share = (one, place) => one.hits[place] / one.videos[place];
  const rows = group.classes.map((name, place) => ({ name, place, videos: [a.videos[place], b.videos[place]] }))
    .filter(one => one.videos[0] && one.videos[1])
    .map(one => ({ ...one, gap: 100 * (share(a, one.place) - share(b, one.place)) }))
    .sort((one, other) => other.gap - one.gap);
  const most = 20, few = rows.length > 2 * most ? [...rows.slice(0, most), ...rows.slice(-most)] : rows;
  const reach = Math.max(...few.map(one => Math.abs(one.gap)), 1);
  const bars = few.map(one => {
    const bar = made("i", undefined, one.gap < 0 ? "worse" : "better"), track = made("div", undefined, "track");
    bar.style.width = `${Math.abs(one.gap) / reach * 50}%`;
    bar.style[one.gap < 0 ? "right" : "left"] = "50%";
    track.append(bar);
    const row = made("div", undefined, "class"), words = `${one.gap > 0 ? "+" : one.gap < 0 ? "−" : ""}${score(Math.abs(one.gap))}`;
    row.title = `${a.hits[one.place]} of ${one.videos[0]} against ${b.hits[one.place]} of ${one.videos[1]}`;
    row.append(made("span", one.name), track, made("b", words));
    return row;
  });
  at("differences").replaceChildren(...bars);
  const won = rows.filter(one => one.gap > 0).length, lost = rows.filter(one => one.gap < 0).length;
  at("differing").textContent = `In points. Of ${rows.length} classes, ${a.name} is better on ${won}, ${b.name} on ${lost}.`
    + (few.length < rows.length ? ` Shown are the ${most} classes at either end.` : "");
}
function systems() {
  const there = Object.entries(data.groups[at("group").value].systems);
  for (const [id, word, place] of [["first", "a", 0], ["second", "b", 1]]) {
    at(id).replaceChildren(...there.map(([key, one]) => new Option(one.name, key)));
    at(id).value = there.some(([key]) => key === state[word]) ? state[word] : there[place][0];
  }
  differences();
}
// The classes of the suite that is shown, unless they are on screen already.
function follow() {
  const wanted = Object.keys(data.groups).find(name => name.startsWith(`${state.suite},`));
  if (!wanted || at("group").value.startsWith(`${state.suite},`)) return;
  at("group").value = wanted;
  systems();
}
function classes() {
  const names = Object.keys(data.groups);
  if (!names.length) return;
  at("classes").hidden = false;
  at("group").replaceChildren(...names.map(name => new Option(name, name)));
  at("group").value = names.includes(state.group) ? state.group : names[0];
  const chosen = () => Object.assign(state, { group: at("group").value, a: at("first").value, b: at("second").value });
  at("group").addEventListener("change", () => { systems(); chosen(); write(); });
  for (const id of ["first", "second"]) at(id).addEventListener("change", () => { differences(); chosen(); write(); });
  systems();
}

choices();
read();
classes();
show();
form.addEventListener("input", event => choose(event.target.name, event.target.value));
form.addEventListener("submit", event => event.preventDefault());
at("reset").addEventListener("click", () => {
  for (const name of [...FILTERS, "dir"]) { delete state[name]; if (form.elements[name]) form.elements[name].value = ""; }
  show();
});
addEventListener("hashchange", () => { read(); show(); });
