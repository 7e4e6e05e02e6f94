// The token view (ui/token_view.py): tokens as running text, the alternatives at the selected one, and the
// next-token distribution under the sliders' present settings. Its events: 'branch'.
//
// Runs once per component, with gradio's element, props, trigger and watch in scope. Text of the model
// reaches the page by textContent only.

// ---- the distribution: generators/sampling.py, repeated in the browser ----------------------------------------

const FILTERS = ["temperature", "top_k", "top_p", "min_p"];
const COLDEST = 1e-6; // temperatures below this count as 0

// One line of the payload's `heads`.
function readHead(line) {
  const [ids, scores, probabilities, counts, low, tail] = JSON.parse(line);
  return { ids, scores, probabilities, counts, low, tail };
}

// The scores of the whole vocabulary, ranked: those of the head, and the tail's spread over their bins. The
// density inside a bin is exponential, with the slope between its neighbours.
function unfold({ scores, low, tail }) {
  const high = scores[scores.length - 1], width = (high - low) / tail.length;
  const all = new Float64Array(scores.length + tail.reduce((sum, n) => sum + n, 0));
  all.set(scores);
  let at = scores.length;
  for (let bin = tail.length - 1; bin >= 0; bin--) {
    const n = tail[bin];
    const above = bin + 1 < tail.length ? tail[bin + 1] : scores.filter((s) => s < high + width).length;
    const below = bin > 0 ? tail[bin - 1] : n;
    const slope = Math.max(-4, Math.min(4, Math.log(Math.max(below, 0.5) / Math.max(above, 0.5)) / 2));
    for (let i = 0; i < n; i++) {
      const share = (i + 0.5) / n;
      const depth = Math.abs(slope) < 1e-3 ? share : Math.log1p(share * Math.expm1(slope)) / slope;
      all[at++] = low + width * (bin + 1 - depth);
    }
  }
  return all;
}

// Unnormalised softmax of ranked scores; temperature 0 leaves the likeliest alone.
function weigh(scores, temperature) {
  const weights = new Float64Array(scores.length);
  if (temperature < COLDEST) weights[0] = 1;
  else for (let i = 0; i < scores.length; i++) weights[i] = Math.exp((scores[i] - scores[0]) / temperature);
  return weights;
}

const sum = (numbers, end = numbers.length) => {
  let total = 0;
  for (let i = 0; i < end; i++) total += numbers[i];
  return total;
};

// How many tokens are left after each filter, in the order of FILTERS. See `sampling.cut` for the definitions.
function cut(scores, weights, { temperature, top_k, top_p, min_p }) {
  if (temperature < COLDEST) return [1, 1, 1, 1];
  const size = scores.length, counts = [size];
  let left = size;
  if (top_k > 0 && top_k < size) {
    left = top_k;
    while (left < size && scores[left] === scores[top_k - 1]) left++; // equals stay
  }
  counts.push(left);
  if (top_p < 1) {
    const enough = top_p * sum(weights, left);
    let before = 0, n = 0;
    while (n < left && before < enough) before += weights[n++];
    left = n;
  }
  counts.push(left);
  if (min_p > 0) {
    const lowest = scores[0] + Math.log(min_p) * temperature;
    let n = 0;
    while (n < left && scores[n] >= lowest) n++;
    left = Math.max(1, n);
  }
  counts.push(left);
  return counts;
}

// The distribution under some settings. before(rank): after temperature alone; after(rank): what the draw sees.
// counts: to use instead of cutting, where they are known.
function distribute(scores, settings, counts) {
  const weights = weigh(scores, settings.temperature);
  counts = counts || cut(scores, weights, settings);
  const kept = counts[counts.length - 1], all = sum(weights), left = sum(weights, kept);
  return {
    counts,
    kept,
    before: (rank) => weights[rank] / all,
    after: (rank) => (rank < kept ? weights[rank] / left : 0),
    // probability of the ranks that `skip` does not hold: [kept ones after the filters, removed ones before them]
    rest(skip) {
      let stays = left, goes = all - left;
      for (const rank of skip) if (rank < kept) stays -= weights[rank]; else goes -= weights[rank];
      return [Math.max(0, stays / left), Math.max(0, goes / all)];
    },
  };
}

const removedBy = (counts, rank) => FILTERS[counts.findIndex((count) => rank >= count)] || null;
const surprisal = (probability) => -Math.log2(Math.max(probability, 1e-45));
const LEVELS = [0.5, 0.2, 0.05, 0.01]; // a token's mark, 0 to 4: how many of these its probability is below
const levelOf = (probability) => LEVELS.filter((bound) => probability < bound).length;

