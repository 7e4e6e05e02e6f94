// A map of the latent space that is walked by pointer, finger and arrow keys (ui/latent_map.py).
//
// Runs once per component, with gradio's element, props, watch and server in scope. One request is under way at most;
// what changed meanwhile is asked for next, and only its newest state.

const { make, language } = window.aigc;
const root = element.querySelector(".aigc-map") || element;
const SNAP = 8, HOVER = 11, STEP = 0.05; // pixels, pixels, deviations
const text = (n) => `${n}`.replace("-", "−");

let chart = null, say = null, settings = null, sliders = [], arrange = () => {};
let busy = false, wanted = false, place = null, under = -1, still = () => {};
const moved = () => sliders.some(({ name }) => settings[name] !== 0);

const canvas = make("canvas"), tip = make("span", "mp-tip");
const field = make("div", "mp-field", canvas, tip);
const image = make("img", "mp-picture"), nearest = make("ol"), where = make("p", "mp-where"), fault = make("p", "mp-fault");

async function begin() {
  chart = await server.chart(language);
  say = (key, values = {}) => chart.say[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  settings = { ...chart.settings };
  chart.dots = chart.dots.map((about) => [0, 0, ...about]);
  if (window.matchMedia("(pointer: coarse)").matches) root.classList.add("mp-touch");
  lay();
  new ResizeObserver(draw).observe(field);
  new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] }); // light, dark
  restore();
  ask();
}

const straight = () => settings.layout === chart.layouts.straight;
const span = (values) => [Math.min(...values), Math.max(...values)];

// ---- what stands on the page --------------------------------------------------------------------------------------

function lay() {
  const { dots } = chart;
  field.tabIndex = 0;
  field.setAttribute("role", "application");
  field.setAttribute("aria-label", say("map", { n: dots.length }));
  image.alt = say("picture");
  image.width = image.height = 64;
  fault.setAttribute("role", "alert");
  fault.hidden = true;
  const save = make("button", "aigc-small", say("save"));
  save.type = "button";
  save.addEventListener("click", async () => image.src && window.aigc.download("aigc-map.png", await (await fetch(image.src)).blob()));
  const result = make("div", "mp-result", image, make("div", "mp-told",
    where, make("p", "mp-title", say("nearest")), nearest, save, fault));
  result.setAttribute("aria-live", "polite");
  const reset = make("button", "aigc-small mp-reset", say("reset"));
  reset.type = "button";
  reset.addEventListener("click", () => { for (const slider of sliders) slider.put(0); change(); });
  still = () => { reset.disabled = !moved(); };
  const note = (key, values) => make("p", "mp-note", say(key, values));
  const how = note("how_components"), between = note("between_components", { numbers: chart.numbers });
  const layouts = switches();
  arrange = () => {
    chart.layouts.places[settings.layout].forEach(([x, y], n) => { [chart.dots[n][0], chart.dots[n][1]] = [x, y]; });
    const middle = [0, 1].map((k) => span(chart.dots.map((dot) => dot[k])));
    const half = 0.53 * Math.max(...middle.map(([low, high]) => high - low));
    chart.view = { centre: middle.map(([low, high]) => (low + high) / 2), half };
    how.textContent = say(`how_${settings.layout}`);
    between.textContent = say(`between_${settings.layout}`, { numbers: chart.numbers });
    for (const button of layouts.children) button.setAttribute("aria-pressed", String(button.dataset.layout === settings.layout));
  };
  const knobs = make("div", "mp-knobs",
    make("section", "", make("p", "mp-title", say("components")), note("components_about"),
      ...chart.components.map((one, n) => knob(one, say("component", { n: n + 1 }), one.share, one.ends))),
    make("section", "", make("p", "mp-title", say("words")), note("words_about"),
      ...chart.words.map((one) => knob(one, one.word, say(one.among ? "among" : "counts", one)))),
    reset);
  root.replaceChildren(make("div", "mp-all",
    make("div", "mp-left", layouts, field, how, sums(), note("distance"), between, note("credit", { n: dots.length })),
    make("div", "mp-right", result, knobs)));
  root.classList.add("mp-waits");
  where.textContent = say("loading");
}

