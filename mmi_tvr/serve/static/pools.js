// The view of the question pools: list, edit, enable, check, groups, and what an edit does to a ranking.

import { get, post } from "./api.js";
import { confirm, report } from "./dialogs.js";
import { element, fileName, printable } from "./dom.js";
import { plot } from "./plot.js";
import { count, t } from "./words.js";

const KINDS = [
  "entities",
  "attributes",
  "counts",
  "actions",
  "relations",
  "places",
  "order",
  "interaction",
  "changes",
  "people",
  "mood",
  "purpose",
];

export function show(main) {
  new PoolsView(main);
}

class PoolsView {
  constructor(main) {
    this.about = new URLSearchParams(location.search).get("about") === "video" ? "video" : "text";
    this.tabs = element("p", { className: "actions", role: "group", "aria-label": t("pools") });
    this.message = element("div", { role: "status" });
    this.actions = element("p", { className: "actions" });
    this.picture = element("div");
    this.list = element("div", {}, element("p", { className: "quiet" }, t("loading")));
    main.replaceChildren(
      element("h1", {}, t("pools")),
      element("p", { className: "quiet lead" }, t("pools_hint")),
      this.tabs,
      this.actions,
      this.message,
      this.picture,
      this.list,
    );
    this.load();
  }

  async load() {
    try {
      this.pools = await get("/api/pools");
      this.present();
    } catch (error) {
      report(this.list, error, () => this.load());
    }
  }

  present() {
    this.tabs.replaceChildren(
      ...["text", "video"].map((about) => {
        const chosen = about === this.about;
        return element(
          "button",
          {
            type: "button",
            className: chosen ? "main" : "",
            "aria-pressed": String(chosen),
            on: { click: () => this.turnTo(about) },
          },
          t(`about_${about}`),
        );
      }),
    );
    this.actions.replaceChildren(
      button(t("add"), () => this.edit(null)),
      button(t("check"), () => this.check()),
      button(t("groups"), () => this.showGroups()),
      button(t("choose_again"), () => this.choose()),
    );
    const questions = this.pools[this.about];
    const asked = questions.filter((one) => one.chosen).length;
    const enabled = questions.filter((one) => one.enabled).length;
    const rows = questions.map((one) => this.row(one));
    const titles = ["asked", "question", "kind", "enabled", "edit"].map((key) =>
      element("th", { scope: "col" }, t(key)),
    );
    this.list.replaceChildren(
      element(
        "p",
        { className: "quiet" },
        `${count("question", questions.length)}, ${t("of_which", { enabled, asked })}`,
      ),
      element(
        "div",
        { className: "scrolls", tabIndex: 0, role: "region", "aria-label": t("pools") },
        element(
          "table",
          { className: "files" },
          element("thead", {}, element("tr", {}, ...titles)),
          element("tbody", {}, ...rows),
        ),
      ),
    );
  }

  row(question) {
    const box = element("input", {
      type: "checkbox",
      checked: question.enabled,
      "aria-label": t("enable", { id: question.id }),
    });
    box.addEventListener("change", () => this.send([{ action: "change", id: question.id, enabled: box.checked }]));
    const asked = question.chosen
      ? element("span", { title: t("asked") }, "★", element("span", { className: "unseen" }, t("asked")))
      : "";
    return element(
      "tr",
      { className: question.enabled ? "" : "quiet" },
      element("td", {}, asked),
      element(
        "th",
        { scope: "row" },
        element("span", { className: "quiet" }, `${question.id} `),
        printable(question.text),
      ),
      element("td", {}, t(`kind_${question.kind}`)),
      element("td", {}, box),
      element(
        "td",
        {},
        button(t("edit"), () => this.edit(question), "", t("edit_which", { id: question.id })),
      ),
    );
  }

  turnTo(about) {
    this.about = about;
    history.replaceState(null, "", `/pools?about=${about}`);
    this.message.replaceChildren();
    this.picture.replaceChildren();
    this.present();
    this.tabs.querySelector("[aria-pressed=true]").focus();
  }

  /** Write edits, and return whether that went well. */
  async send(edits) {
    try {
      const answer = await post("/api/pools/edit", { about: this.about, edits });
      this.pools[this.about] = answer[this.about];
      this.say(answer.warning ? t("choose_hint") : t("saved"));
    } catch (error) {
      report(this.message, error);
      this.load();
      return false;
    }
    this.present();
    return true;
  }

  say(text) {
    this.message.replaceChildren(element("p", { className: "note" }, text));
  }

  async check() {
    try {
      const answer = await get("/api/pools/check?similar=true");
      const items = answer.pools.flatMap((one) =>
        [...one.problems, ...one.warnings].map((line) =>
          element("li", { lang: "en" }, `${fileName(one.path)}: ${printable(line)}`),
        ),
      );
      const title = t(items.length ? (answer.ok ? "warnings" : "problems") : "no_problem");
      this.message.replaceChildren(
        element("section", { className: "note" }, element("p", {}, title), element("ul", {}, ...items)),
      );
    } catch (error) {
      report(this.message, error);
    }
  }

