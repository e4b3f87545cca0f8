// Results as a grid: what the film shows at the right second, and a bar that says where in the film that is.

import { thumbnail } from "./api.js";
import { clock, element, fileName, place } from "./dom.js";
import { play } from "./player.js";
import { t } from "./words.js";

/**
 * Return the grid of a result's hits.
 * @param {object} result - of a search.
 * @param {Map} items - id -> the item of a hit.
 * @param {object} actions - what else can be done with a hit.
 */
export function hitList(result, items, actions) {
  const list = element("ol", { className: "hits" });
  result.hits.forEach((hit, position) => {
    const open = () => play(result, position, items, actions);
    const relevance = hit === result.closest ? null : hit.relevance; // of what was not found, it would mislead
    list.append(element("li", {}, card(hit, relevance, items.get(hit.id), open)));
  });
  list.addEventListener("keydown", moveFocus);
  return list;
}

function card(hit, relevance, item, open) {
  const when = isStill(hit) ? (hit.date ?? "").slice(0, 10) : moment(hit);
  const foot = element("span", { className: "foot quiet" }, element("span", {}, when));
  if (relevance !== null) {
    const label = element("span", { className: "unseen" }, `${t("relevance")} `);
    foot.append(element("span", { title: t("relevance") }, label, relevance.toFixed(2)));
  }
  return element(
    "button",
    { type: "button", className: "open", disabled: hit.missing, on: { click: open } },
    cover(hit),
    isStill(hit) ? null : bar(hit, item),
    element("span", { className: "name" }, fileName(hit.path)),
    foot,
    tags(hit),
  );
}

function cover(hit) {
  if (hit.kind === "audio") return element("span", { className: "cover audio", "aria-hidden": "true" }, "♪");
  const image = element("img", { className: "cover", alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () =>
    image.replaceWith(element("span", { className: "cover none" }, t("no_picture"))),
  );
  image.src = thumbnail(hit.id, hit.time);
  return image;
}

/** Return the bar of a film, with its moments, the best of all marked, and who is in it when. */
export function bar(hit, item) {
  const length = item?.seconds ?? hit.end;
  const node = element("span", { className: "bar", "aria-hidden": "true" });
  for (const one of hit.people ?? [])
    node.append(place(element("i", { className: "person" }), one.from, one.to, length));
  for (const one of hit.moments ?? [])
    node.append(place(element("i", { className: "also" }), one.start, one.end, length));
  node.append(place(element("i", { className: "best" }), hit.start, hit.end, length));
  return node;
}

function tags(hit) {
  const names = (hit.people ?? []).map((one) => one.name);
  const channels = String(hit.found_by ?? "seen") === "seen" ? [] : hit.found_by; // what is seen is the usual case
  const texts = [...channels.map((channel) => t(`by_${channel}`)), ...new Set(names)];
  if (hit.missing) texts.unshift(t("missing"));
  if (!texts.length) return null;
  return element("span", { className: "tags" }, ...texts.map((text) => element("span", { className: "tag" }, text)));
}

/** Return whether a hit is a picture. */
export function isStill(hit) {
  return hit.kind === "image";
}

/** Return when a hit is, in words. */
export function moment(hit) {
  return `${clock(hit.start)}–${clock(Math.ceil(hit.end))}`;
}

/** Move the focus between the cards of a grid by the arrow keys. */
function moveFocus(event) {
  const cards = [...event.currentTarget.querySelectorAll(".open")];
  const position = cards.indexOf(document.activeElement);
  if (position < 0) return;
  const top = cards[0].offsetTop;
  const columns = Math.max(1, cards.filter((one) => one.offsetTop === top).length);
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  const step = steps[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const target = cards[position + step];
  if (target) target.focus();
  else if (event.key === "ArrowUp") document.getElementById("q").focus();
}