function switches() {
  const group = make("div", "mp-layouts");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", chart.layouts.label);
  for (const [layout, label] of Object.entries(chart.layouts.names)) {
    const button = make("button", "", label);
    button.type = "button";
    button.dataset.layout = layout;
    button.addEventListener("click", () => {
      if (layout === settings.layout) return;
      const same = near(toPixels(settings.x, settings.y), Infinity); // the point goes on to where its picture stands now
      Object.assign(settings, { layout });
      place = null;
      arrange();
      name(-1);
      if (settings.start === chart.starts.place) go(...chart.dots[same]);
      else change();
    });
    group.append(button);
  }
  return group;
}

function knob({ name, low, high, step }, label, about, ends) {
  const input = Object.assign(make("input"), { type: "range", min: low, max: high, step, value: 0 });
  const output = make("output", "", "0"), caption = make("span", "mp-name", label, make("small", "", about));
  input.setAttribute("aria-label", label);
  input.dataset.name = name;
  const put = (value) => {
    input.value = settings[name] = value;
    output.textContent = text(+(+value).toFixed(2));
    line.classList.toggle("mp-set", +value !== 0);
    still();
  };
  const tiny = (source) => Object.assign(make("img", "mp-end"), { src: source, alt: "", draggable: false });
  const track = ends ? make("span", "mp-track", tiny(ends[0]), input, tiny(ends[1])) : make("span", "mp-track", input);
  const line = make("label", ends ? "mp-knob mp-two" : "mp-knob", caption, track, output);
  input.addEventListener("input", () => { put(+input.value); change(); });
  input.addEventListener("dblclick", () => { put(0); change(); });
  sliders.push({ name, put });
  return line;
}

function sums() {
  const order = [...chart.dots].sort((one, other) => one[3].localeCompare(other[3], language));
  const list = (name) => {
    const select = make("select", "", ...order.map(([, , , title, slug]) => Object.assign(make("option", "", title), { value: slug })));
    select.dataset.name = name;
    select.setAttribute("aria-label", name.toUpperCase());
    select.addEventListener("change", () => { settings[name] = select.value; sum(); });
    return select;
  };
  const compute = make("button", "aigc-small", say("compute"));
  compute.type = "button";
  compute.addEventListener("click", sum);
  return make("div", "mp-sum", make("p", "mp-title", say("sum")), make("p", "mp-note", say("sum_about")),
    make("div", "mp-terms", ...[["A", "a"], ["− B", "b"], ["+ C", "c"]].map(([mark, name]) => make("div", "", make("b", "", mark), list(name)))), compute);
}

function restore() {
  const given = props.value && typeof props.value === "object" && props.value.settings;
  if (!chart) return;
  Object.assign(settings, given || {});
  arrange();
  for (const { name, put } of sliders) put(settings[name]);
  for (const select of root.querySelectorAll("select")) select.value = settings[select.dataset.name];
  if (given) change();
}

// ---- what is asked for, and what comes ------------------------------------------------------------------------------

function change() {
  draw();
  ask();
}

function sum() {
  settings.start = chart.starts.sum;
  change();
}

function go(x, y) {
  const within = (value) => Math.round(1000 * Math.max(-chart.limit, Math.min(chart.limit, value))) / 1000;
  Object.assign(settings, { start: chart.starts.place, x: within(x), y: within(y) });
  change();
}

async function ask() {
  wanted = true;
  if (busy) return;
  busy = true;
  while (wanted) {
    wanted = false;
    const asked = { ...settings };
    let answer;
    try {
      answer = await server.decode({ settings: asked, language });
    } catch {
      answer = { error: say("lost") };
    }
    await show(answer, asked);
  }
  busy = false;
}