window.aigc = Object.assign(window.aigc || {}, {
  tokenView: { readHead, unfold, weigh, cut, distribute, removedBy, levelOf, surprisal },
});

// ---- words and numbers ----------------------------------------------------------------------------------------

const language = window.aigc.language || (navigator.language.startsWith("zh") ? "zh" : "en");
const words = props.words[language] || props.words.en;
const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const filterName = (name) => words[name].trim();
const whole = (n) => n.toLocaleString(language === "zh" ? "zh-CN" : "en");

function percent(p) {
  const n = p * 100;
  if (n === 0) return "0%";
  if (n < 0.001) return "<0.001%";
  if (n === 100) return "100%";
  if (n > 99.9) return ">99.9%";
  return `${n.toFixed(n >= 9.995 ? 1 : n >= 0.1 ? 2 : 3)}%`;
}

// ---- building blocks ------------------------------------------------------------------------------------------

function make(tag, name, ...inside) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inside);
  return node;
}

const MARKS = { " ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍" };
const NAMES = { " ": "space", "\n": "newline" };

// A token by itself: white space at its ends, and line breaks anywhere, become faint signs.
function piece(text) {
  const node = make("span", "tv-piece");
  const bare = text.replace(/^ +| +$/g, "");
  const first = text.length - text.trimStart().length;
  for (const [i, character] of [...text].entries()) {
    const edge = !bare || i < first || i >= first + [...bare].length;
    if (MARKS[character] && (edge || character !== " ")) node.append(make("i", "", MARKS[character]));
    else node.append(character);
  }
  node.normalize();
  node.title = text;
  return node;
}

const spoken = (text) => (NAMES[text] ? words[NAMES[text]] : text);

// A token in the running text: line breaks get a sign (drawn by the style, so that it is not copied) and break.
function flow(node, text) {
  text.split("\n").forEach((line, i) => {
    if (i) node.append(make("span", "tv-newline"), "\n");
    if (line) node.append(line);
  });
}

const isBytes = (token) => /^‹([0-9A-F]{2} ?)+›$/.test(token.piece);

// ---- state ----------------------------------------------------------------------------------------------------

const root = element.querySelector(".aigc-tv") || element;
const state = {
  raw: "", tokens: [], nodes: [], line: null, group: null, bits: 0,
  node: "", live: false, settings: {}, heads: [], pieces: {},
  current: 0, selected: -1, plot: null,
};

const empty = make("p", "tv-hint", words.empty);
const totals = make("p", "tv-totals");
const legend = make("div", "tv-legend", make("span", "", words.legend));
const text = make("div", "tv-text");
const hint = make("p", "tv-hint", words.choose);
const details = make("section", "tv-details");
const plot = make("section", "tv-plot");
const panel = make("div", "tv-panel", details, plot);
const tip = make("div", "tv-tip");
const live = make("p", "tv-said");

text.setAttribute("role", "listbox");
text.setAttribute("aria-label", words.tokens);
text.setAttribute("aria-orientation", "horizontal");
live.setAttribute("aria-live", "polite");
tip.setAttribute("aria-hidden", "true");
[...LEVELS, 0].forEach((bound, level) => {
  const p = (n) => `${+(n * 100).toFixed(2)}%`;
  const label = !level ? say("at_least", { p: p(bound) }) : !bound ? say("below", { p: p(LEVELS[level - 1]) })
    : say("between", { a: p(bound), b: p(LEVELS[level - 1]) });
  legend.append(make("span", `tv-mark l${level}`, label));
});
const body = make("div", "tv-body", make("div", "tv-top", totals, legend), text, hint, panel, tip);
root.replaceChildren(empty, body, live);

// ---- the running text -----------------------------------------------------------------------------------------

function option(token, index, name) {
  const node = make("span", `${name} l${levelOf(token.probability)}`);
  node.dataset.index = index;
  node.tabIndex = -1;
  node.setAttribute("role", "option");
  node.setAttribute("aria-selected", "false");
  node.setAttribute("aria-label", `${spoken(token.piece)}, ${percent(token.probability)}`);
  state.nodes.push(node);
  return node;
}

