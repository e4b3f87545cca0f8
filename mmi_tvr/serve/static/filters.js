// What a search is restricted to, as chips: classes that videos show, people, a picture; and how it is made.

import { get, thumbnail } from "./api.js";
import { element, fileName, printable } from "./dom.js";
import { addressOf, pictureChooser } from "./pictures.js";
import { count, t } from "./words.js";

const KINDS = { video: "films", image: "pictures", audio: "recordings" };
const FIELDS = { since: "date", until: "date", longer: "text", shorter: "text" }; // name -> type of the field
const MOST_OPTIONS = 30; // of a group, until somebody wants all
const MOMENTS = 6; // of each hit, at most

/** The chips above the results. `changed` is called where somebody changes one. */
export class Filters {
  constructor(changed) {
    this.changed = changed;
    this.where = []; // [level, name]
    this.persons = [];
    this.kind = [];
    this.without = [];
    this.fields = {}; // of FIELDS, those that restrict something
    this.like = null; // a moment of the library, {id, second, name}
    this.picture = null; // a file that somebody dropped here
    this.flags = { rerank: false, any: false, duplicates: false };
    this.chips = element("ul", { className: "chips", "aria-label": t("filters") });
    this.panel = element("div", { className: "panel", hidden: true });
    this.button = element(
      "button",
      { type: "button", "aria-expanded": "false", on: { click: () => this.toggle() } },
      t("filter"),
    );
    this.chooser = pictureChooser((file) => this.setPicture(file));
    this.node = element(
      "section",
      { className: "filters", "aria-label": t("filters") },
      this.button,
      this.chooser,
      this.chips,
      this.panel,
    );
  }

