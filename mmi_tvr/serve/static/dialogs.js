// Small dialogs: to confirm, to ask for a word; and how an error is shown.

import { element, printable } from "./dom.js";
import { t } from "./words.js";

/** Ask whether something that cannot be undone is meant; resolves to true or false. */
export async function confirm(title, text, action) {
  const main = element("button", { className: "danger", value: "yes" }, action);
  return (await opened(title, [element("p", {}, text)], main)) === "yes";
}

/**
 * Ask for a word, or for one of several choices; resolves to it, or to "".
 * @param {string} title - of the dialog.
 * @param {object} options - `label` of the field, `main` of the button, `value` that is there, `choices` [value, text].
 */
export async function ask(title, { label, main, value = "", choices = null }) {
  const field = choices
    ? element("select", { id: "answer" }, ...choices.map(([one, text]) => element("option", { value: one }, text)))
    : element("input", { id: "answer", value, required: true, maxLength: 200, autocomplete: "off" });
  const button = element("button", { className: "main", value: "yes" }, main);
  const parts = [element("p", {}, element("label", { htmlFor: "answer" }, label), field)];
  return (await opened(title, parts, button)) === "yes" ? field.value.trim() : "";
}

function opened(title, parts, main) {
  const dialog = element("dialog", { className: "sheet", "aria-labelledby": "dialog-title" });
  const cancel = element("button", { type: "button", on: { click: () => dialog.close() } }, t("cancel"));
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "dialog-title" }, title),
    ...parts,
    element("p", { className: "actions" }, main, cancel),
  );
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  if (main.className === "danger") cancel.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Show an error in the place of a node's content; `again` is tried by a button. */
export function report(node, error, again = null) {
  const button = again && element("button", { type: "button", on: { click: again } }, t("again"));
  node.replaceChildren(
    element(
      "section",
      { className: "note", role: "alert" },
      element("p", { lang: "en" }, printable(error.message)),
      button,
    ),
  );
}