  async showGroups() {
    try {
      const answer = await get(`/api/pools/groups?about=${this.about}`);
      this.picture.replaceChildren(plot(answer, this.pools[this.about]));
    } catch (error) {
      report(this.picture, error);
    }
  }

  async choose() {
    try {
      const answer = await post("/api/pools/choose", { about: this.about });
      this.pools[this.about] = answer[this.about];
      this.present();
      this.say(t("chosen_of", { n: answer.groups }));
      if (this.picture.childElementCount) await this.showGroups();
    } catch (error) {
      report(this.message, error);
    }
  }

  /** Open a question, or a new one, to edit it, and to see what that does to the ranking of a query. */
  edit(question) {
    const dialog = element("dialog", { className: "sheet wide", "aria-labelledby": "edit-title" });
    const text = element("textarea", {
      id: "text",
      value: question?.text ?? "",
      required: true,
      maxLength: 500,
      rows: 2,
    });
    const kind = element(
      "select",
      { id: "kind" },
      ...KINDS.map((one) => element("option", { value: one, selected: one === question?.kind }, t(`kind_${one}`))),
    );
    const note = element("input", { id: "note", value: question?.note ?? "", maxLength: 500 });
    const query = element("input", { id: "query", type: "search", value: recentQuery(), placeholder: t("query_hint") });
    const outcome = element("div", { role: "status" });
    const edits = () => {
      const fields = { text: text.value.trim(), kind: kind.value, note: note.value.trim() };
      return question ? [{ action: "change", id: question.id, ...fields }] : [{ action: "add", ...fields }];
    };
    const guarded = (work) => async (event) => {
      event.target.disabled = true;
      await work().catch((error) => report(outcome, error));
      event.target.disabled = false;
    };
    const compare = guarded(async () => {
      outcome.replaceChildren(element("p", { className: "quiet" }, t("reranking")));
      const body = { query: query.value.trim(), about: this.about, edits: edits(), choose: !question?.chosen };
      outcome.replaceChildren(...comparison(await post("/api/pools/compare", body)));
    });
    const save = guarded(async () => {
      const answer = await post("/api/pools/edit", { about: this.about, edits: edits() });
      dialog.close();
      this.pools[this.about] = answer[this.about];
      this.present();
      this.say(answer.warning ? t("choose_hint") : t("saved"));
    });
    const remove = async () => {
      if (!(await confirm(t("remove_which", { id: question.id }), question.text, t("remove")))) return;
      if (await this.send([{ action: "remove", id: question.id }])) dialog.close();
    };
    const field = (id, node) => element("p", {}, element("label", { htmlFor: id }, t(id)), node);
    dialog.append(
      element("h2", { id: "edit-title" }, question ? t("edit_which", { id: question.id }) : t("add")),
      field("text", text),
      field("kind", kind),
      field("note", note),
      element(
        "p",
        { className: "actions" },
        button(t("save"), save, "main"),
        button(t("cancel"), () => dialog.close()),
        question ? button(t("remove"), remove, "danger") : null,
      ),
      element("h3", {}, t("effect")),
      field("query", query),
      button(t("compare"), compare),
      outcome,
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    text.focus();
  }
}

function recentQuery() {
  return new URLSearchParams(location.search).get("q") ?? "";
}

/** Return the ranking of a query before and after an edit, side by side, and which questions are asked. */
function comparison(answer) {
  const former = new Map(answer.before.hits.map((hit, position) => [hit.id, position]));
  const rows = answer.after.hits.map((hit, position) => {
    const before = former.get(hit.id);
    const step = before === undefined ? null : before - position;
    const arrow = step === null ? t("new") : step > 0 ? `▲ ${step}` : step < 0 ? `▼ ${-step}` : "=";
    const scores = [answer.before.hits[before], hit].map((one) => one?.skeleton?.joint?.toFixed(3) ?? "–");
    return element(
      "tr",
      {},
      element("td", {}, String(position + 1)),
      element("th", { scope: "row" }, fileName(hit.path)),
      element("td", {}, arrow),
      ...scores.map((score) => element("td", {}, score)),
    );
  });
  const titles = ["rank", "file", "change", "score_before", "score_after"].map((key) =>
    element("th", { scope: "col" }, t(key)),
  );
  const same = JSON.stringify(answer.asked.before) === JSON.stringify(answer.asked.after);
  const texts = new Set(answer.asked.before.map((one) => one.text));
  const fresh = answer.asked.after
    .filter((one) => !texts.has(one.text))
    .map((one) => element("li", {}, `${one.id} ${printable(one.text)}`));
  return [
    element(
      "table",
      { className: "files" },
      element("thead", {}, element("tr", {}, ...titles)),
      element("tbody", {}, ...rows),
    ),
    same ? element("p", { className: "quiet" }, t("not_asked")) : element("p", { className: "quiet" }, t("asked_now")),
    element("ul", {}, ...fresh),
  ];
}

function button(text, listener, className = "", label = null) {
  return element("button", { type: "button", className, "aria-label": label, on: { click: listener } }, text);
}
