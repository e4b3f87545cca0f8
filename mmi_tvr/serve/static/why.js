// Why a hit is there: relevance, channels, people, levels, what was said of it, and skeletons side by side.

import { media } from "./api.js";
import { clock, element, fileName, printable } from "./dom.js";
import { t } from "./words.js";

const WORD = /[\p{L}\p{N}]+/gu;
const EMPTY_WORDS = new Set(
  (
    "a an and are at be by do does for from has have in is it its none no not of on or that the then there this to " +
    "unknown was what when which who with yes 的 了 是 在 和"
  ).split(" "),
);

/** Return the reasons of a hit of a result. */
export function why(result, hit) {
  const rows = [row(t("relevance"), gauge(hit.relevance))];
  if (hit.found_by?.length) rows.push(row(t("found_by"), hit.found_by.map((channel) => t(`by_${channel}`)).join(", ")));
  for (const one of hit.moments ?? []) {
    if (one.text)
      rows.push(row(`${t(`by_${one.found_by}`)} ${clock(one.start)}`, element("q", {}, printable(one.text))));
  }
  for (const [level, weight] of Object.entries(result.levels)) {
    if (weight && level in hit.scores) rows.push(row(printable(level), levelOf(hit, level)));
  }
  if (hit.people?.length) rows.push(row(t("people"), hit.people.map((one) => appearance(one)).join("; ")));
  if (hit.description) rows.push(row(t("description"), marked(hit.description.text, hit.description.words)));
  if (hit.date) rows.push(row(t("date"), hit.date.replace("T", " ").slice(0, 16)));
  for (const path of hit.companions ?? []) rows.push(row(t("companion"), printable(path)));
  for (const one of hit.similar ?? [])
    rows.push(row(t("nearly_same"), element("a", { href: media(one.id) }, fileName(one.path))));
  for (const path of hit.also) rows.push(row(t("copy"), printable(path)));
  const nodes = [element("h3", {}, t("why")), element("dl", {}, rows.flat())];
  if (hit.skeleton) nodes.push(...skeletons(hit.skeleton));
  return element("section", { className: "why" }, ...nodes);
}

function row(title, ...content) {
  return [element("dt", {}, title), element("dd", {}, ...content)];
}

function gauge(value) {
  return [element("meter", { min: 0, max: 1, value, "aria-hidden": "true" }), ` ${value.toFixed(2)}`];
}

function levelOf(hit, level) {
  const labels = hit.labels?.[level] ?? [];
  return [...gauge(hit.scores[level]), labels.length ? ` (${labels.map(printable).join(", ")})` : ""];
}

function appearance(one) {
  return `${printable(one.name)} ${clock(one.from)}–${clock(Math.ceil(one.to))}`;
}

function skeletons(skeleton) {
  const nodes = [element("h3", {}, t("skeletons")), element("p", { className: "quiet" }, verdict(skeleton))];
  const words = {
    text: wordsOf(skeleton.text.map((answer) => answer.answer).join(" ")),
    video: wordsOf(skeleton.video.map((answer) => answer.answer).join(" ")),
  };
  const body = element("tbody");
  for (const [mark, text, video] of answerRows(skeleton)) {
    const title = mark ? element("th", { scope: "row", className: mark }, t(`answers_${mark}`)) : element("td");
    body.append(element("tr", {}, title, cell(text, words.video), cell(video, words.text)));
  }
  const titles = element(
    "tr",
    {},
    element("th", { scope: "col" }, t("compared")),
    element("th", { scope: "col" }, t("of_query")),
    element("th", { scope: "col" }, t("of_video")),
  );
  nodes.push(element("table", { className: "skeletons" }, element("thead", {}, titles), body));
  nodes.push(element("p", { className: "quiet" }, element("mark", {}, t("both")), ` ${t("both_say")}`));
  return nodes;
}

function verdict(skeleton) {
  if (skeleton.missing) return t("not_reranked", { reason: skeleton.missing });
  const terms = skeleton.terms.map((term) => `${term.weight} × ${t(`term_${term.name}`)} ${term.value.toFixed(3)}`);
  const formula = `${t("joint")} ${skeleton.joint.toFixed(3)} = ${terms.join(" + ")}`;
  return skeleton.judge ? `${formula}, ${t("judged_by", { name: skeleton.judge })}` : formula;
}

/** Return rows of a mark, an answer of the query and one of the video: what can be compared first, then the rest. */
function answerRows(skeleton) {
  const rows = skeleton.pairs.map((pair) => [
    pair.agreement ?? "nothing",
    skeleton.text[pair.text],
    skeleton.video[pair.video],
  ]);
  const texts = skeleton.text.filter((_, place) => !skeleton.pairs.some((pair) => pair.text === place));
  const videos = skeleton.video.filter((_, place) => !skeleton.pairs.some((pair) => pair.video === place));
  for (let number = 0; number < Math.max(texts.length, videos.length); number += 1)
    rows.push(["", texts[number], videos[number]]);
  return rows;
}

function cell(answer, others) {
  if (!answer) return element("td");
  const words = answer.error ? element("em", {}, printable(answer.error)) : marked(answer.answer, others);
  return element("td", {}, element("span", { className: "quiet question" }, printable(answer.question)), words);
}

function wordsOf(text) {
  return new Set((text.toLowerCase().match(WORD) ?? []).filter((word) => !EMPTY_WORDS.has(word)));
}

/** Return a text in which the words that stand in `words`, too, are marked. */
function marked(text, words) {
  const among = new Set([...words].map((word) => word.toLowerCase()));
  const node = element("span");
  let end = 0;
  for (const match of text.matchAll(WORD)) {
    const word = match[0].toLowerCase();
    if (![...among].some((other) => word === other || (other.length > 3 && word.startsWith(other)))) continue;
    node.append(printable(text.slice(end, match.index)), element("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  node.append(printable(text.slice(end)));
  return node;
}
