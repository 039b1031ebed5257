// A picture that is replaced once the next one is decoded: the page never shows an empty place in between.
function render({ model, el }) {
  const picture = document.createElement("img");
  picture.className = "reid-drawing";
  picture.draggable = false;
  el.appendChild(picture);
  let url = "";
  let latest = 0;

  async function show() {
    const number = ++latest;
    const data = model.get("png");
    if (!data || !data.byteLength) {
      picture.style.display = "none";
      return;
    }
    const next = URL.createObjectURL(new Blob([data], { type: "image/png" }));
    const ahead = new Image();
    ahead.src = next;
    await ahead.decode().catch(() => {});
    if (number !== latest) {
      URL.revokeObjectURL(next);
      return;
    }
    picture.src = next;
    picture.alt = model.get("alt");
    picture.style.display = "";
    if (url) URL.revokeObjectURL(url);
    url = next;
  }

  model.on("change:png", show);
  show();
  return () => {
    model.off("change:png", show);
    if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
