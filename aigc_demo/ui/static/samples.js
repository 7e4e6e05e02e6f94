// The sample pictures (ui/samples.py). Its event: 'pick'.
//
// Runs once per component, with gradio's element, props and trigger in scope.

const words = props.words[window.aigc.language];
const root = element.querySelector(".aigc-samples") || element;

const title = Object.assign(document.createElement("p"), { className: "sm-title", textContent: words.title });
const row = Object.assign(document.createElement("div"), { className: "sm-row" });
row.append(...[...props.pictures].map((picture, index) => {
  const button = Object.assign(document.createElement("button"), { type: "button", title: words.names[index] });
  button.append(Object.assign(document.createElement("img"), { src: picture, alt: words.names[index], draggable: false }));
  button.addEventListener("click", () => trigger("pick", { index }));
  return button;
}));
const credit = Object.assign(document.createElement("p"), { className: "sm-credit", textContent: words.credit });
root.replaceChildren(title, row, credit);