async function show({ picture, place: seen, nearest: near, ms, error }, asked) {
  fault.hidden = !error;
  fault.textContent = error || "";
  if (error) return;
  root.classList.remove("mp-waits");
  image.src = picture;
  await image.decode().catch(() => {});
  image.dataset.of = `${asked.x} ${asked.y}`;
  place = asked.layout === settings.layout ? seen : null;
  const title = asked.start === chart.starts.sum ? say("sum") : say("place", { x: text(asked.x.toFixed(2)), y: text(asked.y.toFixed(2)) });
  where.textContent = `${title} · ${say("decoded", { ms })}`;
  const name = (slug) => chart.dots.find((dot) => dot[4] === slug)[3];
  nearest.replaceChildren(...near.map(([slug, distance]) => make("li", "", make("span", "", name(slug)), make("output", "", distance.toFixed(2)))));
  draw();
}

// ---- the map -----------------------------------------------------------------------------------------------------------

const side = () => field.clientWidth;
const scale = () => side() / (2 * chart.view.half);
const toPixels = (x, y) => [(x - chart.view.centre[0]) * scale() + side() / 2, side() / 2 - (y - chart.view.centre[1]) * scale()];
const toPlace = (px, py) => [(px - side() / 2) / scale() + chart.view.centre[0], (side() / 2 - py) / scale() + chart.view.centre[1]];

function draw() {
  const wide = side();
  if (!chart || !wide) return;
  const dense = window.devicePixelRatio || 1;
  const pixels = Math.round(wide * dense);
  if (canvas.width !== pixels || canvas.height !== pixels) canvas.width = canvas.height = pixels; // a new one is 300 by 150
  const pen = canvas.getContext("2d"), style = getComputedStyle(field);
  const [ink, quiet, line] = ["--mp-ink", "--mp-quiet", "--mp-line"].map((name) => style.getPropertyValue(name));
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, wide, wide);
  if (straight()) drawAxes(pen, wide, ink, line, style.fontFamily);
  pen.lineWidth = 0.75;
  pen.strokeStyle = quiet;
  const size = wide < 420 ? 2.6 : 3.6;
  for (const [x, y, colour] of chart.dots) ring(pen, toPixels(x, y), size, colour, true);
  if (settings.start === chart.starts.sum) drawSum(pen, ink);
  if (under >= 0) { pen.lineWidth = 2; pen.strokeStyle = ink; ring(pen, toPixels(...chart.dots[under]), size + 3); }
  const led = place && moved();
  if (settings.start === chart.starts.place) mark(pen, toPixels(settings.x, settings.y), ink, led);
  if (place && (led || settings.start === chart.starts.sum)) mark(pen, toPixels(...place), ink, false);
}

// Only components have axes: where likes stand together, left and right mean nothing.
function drawAxes(pen, wide, ink, line, fontFamily) {
  const [ox, oy] = toPixels(0, 0).map((value) => Math.round(value) + 0.5);
  [pen.strokeStyle, pen.lineWidth] = [line, 1];
  pen.beginPath();
  pen.moveTo(ox, 0); pen.lineTo(ox, wide); pen.moveTo(0, oy); pen.lineTo(wide, oy);
  pen.stroke();
  pen.fillStyle = ink;
  pen.font = `11px ${fontFamily}`;
  const share = (n) => say("axis", { n: n + 1, share: chart.components[n].share });
  pen.fillText(share(0), wide - pen.measureText(share(0)).width - 6, wide - 7);
  pen.save();
  pen.translate(14, pen.measureText(share(1)).width + 6);
  pen.rotate(-Math.PI / 2);
  pen.fillText(share(1), 0, 0);
  pen.restore();
}

function ring(pen, [x, y], radius, colour, outline) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  if (colour) { pen.fillStyle = colour; pen.fill(); }
  if (outline || !colour) pen.stroke();
}