  read(values) {
    this.where = values
      .getAll("where")
      .map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]);
    this.persons = values.getAll("person");
    this.kind = values.getAll("kind").filter((name) => name in KINDS);
    this.without = values.getAll("without");
    this.fields = Object.fromEntries(
      Object.keys(FIELDS)
        .filter((name) => values.get(name))
        .map((name) => [name, values.get(name)]),
    );
    const like = values.get("like")?.match(/^(\d+)@(\d+(?:\.\d+)?)$/);
    this.like = like ? { id: Number(like[1]), second: Number(like[2]), name: values.get("name") ?? "" } : null;
    for (const name of Object.keys(this.flags)) this.flags[name] = values.has(name);
    this.render();
  }

  write(values) {
    for (const [level, name] of this.where) values.append("where", `${level}=${name}`);
    for (const name of this.persons) values.append("person", name);
    for (const list of ["kind", "without"]) for (const name of this[list]) values.append(list, name);
    for (const [name, value] of Object.entries(this.fields)) values.set(name, value);
    if (this.like) {
      values.set("like", `${this.like.id}@${this.like.second.toFixed(2)}`);
      values.set("name", this.like.name);
    }
    for (const [name, on] of Object.entries(this.flags)) if (on) values.set(name, "");
  }

  /** Return what of a search request these filters say. */
  request() {
    const where = {};
    for (const [level, name] of this.where) (where[level] ??= []).push(name);
    const parameters = {
      where,
      persons: this.persons,
      kind: this.kind,
      without: this.without,
      more: MOMENTS,
      ...this.fields,
    };
    if (this.like) parameters.like = { id: this.like.id, second: this.like.second };
    if (this.flags.rerank) parameters.rerank = true;
    if (this.flags.any) parameters.min_relevance = 0;
    if (this.flags.duplicates) parameters.fold = false;
    return parameters;
  }

  /** Search by a moment of the library. */
  setExample(hit) {
    this.picture = null;
    this.flags.rerank = false; // an example says nothing that could be asked about
    this.like = { id: hit.id, second: hit.time, name: fileName(hit.path) };
    this.update();
  }

  /** Search by a picture of somebody's own. */
  setPicture(file) {
    this.like = null;
    this.flags.rerank = false;
    this.picture = file;
    this.update();
  }

  showAny() {
    this.flags.any = true;
    this.update();
  }

  update() {
    this.render();
    this.changed();
  }

  render() {
    const chips = [
      ...this.where.map((pair) =>
        this.chip(`${printable(pair[0])}: ${printable(pair[1])}`, () => this.drop("where", pair)),
      ),
      ...this.persons.map((name) => this.chip(printable(name), () => this.drop("persons", name))),
      ...this.kind.map((name) => this.chip(t(KINDS[name]), () => this.drop("kind", name))),
      ...this.without.map((text) =>
        this.chip(t("without", { text: printable(text) }), () => this.drop("without", text)),
      ),
      ...Object.entries(this.fields).map(([name, value]) =>
        this.chip(`${t(name)} ${printable(value)}`, () => delete this.fields[name]),
      ),
    ];
    if (this.like)
      chips.unshift(
        this.chip(
          t("like", { name: this.like.name }),
          () => (this.like = null),
          thumbnail(this.like.id, this.like.second, 64),
        ),
      );
    if (this.picture)
      chips.unshift(
        this.chip(
          t("like", { name: printable(this.picture.name) }),
          () => (this.picture = null),
          addressOf(this.picture),
        ),
      );
    for (const [name, on] of Object.entries(this.flags)) {
      if (on) chips.push(this.chip(t(name), () => (this.flags[name] = false)));
    }
    this.chips.replaceChildren(...chips);
    this.chips.hidden = !chips.length;
  }

  chip(text, remove, picture = null) {
    const listener = () => {
      remove();
      this.update();
    };
    const label = t("drop_filter", { name: text });
    const image = picture && element("img", { src: picture, alt: "" });
    return element(
      "li",
      {},
      element(
        "button",
        { type: "button", className: "chip", "aria-label": label, on: { click: listener } },
        image,
        text,
        " ✕",
      ),
    );
  }

  drop(list, value) {
    this[list] = this[list].filter((one) => one !== value);
  }

  async toggle() {
    this.panel.hidden = !this.panel.hidden;
    this.button.ariaExpanded = String(!this.panel.hidden);
    if (!this.panel.hidden && !this.panel.childElementCount) await this.fill();
  }

  async fill() {
    const facets = get("/api/facets").catch(() => ({})); // most models read no classes off videos
    const people = get("/api/people").catch(() => ({ people: [] }));
    const kinds = Object.keys(KINDS).map((name) => this.option(t(KINDS[name]), null, () => this.add("kind", name)));
    const groups = [this.flagGroup(), this.group(t("kinds"), kinds), this.fieldGroup()];
    const persons = (await people).people.map((one) =>
      this.option(printable(one.name), one.videos, () => this.add("persons", one.name)),
    );
    if (persons.length) groups.push(this.group(t("people"), persons));
    for (const [level, names] of Object.entries(await facets)) {
      const options = Object.entries(names).map(([name, facet]) =>
        this.option(printable(name), facet.videos, () => this.add("where", [level, name])),
      );
      if (options.length) groups.push(this.group(printable(level), options));
    }
    this.panel.replaceChildren(...groups);
  }

  flagGroup() {
    const set = (name) => () => {
      this.flags[name] = true;
      this.update();
    };
    return this.group(
      t("how"),
      Object.keys(this.flags).map((name) => this.option(t(name), null, set(name))),
    );
  }

  fieldGroup() {
    const nodes = [...Object.entries(FIELDS), ["without_words", "text"]].map(([name, type]) => {
      const field = element("input", {
        id: `f-${name}`,
        type,
        placeholder: type === "text" && name in FIELDS ? "1:30" : "",
        size: 12,
      });
      field.addEventListener("change", () => {
        if (!field.value.trim()) return;
        if (name in FIELDS) this.fields[name] = field.value.trim();
        else this.without.push(field.value.trim());
        field.value = "";
        this.update();
      });
      return element("span", { className: "field" }, element("label", { htmlFor: field.id }, t(name)), field);
    });
    return this.group(t("limits"), nodes);
  }

  group(title, options) {
    const rest = options.slice(MOST_OPTIONS);
    const more = element("button", { type: "button" }, t("and_more", { n: rest.length }));
    more.addEventListener("click", () => more.replaceWith(...rest));
    const shown = rest.length ? [...options.slice(0, MOST_OPTIONS), more] : options;
    return element("fieldset", {}, element("legend", {}, title), ...shown);
  }

  option(text, videos, listener) {
    const words =
      videos === null ? null : element("span", { className: "quiet", title: count("item", videos) }, ` ${videos}`);
    return element("button", { type: "button", className: "chip", on: { click: listener } }, text, words);
  }

  add(list, value) {
    const key = JSON.stringify(value);
    if (!this[list].some((one) => JSON.stringify(one) === key)) this[list].push(value);
    this.update();
  }
}
