// The page begins here: its language, its keys, and the view that its address names.

import { element } from "./dom.js";
import { language, switchLanguage, t, translate } from "./words.js";

const VIEWS = { search: "./search.js", people: "./people.js", collection: "./collection.js", pools: "./pools.js" };
const RELOAD_SECONDS = 4; // between two looks whether a library is there by now

function addLanguageSwitch() {
  const other = language() === "en" ? "zh" : "en";
  const button = element(
    "button",
    { type: "button", className: "language", lang: other === "zh" ? "zh-CN" : "en", on: { click: switchLanguage } },
    other === "zh" ? "中文" : "English",
  );
  document.querySelector("header nav").append(button);
}

async function waitForLibrary() {
  const reply = await fetch("/api/status").catch(() => null);
  if (reply?.ok) location.reload();
  else setTimeout(waitForLibrary, RELOAD_SECONDS * 1000);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const field = document.getElementById("q");
    event.preventDefault();
    if (field) field.select();
    else location.assign("/");
  }
});

translate(document);
addLanguageSwitch();
const view = document.documentElement.dataset.view;
if ("empty" in document.documentElement.dataset) {
  setTimeout(waitForLibrary, RELOAD_SECONDS * 1000);
} else {
  document.title = view === "search" ? document.title : `${t(view)} - mmi-tvr`;
  const { show } = await import(VIEWS[view]);
  show(document.getElementById("main"));
}
