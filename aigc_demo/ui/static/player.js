// Frames that play (ui/player.py): one or several tracks side by side under one slider, the change from frame to frame
// as curves, and files to take away. Its event: 'save'.
//
// Runs once per component, with gradio's element, props, watch and trigger in scope.

const words = props.words[window.aigc.language];
const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const { make, draw } = window.aigc;

const THUMB = 44; // pixels that a thumbnail of the strip needs at least
const RATES = [4, 8, 12, 24];
const root = element.querySelector(".aigc-player") || element;
const state = { tracks: [], ready: 0, total: 0, at: 0, way: 1, playing: 0, rate: 12, recipe: null, live: false };

const button = (text, act) => {
  const node = Object.assign(make("button", "aigc-small", text), { type: "button" });
  node.addEventListener("click", act);
  return node;
};
const stage = make("div", "pl-stage"), strip = make("div", "pl-strip"), chart = make("div", "pl-chart");
strip.setAttribute("aria-hidden", "true"); // the slider says the same
const slider = Object.assign(make("input", "pl-slider"), { type: "range", min: 0, step: 1 });
slider.setAttribute("aria-label", words.frame);
const where = make("output"), play = button(words.play, () => (state.playing ? stop() : start()));
const rate = make("select");
rate.setAttribute("aria-label", words.rate);
rate.append(...RATES.map((n) => Object.assign(make("option", "", say("per_second", { n })), { value: n, selected: n === state.rate })));
const back = Object.assign(make("input"), { type: "checkbox" });
const bounce = make("label", "pl-bounce", back, words.bounce);
const saves = ["gif", "webp", "mp4"].map((format) => button(say("save", { format: format.toUpperCase() }), () =>
  trigger("save", { format, rate: state.rate, bounce: back.checked, recipe: state.recipe, frames: state.tracks[0].frames })));
const legend = make("div", "pl-legend"), told = make("p", "pl-told");
const change = make("div", "pl-change", make("p", "pl-title", words.change), chart, legend, told);
const body = make("div", "pl-body", stage, make("div", "pl-scale", strip, slider),
  make("div", "pl-line", play, where, rate, bounce, make("span", "pl-saves", ...saves)), change);
const empty = make("p", "pl-empty", words.empty);
root.replaceChildren(empty, body);

const address = (path) => `gradio_api/file=${encodeURI(path)}`;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// ---- a payload arrives ----------------------------------------------------------------------------------------

function update() {
  const value = props.value && typeof props.value === "object" ? props.value : {};
  const tracks = [...(value.tracks || [])].map(({ title, frames, changes }) => ({ title, frames: [...frames], changes: [...(changes || [])] }));
  const before = state.tracks.length ? state.tracks[0].frames : [];
  Object.assign(state, { tracks, ready: Math.max(0, ...tracks.map(({ frames }) => frames.length)), total: value.total || 0, live: !!value.live, recipe: value.recipe || null });
  root.classList.toggle("pl-is-empty", !state.ready);
  if (!state.ready) return stop();
  for (const node of [...saves, play]) node.disabled = state.live || (node === play && state.ready < 2);
  slider.max = Math.max(1, (state.total || state.ready) - 1);
  if (stage.childElementCount !== tracks.length || [...stage.children].some((node, n) => node.title !== tracks[n].title)) {
    stage.replaceChildren(...tracks.map(({ title }) => {
      const figure = make("figure", "", Object.assign(make("img"), { alt: title, draggable: false }), make("figcaption", "", title));
      figure.title = title;
      return figure;
    }));
  }
  drawStrip();
  drawChart();
  if (state.live) select(state.ready - 1);
  else if (before.length === state.ready && state.at < state.ready) select(state.at);
  else { select(0); if (!calm.matches) start(); }
}

