// This browser's pictures (ui/gallery.py): a grid of them, one large with what made it, two under a slider.
// Its events: 'reuse_seed', 'reuse', 'vary', 'edit'.
//
// Runs once per component, with gradio's element, props and trigger in scope. What a recipe says reaches the page by
// textContent only.

const words = props.words[window.aigc.language];
const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const tag = document.documentElement.lang;

const { make } = window.aigc;

function button(text, act, name = "") {
  const node = make("button", `aigc-small ${name}`.trim(), text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

// ---- what a row says ------------------------------------------------------------------------------------------

const part = (value, name) => (value && typeof value[name] === "object" && value[name]) || {};
const shown = (value) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));
const settingsOf = (row) => part(row.recipe, "settings");
const promptOf = (row) => shown(settingsOf(row).prompt).trim();
const nameOf = (row) => {
  const text = promptOf(row) || words.untitled, seed = shown(settingsOf(row).seed);
  return seed ? say("with_seed", { text, seed }) : text;
};

const MADE_WITH = ["seed", "num_inference_steps", "guidance_scale", "scheduler"];
const NAMED = [...MADE_WITH, "prompt", "negative_prompt", "style", "model", "strength", "size"]; // settings that have a word
const told = (name, value) => (name === "scheduler" && props.samplers[window.aigc.language][value]) || shown(value);

// [label, text] of everything worth a line.
function factsOf(row) {
  const settings = settingsOf(row), model = part(row.recipe, "model");
  return [
    [words.model, shown(model.name) || shown(settings.model)],
    ...MADE_WITH.map((name) => [words[name], told(name, settings[name])]),
    [words.size, `${row.width} × ${row.height}`],
    [words.date, new Date(row.created).toLocaleString(tag, { dateStyle: "medium", timeStyle: "short" })],
  ].filter(([, text]) => text);
}

// [label, left, right] of every setting in which two pictures differ.
function differences(a, b) {
  const all = (row) => ({ ...settingsOf(row), model: shown(part(row.recipe, "model").name) || settingsOf(row).model, size: `${row.width} × ${row.height}` });
  const left = all(a), right = all(b);
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .map((name) => [NAMED.includes(name) ? words[name] : name, told(name, left[name]), told(name, right[name])])
    .filter(([, one, other]) => one !== other);
}

// What a downloaded file is called; letters of every language may stand in it.
function fileName(row) {
  const slug = promptOf(row).normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  const short = [...slug].slice(0, 40).join("").replace(/^-+|-+$/g, "");
  const seed = shown(settingsOf(row).seed).replace(/[^\w-]/g, "");
  return `${["aigc", short, seed].filter(Boolean).join("-")}.png`;
}

const dataUri = (blob) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(blob);
});

// ---- what stands on the page ----------------------------------------------------------------------------------

const root = element.querySelector(".aigc-gallery") || element;
const state = { rows: [], nodes: new Map(), current: 0, chosen: null, choosing: false, other: null, urls: [], asked: 0 };

const trouble = make("p", "aigc-note warn");
trouble.setAttribute("role", "status");
const count = make("span");
const all = button(words.all, async () => { if (confirm(words.sure)) await aigc.pictures.clear(); });
const none = make("p", "gl-note gl-none", words.none);
const hint = make("p", "gl-note gl-hint", words.choose);
hint.setAttribute("aria-live", "polite");
const grid = make("div", "gl-grid");
grid.setAttribute("role", "listbox");
grid.setAttribute("aria-label", words.pictures);
const detail = make("section", "gl-detail");
root.replaceChildren(make("p", "gl-note", words.where), trouble,
  make("div", "gl-top", count, hint, all), none, make("div", "gl-body", grid, detail));

// A thumbnail is decoded when it comes into sight; its url is given back as soon as the image has it.
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    const image = target.firstChild, url = URL.createObjectURL(target.thumb);
    image.onload = image.onerror = () => URL.revokeObjectURL(url);
    image.src = url;
  }
}, { rootMargin: "200px" });

