// The groups of questions as points in a plane; those that are asked are stars.

import { element, printable, shape } from "./dom.js";
import { t } from "./words.js";

const SIZE = { width: 640, height: 360, margin: 24 };
const FORMS = 12; // colours in the style sheet
const STAR = "M0,-9 2.6,-3 9,-2.8 4,1.4 5.6,8 0,4.2 -5.6,8 -4,1.4 -9,-2.8 -2.6,-3z";

/** Return the drawing of `GET /api/pools/groups`, with the questions' texts as its titles. */
export function plot(answer, questions) {
  const texts = new Map(questions.map((one) => [one.id, printable(one.text)]));
  const scale = {
    x: axis(
      answer.points.map((one) => one.x),
      SIZE.width,
    ),
    y: axis(
      answer.points.map((one) => one.y),
      SIZE.height,
    ),
  };
  const order = [...answer.points].sort((one, other) => Number(one.chosen) - Number(other.chosen)); // stars on top
  const drawing = shape("svg", {
    viewBox: `0 0 ${SIZE.width} ${SIZE.height}`,
    role: "img",
    "aria-label": t("groups_of", { n: answer.groups }),
  });
  for (const one of order) {
    const place = `translate(${scale.x(one.x).toFixed(1)} ${scale.y(one.y).toFixed(1)})`;
    const form = one.group === null ? "none" : one.group % FORMS;
    const mark = one.chosen ? shape("path", { d: STAR }) : shape("circle", { r: 5 });
    const title = shape("title", {}, `${one.id} ${texts.get(one.id) ?? ""}`);
    const node = shape("g", { transform: place, class: `group-${form}` }, mark, title);
    if (one.chosen) node.append(shape("text", { x: 11, y: 4 }, one.id));
    drawing.append(node);
  }
  const key = answer.points
    .filter((one) => one.chosen)
    .map((one) =>
      element(
        "li",
        {},
        `★ ${one.id} ${texts.get(one.id) ?? ""} (${answer.points.filter((other) => other.group === one.group).length})`,
      ),
    );
  const stale = answer.stale ? element("p", { className: "quiet" }, t("choose_hint")) : null;
  return element(
    "figure",
    { className: "plot" },
    drawing,
    element("figcaption", {}, stale, element("ul", { className: "plain" }, ...key)),
  );
}

function axis(values, length) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = length - 2 * SIZE.margin;
  return (value) => SIZE.margin + (most > least ? ((value - least) / (most - least)) * room : room / 2);
}
