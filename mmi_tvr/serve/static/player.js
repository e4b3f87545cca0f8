// A hit in a dialog: it plays from its second, and says why it is there.

import { media, mediaProblem, thumbnail } from "./api.js";
import { clock, element, fileName, place, printable } from "./dom.js";
import { bar, isStill, moment } from "./hits.js";
import { why } from "./why.js";
import { t } from "./words.js";

/** Show the hit at a position of a result; `items` and `actions` as in `hitList`. */
export function play(result, position, items, actions) {
  const dialog = element("dialog", { className: "player", "aria-labelledby": "hit-title" });
  const show = (place_) => {
    if (place_ < 0 || place_ >= result.hits.length) return;
    position = place_;
    dialog.replaceChildren(...parts(result, position, items, actions, dialog, show));
    dialog.querySelector(".close").focus();
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("video, audio, input")) return; // their keys are theirs
    if (event.key === "ArrowRight") show(position + 1);
    else if (event.key === "ArrowLeft") show(position - 1);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  show(position);
}

function parts(result, position, items, actions, dialog, show) {
  const hit = result.hits[position];
  const item = items.get(hit.id);
  const button = (label, text, listener, disabled = false) =>
    element("button", { type: "button", "aria-label": label, title: label, disabled, on: { click: listener } }, text);
  const close = button(t("close"), "✕", () => dialog.close());
  close.classList.add("close");
  const head = element(
    "header",
    {},
    element("h2", { id: "hit-title", title: fileName(hit.path) }, fileName(hit.path)),
    button(t("previous"), "←", () => show(position - 1), position === 0),
    button(t("next"), "→", () => show(position + 1), position === result.hits.length - 1),
    close,
  );
  const stage = element("div", { className: "stage" }, viewer(hit));
  if (!isStill(hit)) stage.append(timeline(hit, item, stage));
  const similar = () => {
    dialog.close();
    actions.similar(hit);
  };
  const foot = element(
    "p",
    { className: "actions" },
    actions.similar ? element("button", { type: "button", on: { click: similar } }, t("similar")) : null,
    element("a", { href: media(hit.id), download: fileName(hit.path) }, t("download")),
  );
  const path = element("p", { className: "quiet path" }, printable(hit.path));
  return [head, stage, element("div", { className: "facts" }, foot, why(result, hit), path)];
}

function viewer(hit) {
  if (isStill(hit)) return still(hit, media(hit.id));
  const player = element(hit.kind === "audio" ? "audio" : "video", { controls: true, autoplay: true, preload: "auto" });
  player.ariaLabel = fileName(hit.path);
  player.addEventListener("loadedmetadata", () => {
    player.currentTime = hit.start;
  });
  player.addEventListener("error", async () => {
    const problem = await mediaProblem(hit.id);
    const note = element("p", { className: "note reason", role: "alert" }, problem ?? t("cannot_play"));
    const hasPicture = !problem && hit.kind !== "audio";
    player.replaceWith(...(hasPicture ? [still(hit, thumbnail(hit.id, hit.time, 720)), note] : [note]));
  });
  player.src = media(hit.id);
  return player;
}

/** Return a picture full size; of a format that browsers do not show, as the service decodes it. */
function still(hit, address) {
  const image = element("img", { alt: fileName(hit.path) });
  const decoded = thumbnail(hit.id, hit.time, 1080);
  image.addEventListener("error", () => {
    if (!image.src.endsWith(decoded)) image.src = decoded;
  });
  image.src = address;
  return image;
}

/** Return the bar of the film, with buttons for the moments that its key images stand for. */
function timeline(hit, item, stage) {
  const length = item?.seconds ?? hit.end;
  const seek = (second) => {
    const player = stage.querySelector("video, audio");
    if (!player) return;
    player.currentTime = second;
    player.play();
  };
  const times = element("p", { className: "quiet times" });
  times.append(element("span", {}, clock(0)), element("span", {}, moment(hit)), element("span", {}, clock(length)));
  const moments = element("span", { className: "moments" });
  for (const one of item?.moments ?? []) {
    const label = t("play_from", { time: clock(one.start) });
    const listener = () => seek(one.start);
    const jump = element("button", { type: "button", "aria-label": label, title: label, on: { click: listener } });
    moments.append(place(jump, one.start, one.end, length));
  }
  return element("div", { className: "timeline" }, bar(hit, item), moments, times);
}