// Appends one token. Tokens that are parts of one character form a group: the character once, its parts below it.
function append([id, added, look, probability, chance, rank]) {
  const token = { id, text: added, piece: look, probability, chance, rank };
  const index = state.tokens.push(token) - 1;
  state.bits += surprisal(probability);
  if (!state.line) {
    state.line = make("div", "tv-line"); // a block of its own, so that a growing answer lays out only its end
    state.line.setAttribute("role", "presentation");
    text.append(state.line);
  }
  const line = state.line;
  if (added.endsWith("\n")) state.line = null;
  if (!state.group && !(added === "" && isBytes(token))) {
    const node = option(token, index, "tv-token");
    if (added === "") node.classList.add("tv-badge"), node.append(look || "∅");
    else if (!added.trim() && !added.includes("\n")) node.classList.add("tv-blank");
    // leading spaces stand before the mark, so that a line never begins or ends with a shaded gap
    const word = added.trimStart(), spaces = added.length - word.length;
    const apart = word && !added.slice(0, spaces).includes("\n");
    if (apart && spaces) line.append(added.slice(0, spaces));
    flow(node, apart ? word : added);
    line.append(node);
    return;
  }
  if (!state.group) {
    state.group = { first: index, character: make("span", "tv-character"), parts: make("span", "tv-parts") };
    line.append(make("span", "tv-group", state.group.character, state.group.parts));
  }
  const { first, character, parts } = state.group;
  const chip = option(token, index, "tv-chip");
  chip.append(MARKS[look] || look.replace(/[‹›]/g, "").trim());
  parts.append(chip);
  token.group = first;
  if (added === "" && isBytes(token)) return;
  character.textContent = added.replace(/\n/g, "⏎");
  character.dataset.index = first;
  for (let i = first; i <= index; i++) state.tokens[i].character = added.trim();
  state.group = null;
}

function clear() {
  Object.assign(state, { raw: "", tokens: [], nodes: [], line: null, group: null, bits: 0, current: 0 });
  text.replaceChildren();
  select(-1);
}

// A special token at the very end is the model's own "that is all".
function markEnd() {
  const index = state.tokens.length - 1, node = state.nodes[index];
  const old = text.querySelector(".tv-end");
  if (old && old !== node) {
    old.classList.remove("tv-end");
    old.textContent = state.tokens[old.dataset.index].piece;
  }
  if (node && node.classList.contains("tv-badge")) {
    node.classList.add("tv-end");
    node.textContent = words.end;
  }
}

function update() {
  const value = props.value && typeof props.value === "object" ? props.value : { tokens: "" };
  const raw = value.tokens || "";
  const atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 24;
  const before = { selected: state.selected, live: state.live, node: state.node, heads: state.heads.length };
  if (!raw.startsWith(state.raw)) clear();
  for (const line of raw.slice(state.raw.length).split("\n")) if (line) append(JSON.parse(line));
  state.raw = raw;
  state.node = value.node;
  state.live = !!value.live;
  state.settings = value.settings || {};
  state.heads = value.heads ? value.heads.split("\n") : [];
  state.pieces = value.pieces && value.pieces.length > 2 ? JSON.parse(value.pieces) : {};
  markEnd();
  const n = state.tokens.length;
  root.classList.toggle("tv-empty", n === 0);
  root.classList.toggle("tv-live", state.live);
  if (!n) return;
  if (state.live && atEnd) text.scrollTop = text.scrollHeight;
  const mean = state.bits / n;
  totals.replaceChildren(n === 1 ? words.count_one : say("count", { n: whole(n) }),
    make("span", "", `${words.perplexity} `, make("b", "", (2 ** mean).toFixed(2))),
    make("span", "", `${words.mean_surprisal} `, make("b", "", say("bits", { n: mean.toFixed(2) }))));
  state.nodes[state.current].tabIndex = 0;
  const same = before.live === state.live && before.node === state.node && before.heads === state.heads.length;
  if (state.selected >= 0 && !same) show();
}

// ---- moving and selecting -------------------------------------------------------------------------------------

function moveTo(index, focus = true) {
  index = Math.max(0, Math.min(state.nodes.length - 1, index));
  state.nodes[state.current].tabIndex = -1;
  state.current = index;
  state.nodes[index].tabIndex = 0;
  if (focus) state.nodes[index].focus();
}

