// Images with a map over each; how much of the map is seen is a matter of the browser alone. Text is only ever written
// by textContent and setAttribute: no name is read as HTML.
function part(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  parent.appendChild(made);
  return made;
}

function render({ model, el }) {
  const box = part("div", "reid-overlay", el);
  const panels = part("div", "reid-panels", box);
  const line = part("label", "reid-opacity", box);
  part("span", "", line).textContent = "Map";
  const slider = part("input", "", line);
  const value = part("output", "", line);
  slider.type = "range";
  slider.min = "0";
  slider.max = "100";
  slider.setAttribute("aria-label", "How much of the map is seen, in percent");
  let urls = [];

  function forget() {
    urls.forEach((url) => URL.revokeObjectURL(url));
    urls = [];
  }

  function picture(bytes, name, parent, alt) {
    const made = part("img", name, parent);
    const url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    urls.push(url);
    made.src = url;
    made.setAttribute("alt", alt);
    made.draggable = false;
  }

  function draw() {
    forget();
    panels.replaceChildren();
    for (const each of model.get("panels")) {
      const figure = part("figure", "reid-panel", panels);
      const stack = part("div", "reid-stack", figure);
      picture(each.image, "reid-below", stack, each.alt);
      if (each.map) picture(each.map, "reid-above", stack, "");
      const words = part("figcaption", "", figure);
      part("strong", "", words).textContent = each.title;
      for (const text of each.lines) part("div", "reid-line", words).textContent = text;
    }
    line.hidden = !model.get("panels").some((each) => each.map);
  }

  function fade() {
    slider.value = String(Math.round(100 * model.get("opacity")));
    show();
  }

  function show() {
    box.style.setProperty("--reid-map", String(slider.value / 100));
    value.textContent = `${slider.value} %`;
  }

  slider.addEventListener("input", show);
  slider.addEventListener("change", () => {
    model.set("opacity", slider.value / 100);
    model.save_changes();
  });
  model.on("change:panels", draw);
  model.on("change:opacity", fade);
  fade();
  draw();

  return () => {
    model.off("change:panels", draw);
    model.off("change:opacity", fade);
    forget();
  };
}

export default { render };
