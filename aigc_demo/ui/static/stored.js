// The panel of stored conversations. Its events: 'open', and 'forget' when the one that is shown was deleted.
const say = props.words[window.aigc.language];
const root = element.querySelector(".aigc-stored") || element;
let trouble = "";

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function button(text, act, label) {
  const node = make("button", text, "aigc-small");
  node.type = "button";
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", act);
  return node;
}

const remove = async (id) => { if (await aigc.store.remove(id)) trigger("forget"); };

async function draw() {
  let rows = [];
  try { rows = await aigc.store.list(); } catch { trouble = say.refused; }
  const list = make("ul");
  for (const row of rows) {
    const item = make("li");
    const name = make("span", row.title || "…", "aigc-stored-title");
    const when = new Date(row.updated).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
    const about = make("span", `${when} · ${(row.bytes / 1000).toFixed(0)} KB${row.here ? " · " + say.here : ""}`, "aigc-stored-about");
    item.append(name, about,
      button(say.open, () => { aigc.store.wanted = row.id; trigger("open"); }, `${say.open}: ${row.title}`),
      button(say.delete, () => remove(row.id), `${say.delete}: ${row.title}`));
    list.append(item);
  }
  const parts = [make("p", say.where, "aigc-note")];
  if (trouble) parts.push(make("p", trouble, "aigc-note warn"));
  parts.push(rows.length ? list : make("p", say.none, "aigc-note"));
  if (rows.length) parts.push(button(say.all, () => { if (confirm(say.sure)) remove(); }));
  root.replaceChildren(...parts);
}

document.addEventListener("aigc-stored", () => { trouble = ""; draw(); });
document.addEventListener("aigc-storage-trouble", (event) => {
  trouble = event.detail === "QuotaExceededError" ? say.full : say.refused;
  draw();
});
draw();
