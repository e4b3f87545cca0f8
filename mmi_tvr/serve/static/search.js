// The view of the search: what is typed is searched for, filters are chips, results are a grid.

import { get, isAborted, post, searchByPicture } from "./api.js";
import { report } from "./dialogs.js";
import { debounced, element, printable } from "./dom.js";
import { Filters } from "./filters.js";
import { hitList } from "./hits.js";
import { count, t } from "./words.js";

const PAUSE = 250; // milliseconds without a key before what is typed is searched for
const LATE = 4000; // milliseconds after which the page says why it takes long
const TOP = 24; // hits; "more" doubles them
const MOST = 480;

export function show(main) {
  new SearchView(main);
}

class SearchView {
  constructor(main) {
    this.field = document.getElementById("q");
    this.form = document.getElementById("search");
    this.status = element("p", { className: "quiet", role: "status" });
    this.results = element("div", { className: "results" });
    this.filters = new Filters(() => this.search());
    this.top = TOP;
    this.abort = null;
    this.shown = "";
    this.items = new Map(); // id -> the item, with its moments
    main.replaceChildren(
      element("h1", { className: "unseen" }, "mmi-tvr"),
      this.filters.node,
      this.status,
      this.results,
    );
    this.form.querySelector("button").hidden = true; // without scripts alone
    this.listen();
    this.filters.read(new URLSearchParams(location.search)); // the field has its words, or what was typed meanwhile
    this.search();
  }

  listen() {
    const later = debounced(() => this.search(), PAUSE);
    this.field.addEventListener("input", (event) => {
      if (!event.isComposing) later(); // not while an input method is at work
    });
    this.field.addEventListener("compositionend", () => later());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.shown = "";
      later.now();
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        this.results.querySelector(".open")?.focus();
      }
    });
    addEventListener("popstate", () => {
      const values = new URLSearchParams(location.search);
      this.field.value = values.get("q") ?? "";
      this.filters.read(values);
      this.search();
    });
  }

  writeAddress() {
    const values = new URLSearchParams();
    if (this.query) values.set("q", this.query);
    this.filters.write(values);
    const address = values.size ? `/?${values}` : "/";
    if (address !== location.pathname + location.search) history.replaceState(null, "", address);
    document.title = this.query || "mmi-tvr";
  }

  get query() {
    return this.field.value.trim();
  }

  async search(top = TOP) {
    const parameters = { ...this.filters.request(), top };
    const { picture } = this.filters;
    const key = JSON.stringify([this.query, parameters, picture?.name, picture?.size, picture?.lastModified]);
    if (key === this.shown) return;
    this.abort?.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.writeAddress();
    this.shown = key;
    if (!this.query && !parameters.like && !picture) return this.welcome(signal);
    this.say(parameters.rerank ? t("reranking") : t("searching"), true);
    const late = setTimeout(() => this.say(t("loading_model"), true), LATE);
    try {
      const result = picture
        ? await searchByPicture(picture, this.query, parameters, signal)
        : await post("/api/search", { query: this.query, ...parameters }, signal);
      await this.fetchItems(result, signal);
      this.present(result, top);
    } catch (error) {
      if (isAborted(error)) return;
      this.shown = "";
      this.fail(error);
    } finally {
      clearTimeout(late);
    }
  }

  async fetchItems(result, signal) {
    const hits = result.closest ? [...result.hits, result.closest] : result.hits;
    const missing = hits.map((hit) => hit.id).filter((id) => !this.items.has(id));
    if (!missing.length) return;
    const numbers = new URLSearchParams(missing.map((id) => ["id", id]));
    const answer = await get(`/api/items?${numbers}`, signal);
    for (const item of answer.items) this.items.set(item.id, item);
  }

  say(text, busy = false) {
    this.status.textContent = text;
    this.results.ariaBusy = String(busy);
    this.results.classList.toggle("busy", busy);
  }

  present(answer, top) {
    const example = answer.like?.id ?? null; // it is like itself
    const result = { ...answer, hits: answer.hits.filter((hit) => hit.id !== example) };
    const actions = { similar: (hit) => this.filters.setExample(hit) };
    const nodes = result.remarks.map((remark) => element("p", { className: "note", lang: "en" }, printable(remark)));
    if (!result.found) nodes.push(this.nothing(result));
    nodes.push(hitList(result, this.items, actions));
    if (!result.hits.length && result.closest) {
      nodes.push(element("h2", {}, t("closest")), hitList({ ...result, hits: [result.closest] }, this.items, actions));
    }
    if (answer.hits.length >= top && top < MOST) {
      const more = () => this.search(Math.min(MOST, top * 2));
      nodes.push(element("button", { type: "button", className: "more", on: { click: more } }, t("more")));
    }
    this.results.replaceChildren(...nodes);
    const milliseconds = Math.round(result.seconds.total * 1000);
    this.say(`${count("moment", result.hits.length)}, ${milliseconds} ms`);
  }

  nothing(result) {
    const any = () => this.filters.showAny();
    const button = element("button", { type: "button", on: { click: any } }, t("show_any"));
    const reason = element("p", { className: "reason", lang: "en" }, result.found_reason);
    const title = t(result.hits.length ? "not_convincing" : "nothing_found");
    const more = !result.hits.length && result.closest; // where nothing passes the filters, there is nothing to show
    return element("section", { className: "note" }, element("h2", {}, title), reason, more ? button : null);
  }

  fail(error) {
    report(this.results, error, () => this.search());
    this.say("");
  }

  async welcome(signal) {
    this.say("");
    try {
      const status = await get("/api/status", signal);
      const lines = [count("item", status.videos)];
      if (status.pending) lines.push(t("pending", { n: status.pending }));
      const hint = t(status.videos ? "hint" : "nothing_indexed");
      this.results.replaceChildren(
        element("section", { className: "welcome" }, element("p", {}, lines.join(", ")), element("p", {}, hint)),
      );
    } catch (error) {
      if (!isAborted(error)) this.fail(error);
    }
  }
}