// As many frames as have room, each standing where it is on the slider.
function drawStrip() {
  const total = state.total || state.ready, frames = state.tracks[0].frames;
  const columns = Math.max(1, Math.min(total, Math.floor((strip.clientWidth || 600) / THUMB)));
  strip.style.setProperty("--pl-columns", columns);
  const wanted = Array.from({ length: columns }, (_, n) => frames[Math.round((n * (total - 1)) / Math.max(1, columns - 1))]);
  const old = [...strip.children];
  strip.replaceChildren(...wanted.map((frame, n) => {
    const source = frame ? address(frame) : "";
    if (old[n] && old[n].dataset.source === source) return old[n];
    const image = Object.assign(make("img"), { alt: "", draggable: false });
    image.dataset.source = source;
    if (source) image.src = source;
    return image;
  }));
}

// The mean difference of every frame to the one before: an even line is a walk of even steps.
function drawChart() {
  const curves = state.tracks.map(({ changes }) => changes);
  const most = Math.max(0, ...curves.flat());
  change.hidden = state.live || !curves.some((curve) => curve.length > 1);
  if (change.hidden) return;
  const svg = draw("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const last = Math.max(1, state.ready - 1);
  curves.forEach((curve, track) => {
    const points = curve.map((value, n) => `${n ? "L" : "M"}${((1000 * (n + 0.5)) / last).toFixed(2)} ${(96 - (92 * value) / (most || 1)).toFixed(2)}`);
    svg.append(draw("path", { class: `pl-curve pl-curve-${track}`, d: points.join(""), "vector-effect": "non-scaling-stroke" }));
  });
  chart.replaceChildren(svg, make("i", "pl-now"));
  const even = (curve) => (curve.length ? Math.max(...curve) / Math.max(1e-9, curve.reduce((a, b) => a + b, 0) / curve.length) : 0);
  legend.replaceChildren(...state.tracks.map(({ title, changes }, track) => {
    const key = draw("svg", { viewBox: "0 0 26 4", "aria-hidden": "true" });
    key.append(draw("path", { class: `pl-curve pl-curve-${track}`, d: "M0 2H26" }));
    return make("span", "", key, say("largest", { title, n: even(changes).toFixed(1) }));
  }));
  told.textContent = words.reads;
}

function select(at) {
  state.at = Math.max(0, Math.min(state.ready - 1, at));
  state.tracks.forEach(({ frames }, track) => {
    const image = stage.children[track].querySelector("img"), frame = frames[Math.min(state.at, frames.length - 1)];
    if (frame && image.dataset.path !== frame) { image.src = address(frame); image.dataset.path = frame; }
  });
  const text = say("frame_of", { n: state.at + 1, total: state.total || state.ready });
  slider.value = state.at;
  slider.setAttribute("aria-valuetext", text);
  where.textContent = text;
  chart.style.setProperty("--pl-at", `${(100 * state.at) / Math.max(1, state.ready - 1)}%`);
}

slider.addEventListener("input", () => { stop(); select(+slider.value); });
strip.addEventListener("pointerdown", (event) => { strip.setPointerCapture(event.pointerId); follow(event); });
strip.addEventListener("pointermove", (event) => { if (strip.hasPointerCapture(event.pointerId)) follow(event); });
function follow(event) {
  const box = strip.getBoundingClientRect();
  stop();
  select(Math.round(((event.clientX - box.left) / box.width) * ((state.total || state.ready) - 1)));
}
new ResizeObserver(() => { if (state.ready) drawStrip(); }).observe(strip);

// ---- playing --------------------------------------------------------------------------------------------------

function stop() {
  clearInterval(state.playing);
  state.playing = 0;
  play.textContent = words.play;
}

function start() {
  stop();
  if (state.ready < 2) return;
  play.textContent = words.pause;
  state.playing = setInterval(() => {
    if (!root.isConnected) return stop();
    if (!root.offsetParent) return; // on another tab
    let to = state.at + state.way;
    if (to >= state.ready || to < 0) {
      state.way = back.checked ? -state.way : 1;
      to = back.checked ? state.at + state.way : 0;
    }
    select(to);
  }, 1000 / state.rate);
}

rate.addEventListener("change", () => { state.rate = +rate.value; if (state.playing) start(); });
back.addEventListener("change", () => { state.way = 1; });

watch("value", update);
update();