// Where the point is: a ring of both shades, so that it shows on every colour; dotted where components or words led on.
function mark(pen, at, ink, left) {
  pen.save();
  if (left) pen.setLineDash([3, 3]);
  for (const [colour, width] of [["#fff", 6], ["#0f172a", 3]]) {
    [pen.strokeStyle, pen.lineWidth] = [colour, width];
    ring(pen, at, 9);
  }
  pen.restore();
}

function drawSum(pen, ink) {
  const at = (name) => toPixels(...chart.dots.find((dot) => dot[4] === settings[name]));
  const [a, b, c] = ["a", "b", "c"].map(at), end = straight() || !place ? [a[0] - b[0] + c[0], a[1] - b[1] + c[1]] : toPixels(...place);
  [pen.strokeStyle, pen.lineWidth] = [ink, 1.25];
  for (const [from, to] of [[b, a], [c, end]]) {
    pen.beginPath(); pen.moveTo(...from); pen.lineTo(...to); pen.stroke();
    const turn = Math.atan2(to[1] - from[1], to[0] - from[0]);
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 14) continue;
    for (const side of [-0.4, 0.4]) {
      pen.beginPath(); pen.moveTo(...to);
      pen.lineTo(to[0] - 9 * Math.cos(turn + side), to[1] - 9 * Math.sin(turn + side)); pen.stroke();
    }
  }
  pen.font = `600 13px ${getComputedStyle(field).fontFamily}`;
  [["A", a], ["B", b], ["C", c]].forEach(([name, [x, y]]) => {
    [pen.strokeStyle, pen.lineWidth] = [getComputedStyle(field).backgroundColor, 4];
    pen.strokeText(name, x + 6, y - 6);
    pen.fillStyle = ink;
    pen.fillText(name, x + 6, y - 6);
  });
}

function near([px, py], within) {
  let best = -1, least = within;
  chart.dots.forEach(([x, y], n) => {
    const [dx, dy] = toPixels(x, y), distance = Math.hypot(dx - px, dy - py);
    if (distance < least) [best, least] = [n, distance];
  });
  return best;
}

const pixel = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

function name(n, held) {
  under = n;
  tip.hidden = n < 0;
  if (n < 0) return;
  const [x, y] = toPixels(...chart.dots[n]);
  tip.textContent = chart.dots[n][3];
  tip.style.setProperty("--mp-x", `${Math.min(Math.max(x, 60), side() - 60)}px`);
  tip.style.setProperty("--mp-y", `${y}px`);
  tip.classList.toggle("mp-under", y < (held ? 90 : 44));
}

let from = null;
field.addEventListener("pointerdown", (event) => {
  if (!chart || event.button) return;
  event.preventDefault();
  field.focus({ preventScroll: true });
  field.setPointerCapture(event.pointerId);
  from = pixel(event);
  const dot = near(from, SNAP);
  name(dot);
  go(...(dot >= 0 ? chart.dots[dot] : toPlace(...from)));
});
field.addEventListener("pointermove", (event) => {
  if (!chart) return;
  const at = pixel(event);
  name(near(at, HOVER), from);
  if (!from) return draw();
  if (from.length && Math.hypot(at[0] - from[0], at[1] - from[1]) < 3) return;
  from = [];
  go(...toPlace(...at.map((value) => Math.max(0, Math.min(side(), value)))));
});
for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, () => { from = null; });
field.addEventListener("pointerleave", () => { if (chart && !from) { name(-1); draw(); } });
field.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!chart || !way || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const begin = settings.start === chart.starts.sum && place ? place : [settings.x, settings.y];
  const [x, y] = begin.map((value, k) => value + way[k] * STEP * (event.shiftKey ? 10 : 1));
  name(near(toPixels(x, y), SNAP));
  go(x, y);
});

tip.hidden = true;
const seen = new IntersectionObserver((all) => {
  if (all.some((one) => one.isIntersecting)) { seen.disconnect(); begin(); }
});
root.replaceChildren(field);
seen.observe(root);
watch("value", restore);
