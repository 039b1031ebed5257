// A button that asks for an image file. One that is too large is told by name and size and stays where it is: servers of
// notebooks cut the connection of a page that sends more than 10 MiB at once.
function render({ model, el }) {
  const button = document.createElement("button");
  const input = document.createElement("input");
  button.type = "button";
  button.className = "jupyter-widgets jupyter-button widget-button reid-upload";
  input.type = "file";
  input.accept = "image/*";
  input.hidden = true;
  el.append(button, input);

  function show() {
    button.textContent = `⬆ ${model.get("description")}`;
    button.title = model.get("tooltip");
    button.disabled = model.get("disabled");
  }

  async function send() {
    const file = input.files[0];
    input.value = ""; // the same file can be chosen again
    if (file === undefined) return;
    if (file.size > model.get("limit")) {
      model.send({ kind: "large", name: file.name, size: file.size });
      return;
    }
    try {
      model.send({ kind: "file", name: file.name }, undefined, [await file.arrayBuffer()]);
    } catch (error) {
      model.send({ kind: "unread", name: file.name, why: String(error) });
    }
  }

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", send);
  for (const name of ["description", "tooltip", "disabled"]) model.on(`change:${name}`, show);
  show();
  return () => {
    for (const name of ["description", "tooltip", "disabled"]) model.off(`change:${name}`, show);
  };
}

export default { render };