// The token above or below, nearest in its line.
function vertically(step) {
  const here = state.nodes[state.current].getBoundingClientRect(), middle = here.left + here.width / 2;
  let best = state.current, line = null, nearest = Infinity;
  for (let i = state.current + step; state.nodes[i]; i += step) {
    const box = state.nodes[i].getBoundingClientRect();
    const away = step * (box.top - here.top);
    if (away < here.height * 0.9) continue;
    line ??= box.top;
    if (Math.abs(box.top - line) > here.height * 0.9) break;
    const distance = Math.abs(box.left + box.width / 2 - middle);
    if (distance < nearest) [best, nearest] = [i, distance];
  }
  return best;
}

function select(index) {
  if (state.selected === index) return;
  const old = state.nodes[state.selected];
  if (old) old.setAttribute("aria-selected", "false");
  state.selected = index;
  root.classList.toggle("tv-open", index >= 0);
  if (index < 0) return;
  state.nodes[index].setAttribute("aria-selected", "true");
  show();
  const token = state.tokens[index];
  live.textContent = say("said", { text: spoken(token.piece), p: percent(token.probability), rank: whole(token.rank + 1) });
}

text.addEventListener("click", (event) => {
  const at = event.target.closest("[data-index]");
  if (!at || String(getSelection()).length > 1) return;
  const index = +at.dataset.index;
  moveTo(index);
  select(index);
});

text.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || !state.nodes.length) return;
  const moves = {
    ArrowRight: () => state.current + 1, ArrowLeft: () => state.current - 1,
    ArrowDown: () => vertically(1), ArrowUp: () => vertically(-1),
    Home: () => 0, End: () => state.nodes.length - 1,
  };
  if (moves[event.key]) {
    moveTo(moves[event.key]());
    if (state.selected >= 0) select(state.current); // once it is open, the panel follows
  } else if (event.key === "Enter" || event.key === " ") select(state.current);
  else return;
  event.preventDefault();
});

root.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || state.selected < 0) return;
  const inPanel = panel.contains(document.activeElement);
  select(-1);
  hideTip();
  if (inPanel) moveTo(state.current);
  event.preventDefault();
});

// ---- the tip --------------------------------------------------------------------------------------------------

