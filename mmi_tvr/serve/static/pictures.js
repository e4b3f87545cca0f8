// Pictures to search by: chosen, dropped anywhere on the page, or pasted.

import { element } from "./dom.js";
import { t } from "./words.js";

const addresses = new WeakMap();

/** Return an address under which the page shows a file. */
export function addressOf(file) {
  if (!addresses.has(file)) addresses.set(file, URL.createObjectURL(file));
  return addresses.get(file);
}

/** Return a button that chooses a picture; `take` gets the file, also where it is dropped or pasted. */
export function pictureChooser(take) {
  const field = element("input", { type: "file", accept: "image/*", hidden: true, "aria-label": t("picture") });
  field.addEventListener("change", () => {
    if (field.files.length) take(field.files[0]);
    field.value = "";
  });
  const button = element(
    "button",
    { type: "button", title: t("drop_hint"), on: { click: () => field.click() } },
    t("picture"),
  );
  const show = (on) => document.documentElement.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    show(true);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) show(false);
  });
  addEventListener("drop", (event) => {
    show(false);
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) take(file);
  });
  return element("span", {}, button, field);
}
