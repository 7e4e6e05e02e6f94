// The list of settings that wait (ui/queued.py). Its events: 'next', to begin the first; 'remove' {id}, null for all.
//
// Runs once per component, with gradio's element, props, trigger and watch in scope.

const words = props.words[window.aigc.language];
const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const root = element.querySelector(".aigc-queue") || element;
let gone = 0; // the entry that was begun last

function make(tag, name, ...inside) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inside);
  return node;
}

function button(text, act, label) {
  const node = make("button", "aigc-small", text);
  node.type = "button";
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", act);
  return node;
}

function update() {
  const { entries = [], most = 0, go = 0, idle = false } = props.value || {};
  root.hidden = !entries.length;
  const list = make("ol", "");
  entries.forEach(({ id, text, about }, at) => {
    const line = text.trim() || words.untitled;
    list.append(make("li", "",
      make("span", "qu-place", `${at + 1}`), make("span", "qu-text", line), make("span", "qu-about", about),
      button(words.remove, () => trigger("remove", { id }), say("remove_this", { n: at + 1, text: line }))));
  });
  const top = make("div", "qu-top", make("b", "", words.next), make("span", "", say("count", { n: entries.length, most })));
  if (idle) top.append(button(words.start, () => trigger("next")));
  if (entries.length > 1) top.append(button(words.clear, () => trigger("remove", { id: null })));
  root.replaceChildren(top, list, make("p", "qu-note", words.how));
  if (go && go !== gone) trigger("next");
  gone = go || gone;
}

watch("value", update);
update();
