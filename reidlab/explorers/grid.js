// A list of pictures: asked for when they come into view, chosen by click or keyboard. Text is only ever written by
// textContent and setAttribute: no name is read as HTML.
const BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const SIGNS = { right: "✓", wrong: "✗", ignored: "–", query: "?" };
const KEPT = 600; // pictures in the browser
const AT_ONCE = 48; // pictures in one message; the kernel answers 64 at most
const PATIENCE = 30; // milliseconds in which pictures are gathered for one message

function part(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  parent.appendChild(made);
  return made;
}

function makeCard(box) {
  const card = part("div", "reid-card", box);
  card.setAttribute("role", "option");
  const frame = part("div", "reid-frame", card);
  const picture = part("img", "reid-picture", frame);
  picture.draggable = false;
  const caption = part("div", "reid-caption", card);
  const sign = part("span", "reid-sign", caption);
  sign.setAttribute("aria-hidden", "true");
  const words = part("span", "reid-words", caption);
  const detail = part("div", "reid-detail", card);
  const reason = part("div", "reid-reason", card);
  return { card, picture, sign, words, detail, reason, key: null, item: {}, visible: false };
}

function render({ model, el }) {
  const box = part("div", "reid-grid", el);
  const empty = part("div", "reid-empty", el);
  empty.textContent = "No images.";
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-orientation", "horizontal");
  box.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab would move to the next cell
  const cards = [];
  const byElement = new Map();
  const kept = new Map(); // key -> { url, reason }, the longest unused first
  const wanted = new Set();
  let shown = 0; // cards in use
  let at = 0; // the card that Tab reaches
  let timer = 0;

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const held = byElement.get(entry.target);
        held.visible = entry.isIntersecting;
        if (held.visible) paint(held);
      }
    },
    { rootMargin: "200px" },
  );

  function paint(held) {
    if (held.key === null) return;
    const found = kept.get(held.key);
    if (found) {
      kept.delete(held.key);
      kept.set(held.key, found);
      if (held.picture.src !== found.url) held.picture.src = found.url;
      held.reason.textContent = found.reason;
      held.card.classList.toggle("reid-broken", found.reason !== "");
    } else if (held.visible) {
      wanted.add(held.key);
      if (!timer) timer = setTimeout(ask, PATIENCE);
    }
  }

  function ask() {
    timer = 0;
    const current = new Set(cards.slice(0, shown).map((held) => held.key));
    const keys = [...wanted].filter((key) => current.has(key) && !kept.has(key));
    wanted.clear();
    for (let from = 0; from < keys.length; from += AT_ONCE)
      model.send({ kind: "pictures", keys: keys.slice(from, from + AT_ONCE) });
  }

  function receive(content, buffers) {
    if (content.kind !== "pictures") return;
    content.keys.forEach((key, number) => {
      if (!kept.has(key)) {
        const url = URL.createObjectURL(new Blob([buffers[number]], { type: "image/jpeg" }));
        kept.set(key, { url, reason: content.reasons[number] });
      }
    });
    const current = new Set(cards.slice(0, shown).map((held) => held.key));
    for (const [key, found] of kept) {
      if (kept.size <= KEPT) break;
      if (current.has(key)) continue;
      URL.revokeObjectURL(found.url);
      kept.delete(key);
    }
    for (const held of cards.slice(0, shown)) paint(held);
  }

  function fill(held, item, number) {
    if (held.key !== item.key) {
      held.key = item.key;
      held.picture.src = BLANK; // never an old picture above a new caption
      held.reason.textContent = "";
      held.card.classList.remove("reid-broken");
    }
    held.item = item;
    for (const sign of Object.keys(SIGNS)) held.card.classList.toggle(`reid-is-${sign}`, item.sign === sign);
    held.sign.textContent = SIGNS[item.sign] || "";
    held.words.textContent = item.caption;
    held.detail.textContent = item.detail;
    held.picture.setAttribute("alt", item.alt || item.caption);
    held.card.setAttribute("title", [item.alt || item.caption, item.detail].filter(Boolean).join("\n"));
    const words = [item.sign, item.alt || item.caption, ...item.detail.split("\n")];
    held.card.setAttribute("aria-label", words.filter(Boolean).join(", "));
    held.card.setAttribute("data-key", item.key);
    held.card.setAttribute("data-number", String(number));
    paint(held);
  }

  function leave(held) {
    held.key = null;
    held.picture.src = BLANK;
    held.reason.textContent = "";
    held.card.className = "reid-card";
    for (const name of ["title", "aria-label", "data-key"]) held.card.removeAttribute(name);
  }

  function draw() {
    const items = model.get("items") || [];
    while (cards.length < items.length) {
      const held = makeCard(box);
      cards.push(held);
      byElement.set(held.card, held);
      watcher.observe(held.card);
    }
    shown = items.length;
    cards.forEach((held, number) => {
      held.card.hidden = number >= shown;
      if (number < shown) fill(held, items[number], number);
      else leave(held);
    });
    empty.hidden = shown > 0;
    box.hidden = shown === 0;
    choose();
  }

  function choose() {
    const selected = model.get("selected");
    const focused = box.contains(document.activeElement);
    if (selected >= 0 && !focused) at = selected;
    at = Math.max(0, Math.min(at, shown - 1));
    cards.forEach((held, number) => {
      held.card.setAttribute("aria-selected", String(number === selected));
      held.card.tabIndex = number === at && number < shown ? 0 : -1;
    });
    if (focused && shown && document.activeElement.hidden) cards[at].card.focus();
  }

  function dress() {
    box.setAttribute("aria-label", model.get("label"));
    box.style.setProperty("--reid-columns", String(model.get("columns")));
    box.classList.toggle("reid-fixed", model.get("columns") > 0);
    box.style.setProperty("--reid-height", `${model.get("size")}px`);
  }

  function move(to) {
    if (!shown) return;
    at = Math.max(0, Math.min(to, shown - 1));
    cards[at].card.focus(); // `enter` does the rest
    cards[at].card.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  function perRow() {
    const top = cards[0].card.offsetTop;
    const count = cards.slice(0, shown).findIndex((held) => held.card.offsetTop !== top);
    return count < 0 ? shown : count;
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !shown) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1 };
    if (event.key in steps) move(at + steps[event.key]);
    else if (event.key === "ArrowDown") move(at + perRow() < shown ? at + perRow() : at);
    else if (event.key === "ArrowUp") move(at - perRow() >= 0 ? at - perRow() : at);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(shown - 1);
    else if (event.key === "Enter" || event.key === " ") pick(cards[at]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function pick(held) {
    if (held && held.key !== null) model.send({ kind: "choose", key: held.key });
  }

  function click(event) {
    const card = event.target.closest(".reid-card");
    const held = card && byElement.get(card);
    if (!held) return;
    move(Number(card.getAttribute("data-number")));
    pick(held);
  }

  function enter(event) {
    const card = event.target.closest(".reid-card");
    if (!card) return;
    at = Number(card.getAttribute("data-number"));
    cards.forEach((held, number) => (held.card.tabIndex = number === at ? 0 : -1));
  }

  box.addEventListener("focusin", enter); // readers of the screen move the focus themselves
  box.addEventListener("keydown", press);
  box.addEventListener("click", click);
  const events = {
    "change:items": draw,
    "change:selected": choose,
    "change:columns": dress,
    "change:label": dress,
    "change:size": dress,
    "msg:custom": receive,
  };
  for (const [name, handler] of Object.entries(events)) model.on(name, handler);
  dress();
  draw();

  return () => {
    for (const [name, handler] of Object.entries(events)) model.off(name, handler);
    watcher.disconnect();
    clearTimeout(timer);
    for (const found of kept.values()) URL.revokeObjectURL(found.url);
    kept.clear();
  };
}

export default { render };