function option(row) {
  const image = Object.assign(make("img"), { alt: "", draggable: false });
  const node = make("div", "gl-thumb", image);
  node.thumb = row.thumb;
  node.dataset.id = row.id;
  node.tabIndex = -1;
  node.title = promptOf(row);
  node.setAttribute("role", "option");
  node.setAttribute("aria-label", nameOf(row));
  sight.observe(node);
  return node;
}

async function draw() {
  const asked = ++state.asked;
  let rows = [];
  try { rows = await aigc.pictures.list(); } catch { tell(words.refused); }
  if (asked !== state.asked) return;
  const focused = grid.contains(document.activeElement), before = state.rows[state.current]?.id;
  const ids = new Set(rows.map((row) => row.id));
  for (const [id, node] of state.nodes) if (!ids.has(id)) { sight.unobserve(node); node.remove(); state.nodes.delete(id); }
  rows.forEach((row, at) => {
    if (!state.nodes.has(row.id)) state.nodes.set(row.id, option(row));
    const node = state.nodes.get(row.id);
    if (grid.children[at] !== node) grid.insertBefore(node, grid.children[at] || null);
  });
  state.rows = rows;
  const at = rows.findIndex((row) => row.id === before);
  moveTo(at < 0 ? Math.min(state.current, rows.length - 1) : at, focused && at < 0);
  root.classList.toggle("gl-empty", !rows.length);
  const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  const size = bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
  count.textContent = rows.length === 1 ? say("count_one", { size }) : say("count", { n: rows.length, size });
  if ([state.chosen, state.other].some((id) => id && !ids.has(id))) return choose(null);
  const compare = detail.querySelector(".gl-compare");
  if (compare) allow(compare);
}

function tell(text) {
  trouble.textContent = text;
  trouble.hidden = !text;
}

// ---- moving and selecting -------------------------------------------------------------------------------------

function moveTo(at, focus) {
  [...grid.children].forEach((node, index) => { node.tabIndex = index === at ? 0 : -1; });
  state.current = Math.max(0, at);
  if (focus) grid.children[at]?.focus();
}

// How many pictures stand in a row.
const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;

grid.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || !state.rows.length) return;
  const last = state.rows.length - 1, at = state.current;
  const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns(), ArrowUp: at - columns(), Home: 0, End: last };
  if (event.key in moves) {
    const to = moves[event.key];
    if (to >= 0 && to <= last) moveTo(to, true);
  } else if (event.key === "Enter" || event.key === " ") pick(state.rows[at].id);
  else return;
  event.preventDefault();
});
grid.addEventListener("click", (event) => {
  const node = event.target.closest(".gl-thumb");
  if (!node) return;
  moveTo([...grid.children].indexOf(node), true);
  pick(node.dataset.id);
});
root.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !state.chosen) return;
  if (state.choosing || state.other) choose(state.chosen); else leave();
  event.preventDefault();
});

function pick(id) {
  if (!state.choosing) choose(id);
  else if (id !== state.chosen) choose(state.chosen, id);
}

// Back to the grid, with nothing selected.
function leave() {
  choose(null);
  moveTo(state.current, true);
}

// Show one picture, or two; none for null.
async function choose(id, other = null) {
  Object.assign(state, { chosen: id, other, choosing: false });
  mark();
  const [first, second] = await Promise.all([id, other].map((one) => one && aigc.pictures.get(one).catch(() => null)));
  if (state.chosen !== id || state.other !== other) return;
  for (const url of state.urls.splice(0)) URL.revokeObjectURL(url);
  if ((id && !first) || (other && !second)) return draw(); // another tab deleted it
  const was = detail.childElementCount, focused = detail.contains(document.activeElement);
  detail.replaceChildren(...(second ? two(first, second) : first ? one(first) : []));
  root.classList.toggle("gl-open", !!first);
  if (focused) detail.querySelector("input, .gl-compare")?.focus();
  if (first && !(was && detail.getBoundingClientRect().top > 0)) detail.scrollIntoView({ block: "nearest" });
}

function mark() {
  for (const [id, node] of state.nodes) node.setAttribute("aria-selected", String(id === state.chosen || id === state.other));
  root.classList.toggle("gl-choosing", state.choosing);
  hint.textContent = state.choosing ? words.second : words.choose;
}

