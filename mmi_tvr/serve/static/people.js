// The view of people: who is known, whose faces wait for a name; naming, merging, hiding, forgetting.

import { get, post, thumbnail } from "./api.js";
import { ask, confirm, report } from "./dialogs.js";
import { clock, element, fileName, printable } from "./dom.js";
import { count, t } from "./words.js";

const FACES = 60; // of one person that are shown

export function show(main) {
  new PeopleView(main);
}

class PeopleView {
  constructor(main) {
    this.hidden = false;
    this.content = element("div", { "aria-busy": "true" }, element("p", { className: "quiet" }, t("loading")));
    main.replaceChildren(element("h1", {}, t("people")), this.content);
    this.load();
  }

  async load() {
    try {
      const [known, status] = await Promise.all([get(`/api/people?hidden=${this.hidden}`), get("/api/status")]);
      this.present(known, status);
    } catch (error) {
      report(this.content, error, () => this.load());
    }
    this.content.ariaBusy = "false";
  }

  present(known, status) {
    this.known = known;
    const nodes = [];
    const anybody = known.people.length + known.unnamed.length > 0;
    if (!anybody && !this.hidden) nodes.push(beginning(status));
    if (known.people.length) nodes.push(element("h2", {}, t("named")), this.grid(known.people));
    if (known.unnamed.length) {
      nodes.push(element("h2", {}, t("unnamed")), element("p", { className: "quiet" }, t("unnamed_hint")));
      nodes.push(this.grid(known.unnamed));
    }
    const toggle = element("input", { type: "checkbox", checked: this.hidden, id: "hidden" });
    toggle.addEventListener("change", () => {
      this.hidden = toggle.checked;
      this.load();
    });
    const label = element("label", { htmlFor: "hidden", className: "beside" }, ` ${t("show_hidden")}`);
    if (status.people) nodes.push(element("p", {}, toggle, label));
    if (anybody) nodes.push(button(t("forget_all"), () => this.forgetAll(), "danger"));
    this.content.replaceChildren(...nodes);
  }

  grid(persons) {
    return element("ul", { className: "people" }, ...persons.map((person) => element("li", {}, this.card(person))));
  }

  card(person) {
    const title = person.name === undefined ? t("number", { n: person.cluster }) : printable(person.name);
    const face = element("span", { className: "face", "aria-hidden": "true" }, title.slice(0, 1));
    const words = [count("sighting", person.sightings), count("item", person.videos)].join(", ");
    const actions = element("p", { className: "actions" });
    const node = element(
      "article",
      { className: "person-card" },
      element(
        "button",
        {
          type: "button",
          className: "open",
          "aria-label": t("faces_of", { name: title }),
          on: { click: () => this.faces(person, title) },
        },
        face,
      ),
      element("h3", {}, title),
      element("p", { className: "quiet" }, person.hidden ? `${words} (${t("hidden")})` : words),
      actions,
    );
    if (person.name === undefined) actions.append(button(t("name"), () => this.name(person), "main"));
    else actions.append(element("a", { href: `/?q=${encodeURIComponent(`[${person.name}]`)}` }, t("search")));
    actions.append(button(t("merge"), () => this.merge(person, title)));
    actions.append(
      button(t(person.hidden ? "unhide" : "hide"), () =>
        this.change("hide", { who: [who(person)], undo: person.hidden }),
      ),
    );
    if (person.name !== undefined) actions.append(button(t("forget"), () => this.forget(person, title), "danger"));
    if (person.sightings) whenSeen(node, () => this.showFace(person, face));
    return node;
  }

  async showFace(person, place) {
    const seen = await this.sightings(person).catch(() => []);
    if (seen.length) place.replaceWith(faceImage(best(seen)));
  }

  async sightings(person) {
    return (await get(`/api/people/sightings?who=${encodeURIComponent(who(person))}`)).sightings;
  }

