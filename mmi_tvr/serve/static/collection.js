// The view of the collection: what is in it, how far indexing is, and which files were set aside.

import { get, post } from "./api.js";
import { report } from "./dialogs.js";
import { element, printable } from "./dom.js";
import { count, language, t } from "./words.js";

const BUSY = 1000; // milliseconds between two looks while something is going on
const IDLE = 8000;
const MOST = 200; // files of a list

export function show(main) {
  new CollectionView(main);
}

class CollectionView {
  constructor(main) {
    this.job = element("section", { className: "job", "aria-label": t("indexing") });
    this.content = element("div", {}, element("p", { className: "quiet" }, t("loading")));
    this.problem = element("div");
    this.shown = "";
    main.replaceChildren(element("h1", {}, t("collection")), this.problem, this.job, this.content);
    this.look();
  }

  async look() {
    let pause = IDLE;
    try {
      const job = await get("/api/index");
      this.presentJob(job);
      if (job.state === "running") pause = BUSY;
      if (job.state !== "running" || !this.shown) this.present(await get("/api/status"));
      this.problem.replaceChildren();
    } catch (error) {
      report(this.problem, error);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), document.hidden ? IDLE : pause);
  }

  presentJob(job) {
    const parts = [element("p", { role: "status" }, stateText(job))];
    if (job.state === "running") {
      const label = printable(job.stage || t("indexing"));
      parts.push(
        element("progress", job.total ? { max: job.total, value: job.done, ariaLabel: label } : { ariaLabel: label }),
      );
      parts.push(this.action(t("pause"), "/api/index/pause"));
    } else if (job.state === "paused") {
      parts.push(this.action(t("resume"), "/api/index/resume", "main"));
    } else {
      parts.push(this.action(t("update"), "/api/index", "main"));
    }
    const focused = this.job.contains(document.activeElement);
    this.job.replaceChildren(...parts);
    if (focused) this.job.querySelector("button").focus();
  }

  action(text, path, className = "") {
    return element("button", { type: "button", className, on: { click: () => this.send(path) } }, text);
  }

  async send(path, document_ = {}) {
    try {
      await post(path, document_);
    } catch (error) {
      report(this.problem, error);
      return;
    }
    await this.look();
  }

  present(status) {
    const key = JSON.stringify(status);
    if (key === this.shown) return; // whoever reads a list is not disturbed
    this.shown = key;
    const facts = [
      [t("searchable"), kinds(status)],
      [t("waiting"), status.pending],
      [t("length"), hours(status.seconds)],
      [t("on_disk"), megabytes(status.bytes)],
      [t("model"), status.model ?? "–"],
    ];
    if (status.writer) facts.push([t("writer"), printable(status.writer)]);
    if (status.rebuilding !== null) facts.push([t("rebuilding"), status.rebuilding]);
    for (const [channel, counts] of Object.entries(status.channels ?? {})) {
      const waiting = counts.pending ? ` (${t("pending", { n: counts.pending })})` : "";
      facts.push([`${t("found_by")}: ${t(`by_${channel}`)}`, `${counts.done}${waiting}`]);
    }
    const rows = facts.flatMap(([title, value]) => [element("dt", {}, title), element("dd", {}, String(value))]);
    const folders = status.folders.map((path) => element("li", {}, printable(path)));
    this.content.replaceChildren(
      element("dl", { className: "numbers" }, ...rows),
      element("h2", {}, t("folders")),
      element("ul", { className: "plain path" }, ...folders),
      element("p", { className: "quiet" }, t("add_folder")),
      element("pre", { tabIndex: 0 }, `mmi-tvr index FOLDER --library ${printable(status.library)}`),
      ...this.setAside(status),
    );
  }

  setAside(status) {
    const files = [...status.quarantined, ...(status.people?.problems ?? [])];
    if (!files.length) return [];
    const rows = files
      .slice(0, MOST)
      .map((file) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, printable(file.path)),
          element("td", { lang: "en" }, printable(file.reason)),
        ),
      );
    const retry = element(
      "button",
      { type: "button", on: { click: () => this.send("/api/index", { retry: true }) } },
      t("retry"),
    );
    const heads = element(
      "tr",
      {},
      element("th", { scope: "col" }, t("file")),
      element("th", { scope: "col" }, t("reason")),
    );
    const nodes = [
      element("h2", {}, `${t("set_aside")} (${files.length})`),
      element("p", {}, t("set_aside_hint")),
      retry,
      element("table", { className: "files" }, element("thead", {}, heads), element("tbody", {}, ...rows)),
    ];
    if (files.length > MOST) nodes.push(element("p", {}, t("and_more", { n: files.length - MOST })));
    return nodes;
  }
}

function stateText(job) {
  if (job.state === "running") {
    const steps = job.total ? ` ${job.done} / ${job.total}` : "";
    return `${t("running")} ${printable(job.stage)}${steps}`;
  }
  if (job.state === "failed") return `${t("failed")}: ${printable(job.problem ?? "")}`;
  if (job.state === "done" && job.report) {
    return `${t("done")}: ${t("added", { n: job.report.added })}, ${t("removed", { n: job.report.removed.length })}`;
  }
  return t(job.state);
}

function kinds(status) {
  const parts = Object.entries(status.kinds ?? {}).filter(([, number]) => number);
  if (!parts.length) return count("item", status.videos);
  return parts.map(([kind, number]) => count(kind, number)).join(", ");
}

function hours(seconds) {
  const units = { style: "unit", unitDisplay: "short", maximumFractionDigits: 1 };
  const [value, unit] =
    seconds < 120 ? [seconds, "second"] : seconds < 7200 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  return new Intl.NumberFormat(language(), { ...units, unit }).format(value);
}

function megabytes(bytes) {
  const [value, unit] = bytes < 1e9 ? [bytes / 1e6, "megabyte"] : [bytes / 1e9, "gigabyte"];
  return new Intl.NumberFormat(language(), { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
}
