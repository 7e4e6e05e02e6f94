// The film of a picture (ui/film.py): large while it is being made; afterwards a strip of its steps, and at the
// selected one the noisy latent, the guess of the clean picture, and the guidance's pull. A run can be held, to be
// compared with the next one step by step. Its event: 'hold'.
//
// Runs once per component, with gradio's element, props, watch and trigger in scope.

const words = props.words[window.aigc.language];
const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

const { make, draw } = window.aigc;

// ---- what stands on the page ----------------------------------------------------------------------------------

const root = element.querySelector(".aigc-film") || element;
const SPEAK_EVERY = 5000; // milliseconds between two announcements of the progress
const THUMB = 46; // pixels that a thumbnail of the strip needs at least
const FRAMES_A_SECOND = 8;
const state = { live: false, frames: [], settings: {}, step: 0, total: 0, count: 1, size: [1, 1], at: 0, spoken: 0, playing: 0,
  held: null }; // held: the frames and settings of a run

const picture = (alt) => Object.assign(make("img"), { alt, draggable: false });
const panel = (key) => {
  const image = picture(words[key]);
  const frame = make("figure", `fm-${key}`, make("figcaption", "", words[key]), image, make("p", "", words[`${key}_help`]));
  return { image, frame };
};

const forming = picture(words.guess);
const line = { step: make("span"), left: make("span") };
const bar = make("i");
const progress = make("div", "fm-progress", make("div", "aigc-progress-line", line.step, line.left), make("div", "aigc-bar", bar));
progress.setAttribute("role", "progressbar");
progress.setAttribute("aria-label", words.forming);
const now = make("div", "fm-now", forming, progress, make("p", "", words.forming));

const noisy = panel("noisy"), guess = panel("guess");
const strip = make("div", "fm-strip");
strip.setAttribute("aria-hidden", "true"); // the slider says the same
const slider = Object.assign(make("input", "fm-slider"), { type: "range", min: 0, step: 1 });
slider.id = `fm-${Math.random().toString(36).slice(2)}`;
const label = Object.assign(make("label", "", words.step), { htmlFor: slider.id });
const where = make("output", "");
where.htmlFor = slider.id;
const play = Object.assign(make("button", "aigc-small"), { type: "button" });
const keep = Object.assign(make("button", "aigc-small"), { type: "button" });
const chart = make("div", "fm-chart"), dot = make("i", "fm-dot"), pulled = make("b");
const pull = make("div", "fm-pull", make("p", "fm-title", words.pull, pulled), chart, make("p", "", words.pull_help));
const without = make("p", "fm-without", words.pull_none);
const scale = make("div", "fm-scale", strip, slider, pull);
const waiting = make("p", "fm-held", words.held);
const before = picture(words.left), after = picture(words.right);
const both = aigc.wipe(before, after, words.wipe, (at) => say("wiped", { a: at, b: 100 - at }));
const differences = make("table", "fm-differences");
const compared = make("figure", "fm-compared", make("figcaption", "", words.compared), both.box, both.slider, differences);
const done = make("div", "fm-done", compared, make("div", "fm-pair", noisy.frame, guess.frame),
  make("div", "fm-line", label, where, play, keep), waiting, scale, without);

const empty = make("p", "fm-empty", words.empty);
const spoken = make("p", "fm-spoken");
spoken.setAttribute("aria-live", "polite");
root.replaceChildren(empty, now, done, spoken);

// ---- a payload arrives ----------------------------------------------------------------------------------------

// Adds frames to those there are, by their step. A run that begins again begins with nothing.
function take({ append, live, frames }) {
  const added = [...(frames || [])].map(({ step, noisy, guess, pull }) => ({ step, noisy, guess, pull }));
  const last = state.frames.length ? state.frames[state.frames.length - 1].step : -Infinity;
  const again = live && (!state.live || added.some(({ step }) => step < last));
  const kept = new Map((append && !again ? state.frames : []).map((frame) => [frame.step, frame]));
  for (const frame of added) kept.set(frame.step, frame);
  return [...kept.values()].sort((a, b) => a.step - b.step);
}