  async faces(person, title) {
    const dialog = element("dialog", { className: "sheet", "aria-label": t("faces_of", { name: title }) });
    dialog.addEventListener("close", () => dialog.remove());
    const list = element("ul", { className: "faces" });
    const chosen = new Set();
    const split = button(t("split"), async () => {
      dialog.close();
      await this.change("split", { who: who(person), sightings: [...chosen] });
    });
    split.disabled = true;
    const close = button(t("close"), () => dialog.close());
    dialog.append(
      element("h2", {}, title),
      list,
      element("p", { className: "quiet" }, t("split_hint")),
      element("p", { className: "actions" }, split, close),
    );
    document.body.append(dialog);
    dialog.showModal();
    const seen = await this.sightings(person).catch((error) => report(list, error) ?? []);
    for (const one of seen.slice(0, FACES)) {
      const box = element("input", { type: "checkbox", id: `s${one.sighting}` });
      box.addEventListener("change", () => {
        if (box.checked) chosen.add(one.sighting);
        else chosen.delete(one.sighting);
        split.disabled = !chosen.size;
      });
      const place = one.path === null ? "" : `${fileName(one.path)} ${clock(one.from)}`;
      list.append(
        element(
          "li",
          {},
          element(
            "label",
            { htmlFor: box.id },
            faceImage(one),
            element("span", { className: "quiet" }, box, ` ${place}`),
          ),
        ),
      );
    }
    if (!seen.length) list.append(element("li", {}, t("no_faces")));
  }

  async name(person) {
    const name = await ask(t("who_is_it"), { label: t("name"), main: t("save") });
    if (name) await this.change("name", { who: who(person), name });
  }

  async merge(person, title) {
    const others = [...this.known.people, ...this.known.unnamed].filter((one) => who(one) !== who(person));
    const choices = others.map((one) => [who(one), one.name ?? t("number", { n: one.cluster })]);
    if (!choices.length) return;
    const other = await ask(t("merge_with", { name: title }), { label: t("person"), main: t("merge"), choices });
    if (!other) return;
    const named = others.find((one) => who(one) === other)?.name !== undefined;
    const keep = person.name === undefined && named; // whoever has a name keeps it
    await this.change("merge", keep ? { who: other, other: who(person) } : { who: who(person), other });
  }

  async forget(person, title) {
    if (!(await confirm(t("forget_whom", { name: title }), t("forget_what"), t("forget")))) return;
    await this.change("forget", { who: who(person), prove: true });
  }

  async forgetAll() {
    if (await confirm(t("forget_all"), t("forget_what"), t("forget_all")))
      await this.change("forget", { all: true, prove: true });
  }

  async change(verb, document_) {
    let receipt = null;
    try {
      const answer = await post(`/api/people/${verb}`, document_);
      if (verb === "forget") {
        receipt = element(
          "p",
          { className: "note", role: "status" },
          t(answer.traces?.length ? "traces_left" : "forgotten"),
        );
      }
    } catch (error) {
      receipt = element("p", { className: "note", role: "alert" }, error.message);
    }
    await this.load();
    if (receipt) this.content.prepend(receipt);
  }
}

function beginning(status) {
  const key = status.people?.on ? "nobody_yet" : "faces_off";
  const command = `mmi-tvr index --people --library ${printable(status.library)}`;
  return element("section", { className: "note" }, element("p", {}, t(key)), element("pre", { tabIndex: 0 }, command));
}

function who(person) {
  return person.name ?? String(person.cluster);
}

function best(sightings) {
  return sightings.reduce((one, other) => (other.confidence > one.confidence ? other : one));
}

function faceImage(sighting) {
  const image = element("img", { className: "face", alt: "", loading: "lazy" });
  image.addEventListener("error", () => {
    if (sighting.id !== null && !image.src.includes("/thumbnail"))
      image.src = thumbnail(sighting.id, sighting.from, 120);
  });
  image.src = `/api/people/sightings/${sighting.sighting}/face`;
  return image;
}

function button(text, listener, className = "") {
  return element("button", { type: "button", className, on: { click: listener } }, text);
}

/** Call a function once a node comes into view. */
function whenSeen(node, work) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    work();
  });
  observer.observe(node);
}
