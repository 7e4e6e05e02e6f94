// The sample pictures (ui/samples.py). Its event: 'pick'.
//
// Runs once per component, with gradio's element, props and trigger in scope.

const words = props.words[window.aigc.language];
const { make } = window.aigc;
const root = element.querySelector(".aigc-samples") || element;

root.replaceChildren(
  make("p", "sm-title", words.title),
  make("div", "sm-row", ...[...props.pictures].map((picture, index) => {
    const image = Object.assign(make("img"), { src: picture, alt: words.names[index], draggable: false });
    const button = Object.assign(make("button", "", image), { type: "button", title: words.names[index] });
    button.addEventListener("click", () => trigger("pick", { index }));
    return button;
  })),
  make("p", "sm-credit", words.credit),
);