function update() {
  const value = props.value && typeof props.value === "object" ? props.value : {};
  const was = state.live;
  state.frames = take(value);
  state.live = !!value.live;
  state.settings = value.settings || {};
  state.step = value.step || 0;
  state.total = value.total || state.frames.length;
  state.count = Math.max(1, value.count || 1);
  state.size = value.size && value.size[0] > 0 && value.size[1] > 0 ? [...value.size] : [1, 1];
  stop();

  const n = state.frames.length;
  root.classList.toggle("fm-is-empty", !n && !state.live);
  root.classList.toggle("fm-is-live", state.live);
  root.style.setProperty("--fm-shape", `${state.size[0] * state.count} / ${state.size[1]}`);
  root.style.setProperty("--fm-wide", Math.max(1, (state.size[0] * state.count) / state.size[1]));
  root.classList.toggle("fm-stacked", state.count > 1 || state.size[0] > 2 * state.size[1]);
  if (state.live) showLive(value.eta);
  else if (n) showDone();
  if (!state.live) spoken.textContent = was && n ? say("finished", { n }) : "";
}

function showLive(eta) {
  const newest = state.frames[state.frames.length - 1];
  if (newest) forming.src = newest.guess; else forming.removeAttribute("src");
  const told = say("step_of", { n: state.step, total: state.total });
  line.step.textContent = told;
  line.left.textContent = typeof eta !== "number" ? "" : eta < 90
    ? say("seconds_left", { n: Math.max(1, Math.round(eta)) }) : say("minutes_left", { n: Math.round(eta / 60) });
  const share = state.total ? Math.min(1, state.step / state.total) : 0;
  bar.style.width = `${share * 100}%`;
  progress.setAttribute("aria-valuenow", Math.round(share * 100));
  progress.setAttribute("aria-valuetext", told);
  if (Date.now() - state.spoken > SPEAK_EVERY) {
    state.spoken = Date.now();
    spoken.textContent = told;
  }
}

// ---- every step -----------------------------------------------------------------------------------------------

const middle = (at) => (100 * (at + 0.5)) / state.frames.length; // of a step along the strip, in percent

function showDone() {
  const n = state.frames.length;
  slider.max = n - 1;
  scale.style.setProperty("--fm-steps", n);
  play.hidden = n < 2;
  drawStrip();
  drawChart();
  compare();
  select(n - 1);
}

// As many steps as have room, each standing where it is on the slider.
function drawStrip() {
  const n = state.frames.length, width = strip.clientWidth;
  const shape = (state.size[0] * state.count) / state.size[1];
  const room = Math.floor(width / (THUMB * Math.min(3, Math.max(1, shape))));
  const columns = Math.max(1, Math.min(n, width ? room : n));
  if (strip.children.length === columns && strip.drawn === state.frames) return;
  strip.drawn = state.frames;
  strip.replaceChildren(...Array.from({ length: columns }, (_, column) => {
    const image = picture("");
    image.src = state.frames[Math.floor(((column + 0.5) * n) / columns)].guess;
    return image;
  }));
  mark();
}