// ---- one picture ----------------------------------------------------------------------------------------------

const LEAST = 288; // pixels: smaller pictures are enlarged to this, and no further, for they would only blur

function large(row) {
  const image = make("img");
  state.urls.push((image.src = URL.createObjectURL(row.blob)));
  image.alt = nameOf(row);
  image.style.setProperty("--gl-shape", row.width / row.height);
  image.style.setProperty("--gl-wide", `${Math.max(LEAST, row.width)}px`);
  return image;
}

function allow(compare) {
  compare.disabled = state.rows.length < 2;
  compare.title = compare.disabled ? words.compare_one : "";
}

function one(row) {
  const { recipe } = row, settings = settingsOf(row), facts = make("dl", "aigc-facts");
  for (const [label, text] of factsOf(row)) facts.append(make("div", "aigc-fact", make("dt", "", label), make("dd", "", text)));
  const compare = button(words.compare, () => {
    state.choosing = !state.choosing;
    compare.textContent = state.choosing ? words.cancel : words.compare;
    mark();
    if (!state.choosing) return;
    moveTo(state.current, true);
    hint.scrollIntoView({ block: "nearest" });
  }, "gl-compare");
  allow(compare);
  const close = Object.assign(button("×", leave), { className: "gl-close" });
  close.setAttribute("aria-label", words.close);
  close.title = words.close;
  const texts = make("div", "gl-texts", make("p", "", promptOf(row) || words.untitled));
  const without = shown(settings.negative_prompt).trim();
  if (without) texts.append(make("p", "gl-without", `${words.negative_prompt}: ${without}`));
  return [
    make("figure", "gl-picture", large(row), close), texts, make("div", "gl-facts", facts),
    make("div", "gl-actions",
      button(words.reuse, () => trigger("reuse", { recipe })),
      button(words.reuse_seed, () => trigger("reuse_seed", { recipe })),
      ...(settingsOf(row).image ? [] : [
        button(words.little, () => trigger("vary", { recipe, how: "little" })),
        button(words.lot, () => trigger("vary", { recipe, how: "lot" })),
      ]),
      button(words.edit, async () => trigger("edit", { recipe, picture: await dataUri(row.blob) })),
      compare,
      button(words.download, () => aigc.download(fileName(row), row.blob)),
      button(words.delete, async () => {
        const at = state.rows.findIndex(({ id }) => id === row.id);
        if ((await aigc.pictures.remove(row.id)) === null) return;
        await draw();
        moveTo(Math.min(at, state.rows.length - 1), true);
      }, "gl-delete")),
  ];
}

// ---- two pictures ---------------------------------------------------------------------------------------------

function two(a, b) {
  const { box, slider } = aigc.wipe(large(a), large(b), words.wipe, (at) => say("wiped", { a: at, b: 100 - at }));
  box.style.setProperty("--wipe-shape", a.width / a.height);
  box.style.setProperty("--wipe-wide", `${Math.max(LEAST, a.width, b.width)}px`);

  const rows = differences(a, b), table = make("table", "gl-differences");
  const cell = (text) => Object.assign(make("th", "", text), { scope: "col" });
  table.createTHead().append(make("tr", "", cell(words.differences), cell(words.left), cell(words.right)));
  const body = table.createTBody();
  for (const [label, one, other] of rows) {
    body.append(make("tr", "", Object.assign(make("th", "", label), { scope: "row" }),
      make("td", "", one || "–"), make("td", "", other || "–")));
  }
  return [box, slider, rows.length ? table : make("p", "gl-note", words.same),
    make("div", "gl-actions", button(words.end, () => choose(a.id)))];
}

// ---- what happens elsewhere -----------------------------------------------------------------------------------

function listen(name, act) {
  const heard = (event) => (root.isConnected ? act(event) : document.removeEventListener(name, heard));
  document.addEventListener(name, heard);
}
listen("aigc-pictures", () => { tell(""); draw(); });
listen("aigc-pictures-trouble", ({ detail: name }) =>
  tell(name === "QuotaExceededError" ? words.full : name === "NetworkError" ? words.lost : words.refused));

tell("");
mark();
draw();