function showTip(node) {
  const token = state.tokens[node.dataset.index];
  if (!token) return hideTip();
  tip.replaceChildren(piece(token.piece), make("b", "", percent(token.probability)),
    make("span", "", say("bits", { n: surprisal(token.probability).toFixed(2) })), make("span", "", `${words.rank} ${whole(token.rank + 1)}`));
  if (token.group !== undefined) tip.append(make("span", "", token.character ? say("of_character", { text: token.character }) : words.of_unfinished));
  tip.classList.add("on");
  const boxes = node.getClientRects(), box = boxes[boxes.length - 1], frame = body.getBoundingClientRect();
  if (!box) return;
  const left = Math.max(0, Math.min(box.left - frame.left, frame.width - tip.offsetWidth));
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(box.bottom - frame.top + 5)}px)`;
}
const hideTip = () => tip.classList.remove("on");

text.addEventListener("pointerover", (event) => {
  const at = event.pointerType === "touch" ? null : event.target.closest("[data-index]");
  if (at) showTip(at); else hideTip();
});
text.addEventListener("pointerleave", hideTip);
text.addEventListener("scroll", hideTip, { passive: true });
text.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) showTip(event.target); });
text.addEventListener("focusout", hideTip);

// ---- the panel ------------------------------------------------------------------------------------------------

// Everything about the selected token that does not change with the sliders.
function look(index) {
  const token = state.tokens[index], line = state.heads[index];
  if (!line) return { index, token };
  const head = readHead(line), scores = unfold(head);
  const ran = distribute(scores, state.settings, head.counts);
  // the chance of the chosen token is known exactly; where the tail is not cut it sets the scale of the others
  const scale = token.chance && ran.after(token.rank) ? token.chance / ran.after(token.rank) : 1;
  const nameOf = (rank) => (rank === token.rank ? token.piece : state.pieces[head.ids[rank]] ?? "");
  const ranks = (n) => {
    const first = [...Array(Math.min(n, head.ids.length)).keys()];
    return first.includes(token.rank) ? first : [...first.slice(0, first.length - (n > 10 ? 1 : 0)), token.rank];
  };
  return { index, token, head, scores, ran, ranAfter: (rank) => ran.after(rank) * scale, nameOf, ranks };
}

function show() {
  const seen = look(state.selected);
  state.plot = null;
  drawDetails(seen);
  panel.classList.toggle("tv-alone", !seen.head);
  if (seen.head) preparePlot(seen); else plot.replaceChildren();
}

function fact(name, value, help) {
  const node = make("div", "", make("dt", "", name), make("dd", "", ...[value].flat()));
  if (help) node.title = help;
  return node;
}

function drawDetails(seen) {
  const { index, token, head, ran } = seen;
  const about = [say("place", { n: whole(index + 1) }), say("id", { id: token.id })];
  if (token.group !== undefined) about.push(token.character ? say("of_character", { text: token.character }) : words.of_unfinished);
  const by = ran && removedBy(ran.counts, token.rank);
  details.replaceChildren(
    make("h4", "", piece(token.piece), make("small", "", about.join(" · "))),
    make("dl", "tv-facts",
      fact(words.probability, percent(token.probability), words.model_help),
      fact(words.surprisal, say("bits", { n: surprisal(token.probability).toFixed(2) })),
      fact(words.rank, whole(token.rank + 1)),
      fact(words.chance, by ? say("removed_by", { filter: words[by] }).trim() : percent(token.chance), words.chance_help)),
    head ? alternatives(seen) : make("p", "tv-note", state.live ? words.wait : words.none_kept));
}

function alternatives(seen) {
  const { token, head, ran, ranks, nameOf, ranAfter } = seen;
  const rows = ranks(10), own = (rank) => (rank === token.rank ? token.probability : head.probabilities[rank]);
  const most = Math.max(...rows.map(own));
  const table = make("table", "tv-table");
  table.setAttribute("aria-label", words.alternatives);
  const heading = (key, help) => {
    const cell = make("th", "", words[key]);
    cell.scope = "col";
    if (help) cell.title = words[help];
    return cell;
  };
  table.createTHead().append(make("tr", "", heading("token"), heading("model", "model_help"),
    heading("chance", "chance_help"), make("td")));
  const inside = table.createTBody();
  for (const rank of rows) {
    const by = removedBy(ran.counts, rank), chosen = rank === token.rank, bar = make("i");
    bar.style.width = `${(100 * own(rank)) / most}%`;
    const go = make("button", "tv-go", chosen ? words.chosen : make("span", "tv-long", words.continue),
      chosen ? "" : make("span", "tv-short", words.continue_short));
    go.type = "button";
    go.disabled = chosen || state.live;
    go.setAttribute("aria-label", chosen ? words.chosen : say("continue_with", { text: spoken(nameOf(rank)) }));
    go.addEventListener("click", () => trigger("branch", { node: state.node, index: seen.index, id: head.ids[rank] }));
    const row = make("tr", `${chosen ? "tv-chosen" : ""} ${by ? "tv-out" : ""}`,
      make("td", "tv-name", piece(nameOf(rank))),
      make("td", "tv-own", make("span", "tv-bar", bar), make("span", "", percent(own(rank)))),
      make("td", "tv-fate", by ? say("removed_by", { filter: words[by] }).trim()
        : say("kept", { p: percent(chosen ? token.chance : ranAfter(rank)) })),
      make("td", "tv-act", go));
    inside.append(row);
  }
  if (rows.every((rank, i) => !i || own(rank) <= own(rows[i - 1]))) return table;
  return make("div", "", table, make("p", "tv-note", say("penalised", { n: state.settings.repetition_penalty })));
}

// ---- the plot -------------------------------------------------------------------------------------------------

const now = {}; // the sliders' values, as far as the page has sliders

function readSlider(name, from) {
  const box = document.getElementById(`text-${name}`);
  const input = from || (box && (box.querySelector("input[type=range]") || box.querySelector("input")));
  const value = input && input.value !== "" ? Number(input.value) : NaN;
  if (Number.isFinite(value)) now[name] = value;
  else if (!box) delete now[name];
}

function settingsNow() {
  const set = Object.fromEntries(FILTERS.map((name) => [name, now[name] ?? state.settings[name]]));
  return { ...set, changed: FILTERS.filter((name) => Math.abs(set[name] - state.settings[name]) > 1e-9) };
}

const BARS = 20;
const AXES = [0.02, 0.05, 0.1, 0.2, 0.5, 1];

function preparePlot(seen) {
  const rows = seen.ranks(BARS), list = make("div", "tv-bars");
  const bar = (label, name = "") => {
    const parts = { ran: make("i", "tv-ran"), gone: make("i", "tv-gone"), solid: make("i", "tv-solid"), number: make("span", "tv-number") };
    list.append(make("div", `tv-row ${name}`, label, make("span", "tv-track", parts.ran, parts.gone, parts.solid), parts.number));
    return { ...parts, row: list.lastChild };
  };
  const bars = rows.map((rank) => bar(piece(seen.nameOf(rank)), rank === seen.token.rank ? "tv-chosen" : ""));
  const rest = seen.scores.length - rows.length;
  const others = rest > 0 ? bar(make("span", "tv-piece", say("others", { n: whole(rest) })), "tv-others") : null;
  const key = (name, word) => make("span", `tv-key ${name}`, make("i"), words[word]);
  const title = make("h4", ""), sentence = make("p", "tv-sentence");
  const axis = make("div", "tv-row tv-axis", make("span"), make("span", "tv-track", make("b", "", "0"), make("b"), make("b")), make("span"));
  plot.replaceChildren(title, make("p", "tv-settings"), list, axis,
    make("p", "tv-keys", key("chosen", "chosen"), key("solid", "as_now_set"), key("ran", "as_it_ran"), key("gone", "removed")), sentence);
  state.plot = { ...seen, rows, bars, others, title, sentence, axis };
  FILTERS.forEach((name) => readSlider(name));
  drawPlot();
}

function drawPlot() {
  if (!state.plot) return;
  const { token, scores, ran, ranAfter, rows, bars, others, title, sentence, axis } = state.plot;
  const set = settingsNow(), differs = set.changed.length > 0;
  const live = differs ? distribute(scores, set) : ran;
  const after = differs ? live.after : ranAfter;
  const [stays, goes] = others ? live.rest(rows) : [0, 0], ranStays = others ? ran.rest(rows)[0] : 0;
  const tallest = Math.max(stays, ranStays, ...rows.map((r) => Math.max(after(r) || live.before(r), ranAfter(r))));
  const full = AXES.find((limit) => limit >= tallest - 1e-6) || 1;
  const width = (p) => `${Math.min(100, (100 * p) / full).toFixed(2)}%`;

  const draw = (bar, kept, gone, was, name) => {
    bar.solid.style.width = width(kept);
    bar.gone.style.width = width(kept + gone);
    bar.ran.style.width = width(was);
    bar.row.classList.toggle("tv-removed", kept === 0);
    bar.number.textContent = kept === 0 && name ? filterName(name) : percent(kept);
    bar.row.title = kept === 0 && name ? `${say("removed_by", { filter: words[name] }).trim()} (${percent(gone)})` : "";
  };
  rows.forEach((rank, i) => draw(bars[i], after(rank), after(rank) ? 0 : live.before(rank), ranAfter(rank), removedBy(live.counts, rank)));
  if (others) {
    const first = rows.findIndex((rank, i) => rank !== i), next = first < 0 ? rows.length : first;
    draw(others, live.kept > next ? stays : 0, goes, ranStays, removedBy(live.counts, next));
    others.row.classList.toggle("tv-beyond", stays + goes > full);
  }

  root.classList.toggle("tv-differs", differs);
  title.replaceChildren(words.distribution, make("small", differs ? "tv-now" : "", differs ? words.as_now_set : words.as_it_ran));
  plot.querySelector(".tv-settings").replaceChildren(...FILTERS.map((name) => set.changed.includes(name)
    ? make("span", "", `${filterName(name)} `, make("s", "", String(state.settings[name])), " → ", make("b", "", String(set[name])))
    : make("span", "", `${filterName(name)} ${set[name]}`)));
  axis.querySelectorAll("b").forEach((mark, i) => { if (i) mark.textContent = `${+((full * 100 * i) / 2).toFixed(1)}%`; });

  const by = removedBy(live.counts, token.rank);
  const key = `left${live.kept === 1 ? "_one" : ""}${by ? "_removed" : ""}`;
  const chosen = percent(differs ? after(token.rank) : token.chance);
  sentence.textContent = say(key, { n: whole(live.kept), all: whole(scores.length), p: chosen, filter: by ? words[by] : "" });
}

let asked = 0;
const redraw = () => { asked ||= requestAnimationFrame(() => { asked = 0; drawPlot(); }); };
const sliderOf = (target) => FILTERS.find((name) => target.closest && target.closest(`#text-${name}`));

function fromSlider(event) {
  if (!root.isConnected) return document.removeEventListener(event.type, fromSlider);
  const name = sliderOf(event.target);
  if (!name) return;
  if (event.type === "input") readSlider(name, event.target);
  else setTimeout(() => { readSlider(name); redraw(); }, 50); // a click on its reset button
  redraw();
}
for (const type of ["input", "change", "click"]) document.addEventListener(type, fromSlider);

watch("value", update);
update();