function drawChart() {
  const pulls = state.frames.map(({ pull }) => (typeof pull === "number" && isFinite(pull) ? pull : null));
  const most = Math.max(...pulls.map((pull) => pull || 0));
  const known = pulls.some((pull) => pull !== null);
  pull.hidden = !known;
  without.hidden = known;
  chart.replaceChildren();
  if (!known) return;
  const n = pulls.length, height = (pull) => (most ? 0.94 - (0.86 * pull) / most : 0.94);
  const path = pulls.map((pull, at) => pull === null ? "" :
    `${at && pulls[at - 1] !== null ? "L" : "M"}${at + 0.5} ${height(pull).toFixed(4)}`).join("");
  const svg = draw("svg", { viewBox: `0 0 ${n} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const seen = pulls.flatMap((pull, at) => (pull === null ? [] : [at + 0.5]));
  if (seen.length === n && n > 1) svg.append(draw("path", { class: "fm-area", d: `${path}L${n - 0.5} 1L0.5 1Z` }));
  svg.append(draw("path", { class: "fm-curve", d: path, "vector-effect": "non-scaling-stroke" }));
  chart.append(svg, dot);
  state.height = (at) => (pulls[at] === null ? null : height(pulls[at]) * 100);
}

function mark() {
  const chosen = Math.floor(((state.at + 0.5) * strip.children.length) / state.frames.length);
  [...strip.children].forEach((image, column) => image.classList.toggle("fm-chosen", column === chosen));
}

function select(at) {
  state.at = Math.max(0, Math.min(state.frames.length - 1, at));
  const frame = state.frames[state.at];
  const told = say("step_of", { n: frame.step, total: state.total });
  noisy.image.src = frame.noisy;
  guess.image.src = frame.guess;
  slider.value = state.at;
  slider.setAttribute("aria-valuetext", told);
  where.textContent = told;
  if (!compared.hidden) {
    const { frames } = state.held, share = state.at / Math.max(1, state.frames.length - 1);
    before.src = frames[Math.round(share * (frames.length - 1))].guess;
    after.src = frame.guess;
  }
  scale.style.setProperty("--fm-at", `${middle(state.at)}%`);
  mark();
  if (pull.hidden) return;
  const height = state.height(state.at);
  dot.hidden = height === null;
  if (height !== null) dot.style.top = `${height}%`;
  pulled.textContent = height === null ? "–" : frame.pull.toPrecision(3);
}

slider.addEventListener("input", () => { stop(); select(+slider.value); });

for (const area of [strip, chart]) {
  const follow = (event) => {
    const box = area.getBoundingClientRect();
    stop();
    select(Math.floor(((event.clientX - box.left) / box.width) * state.frames.length));
  };
  area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); follow(event); });
  area.addEventListener("pointermove", (event) => { if (area.hasPointerCapture(event.pointerId)) follow(event); });
}
new ResizeObserver(() => { if (!state.live && state.frames.length) drawStrip(); }).observe(strip);

// ---- two runs -------------------------------------------------------------------------------------------------

const text = (value) => (typeof value === "string" ? value : value === undefined ? "–" : JSON.stringify(value));

// Shows what is held beside this run; a run is not compared with its like.
function compare() {
  const { held, settings } = state, own = held && JSON.stringify(held.settings) === JSON.stringify(settings);
  keep.hidden = !!held && !own;
  keep.textContent = held ? words.free : words.hold;
  waiting.hidden = !own;
  compared.hidden = !held || own;
  if (compared.hidden) return;
  keep.hidden = false;
  both.box.style.setProperty("--wipe-shape", (state.size[0] * state.count) / state.size[1]);
  both.box.style.setProperty("--wipe-wide", "400px");
  const names = Object.keys({ ...held.settings, ...settings }).filter((name) => text(held.settings[name]) !== text(settings[name]));
  const cell = (scope, content) => Object.assign(make("th", "", content), { scope });
  const rows = names.map((name) => make("tr", "", cell("row", props.labels[window.aigc.language][name] || name),
    make("td", "", text(held.settings[name])), make("td", "", text(settings[name]))));
  const head = make("tr", "", make("td"), cell("col", words.left), cell("col", words.right));
  const note = make("caption", "", words.noise);
  differences.replaceChildren(...(names.includes("seed") ? [note] : []), head, ...rows);
}

keep.addEventListener("click", () => {
  state.held = state.held ? null : { frames: state.frames, settings: state.settings };
  compare();
  if (state.held) trigger("hold", { seed: state.settings.seed });
});

// ---- playing --------------------------------------------------------------------------------------------------

function stop() {
  clearInterval(state.playing);
  state.playing = 0;
  play.textContent = words.play;
}

play.addEventListener("click", () => {
  if (state.playing) return stop();
  if (state.at === state.frames.length - 1) select(0);
  play.textContent = words.pause;
  state.playing = setInterval(() => {
    if (root.isConnected && state.at < state.frames.length - 1) select(state.at + 1); else stop();
  }, 1000 / FRAMES_A_SECOND);
});

watch("value", update);
update();
