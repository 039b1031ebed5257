// Arrow keys anywhere in an explorer step through what it shows, but where a control has a use of its own for them.
const OWN = "input, select, textarea, [role=slider], [role=listbox], [role=spinbutton], [contenteditable=true], canvas";
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

function render({ model, el }) {
  el.style.display = "none";
  let root = null;

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.target.closest(OWN)) return;
    const ends = event.key === "Home" || event.key === "End";
    if (!(event.key in STEPS) && !ends) return;
    model.send(ends ? { kind: "end", last: event.key === "End" } : { kind: "step", by: STEPS[event.key] });
    event.preventDefault();
    event.stopPropagation();
  }

  // the element stands in the page only after this function has returned
  const frame = requestAnimationFrame(function attach() {
    root = el.closest(".reid-explorer");
    if (root === null) return;
    root.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab would move to the next cell
    root.addEventListener("keydown", press);
  });

  return () => {
    cancelAnimationFrame(frame);
    if (root !== null) root.removeEventListener("keydown", press);
  };
}

export default { render };
