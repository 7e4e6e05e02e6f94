// A grid of pictures (ui/grid_table.py): a table that fills while it is made, and one cell large. Its event: 'reuse'.
//
// Runs once per component, with gradio's element, props, trigger and watch in scope. What a label, a message or a
// recipe says reaches the page by textContent only.

const words = props.words[window.aigc.language];

function make(tag, name, ...inside) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inside);
  return node;
}

function button(text, act, name = "") {
  const node = make("button", `aigc-small ${name}`.trim(), text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

const file = (path) => `${window.gradio_config?.root || ""}/gradio_api/file=${encodeURI(path)}`;
const shown = (value) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));

// ---- what stands on the page ----------------------------------------------------------------------------------

const root = element.querySelector(".aigc-grid") || element;
const state = { shape: "", value: null, cells: new Map(), open: null };
const hint = make("p", "gr-note", words.choose);
const scroll = make("div", "gr-scroll");
const detail = make("section", "gr-detail");
const trouble = make("p", "aigc-note warn");
trouble.setAttribute("role", "status");
const sheet = make("div", "gr-sheet", button(words.sheet, () => save(state.value.sheet, "aigc-grid.png")), make("p", "gr-note", words.sheet_help));
root.replaceChildren(make("div", "gr-body", make("div", "gr-left", scroll, hint), detail), trouble, sheet);

async function save(path, name) {
  const answer = await fetch(file(path)).catch(() => null);
  trouble.textContent = answer?.ok ? "" : words.gone;
  trouble.hidden = !trouble.textContent;
  if (answer?.ok) aigc.download(name, await answer.blob());
}

// ---- the table ------------------------------------------------------------------------------------------------

function head(text, scope, name = "") {
  return Object.assign(make("th", name, text), { scope });
}

// The table anew, where its axes are others.
function build({ x, y }) {
  const table = make("table", ""), top = table.createTHead();
  table.setAttribute("aria-label", words.table);
  const rows = y.labels.length > 1 || y.name;
  const lead = () => (rows ? [make("td", "gr-corner")] : []);
  if (x.name) top.append(make("tr", "", ...lead(), Object.assign(head(x.name, "colgroup", "gr-name"), { colSpan: x.labels.length })));
  const columns = make("tr", "", ...lead(), ...(x.name ? x.labels.map((label) => head(label, "col")) : []));
  if (rows) columns.firstChild.append(make("span", "gr-name", y.name));
  if (x.name || rows) top.append(columns);
  const body = table.createTBody();
  state.cells.clear();
  y.labels.forEach((label, row) => {
    const line = make("tr", "", ...(rows ? [head(label, "row")] : []));
    x.labels.forEach((over, column) => {
      const cell = make("td", "gr-cell");
      cell.label = [x.name && `${x.name}: ${over}`, y.name && `${y.name}: ${label}`].filter(Boolean).join(" · ");
      state.cells.set(`${column},${row}`, cell);
      line.append(cell);
    });
    body.append(line);
  });
  root.style.setProperty("--gr-columns", x.labels.length);
  root.classList.toggle("gr-rows", !!rows);
  scroll.replaceChildren(table);
}

function fill(node, cell) {
  const key = JSON.stringify([cell.state, cell.path, cell.said]);
  if (node.key !== key) {
    node.key = key;
    node.replaceChildren();
    node.className = `gr-cell gr-${cell.state}`;
    if (cell.state === "done" || cell.state === "failed") {
      const act = make("button", "gr-open");
      act.type = "button";
      act.addEventListener("click", () => open(`${cell.column},${cell.row}`, true));
      act.setAttribute("aria-label", cell.state === "done" ? node.label : `${node.label}: ${words.failed}`);
      act.append(cell.state === "done" ? picture(cell, "") : make("span", "gr-said", cell.said));
      node.append(act);
    } else {
      const image = Object.assign(make("img"), { alt: "" });
      node.append(make("div", "gr-open", image, make("i", "gr-bar")));
      node.title = words[cell.state];
    }
  }
  if (cell.state !== "now") return;
  const [image, bar] = node.firstChild.children;
  if (cell.preview) image.src = cell.preview; else image.removeAttribute("src");
  bar.style.width = `${100 * (cell.share || 0)}%`;
}

function picture(cell, alt) {
  return Object.assign(make("img"), { alt, src: file(cell.path), draggable: false });
}

// ---- one cell -------------------------------------------------------------------------------------------------

function open(at, asked = false) {
  const cell = state.value?.cells.find(({ column, row }) => `${column},${row}` === at);
  const seen = cell && (cell.state === "done" || cell.state === "failed");
  const key = seen ? JSON.stringify([at, cell.state, cell.path]) : "";
  state.open = seen ? at : null;
  root.classList.toggle("gr-is-open", !!seen);
  for (const [place, node] of state.cells) node.classList.toggle("gr-chosen", place === state.open);
  if (detail.key === key && !asked) return;
  detail.key = key;
  detail.hidden = !seen;
  if (!seen) return detail.replaceChildren();
  const label = state.cells.get(at).label;
  const close = Object.assign(button("×", () => leave(at)), { className: "gr-close", title: words.close });
  close.setAttribute("aria-label", words.close);
  if (cell.state === "failed") {
    detail.replaceChildren(make("p", "gr-label", label, close), make("p", "aigc-note warn", cell.said));
  } else {
    const settings = cell.recipe?.settings || {}, facts = make("dl", "aigc-facts");
    for (const name of ["model", "seed", "num_inference_steps", "guidance_scale"]) {
      if (shown(settings[name])) facts.append(make("div", "aigc-fact", make("dt", "", words[name]), make("dd", "", shown(settings[name]))));
    }
    const large = picture(cell, label), recipe = cell.recipe;
    large.addEventListener("error", () => large.replaceWith(make("p", "aigc-note warn", words.gone)));
    const keep = button(words.keep, async () => {
      keep.disabled = true;
      if (await aigc.pictures.add({ url: file(cell.path), recipe })) keep.textContent = words.kept; else keep.disabled = false;
    });
    detail.replaceChildren(
      make("p", "gr-label", label, close), make("figure", "gr-large", large), make("p", "gr-prompt", shown(settings.prompt)), facts,
      make("div", "gr-actions", button(words.use, () => trigger("reuse", { recipe })), keep,
        button(words.download, () => save(cell.path, `aigc-${shown(settings.seed)}-${cell.column + 1}-${cell.row + 1}.png`))));
  }
  if (asked) detail.scrollIntoView({ block: "nearest" });
}

function leave(at) {
  open(null, true);
  state.cells.get(at)?.querySelector("button")?.focus();
}

root.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !state.open) return;
  leave(state.open);
  event.preventDefault();
});

// ---- a payload arrives ----------------------------------------------------------------------------------------

function update() {
  const value = props.value && typeof props.value === "object" ? JSON.parse(JSON.stringify(props.value)) : null;
  state.value = value;
  root.hidden = !value;
  trouble.hidden = true;
  if (!value) return;
  const shape = JSON.stringify([value.x, value.y]);
  if (shape !== state.shape) build(value);
  state.shape = shape;
  for (const cell of value.cells) fill(state.cells.get(`${cell.column},${cell.row}`), cell);
  hint.hidden = !value.cells.some(({ state: how }) => how === "done");
  sheet.hidden = !value.sheet;
  open(state.open);
}

watch("value", update);
update();
