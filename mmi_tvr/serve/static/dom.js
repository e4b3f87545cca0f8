// Elements, texts and times. Whatever comes from a library is put in as text, never as markup.

// Control characters, marks of direction, invisible characters: spelled out, as the command line does.
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}/gu;

const NAMED = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Return a name or a text with everything that is invisible or turns the direction of writing spelled out. */
export function printable(text) {
  return String(text).replace(UNSAFE, (character) => {
    const number = character.codePointAt(0);
    if (number >= 0xdc80 && number <= 0xdcff) return `\\x${(number - 0xdc00).toString(16)}`; // a byte that is no text
    if (character in NAMED) return NAMED[character];
    return number < 0x100 ? `\\x${number.toString(16).padStart(2, "0")}` : `\\u${number.toString(16).padStart(4, "0")}`;
  });
}

/**
 * Return a new element.
 * @param {string} tag - its name.
 * @param {object} properties - `on`: event listeners, `data`: data attributes; else properties, or attributes with a
 *   dash or of SVG; what is null, undefined or false is left out.
 * @param {...(Node|string|null|Array)} children - texts become text nodes.
 */
export function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** Return a new element of a drawing; properties are attributes. */
export function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Place an element within its parent: from `start` to `end` of a whole of `length`, at least a visible bit. */
export function place(node, start, end, length) {
  const share = (value) => 100 * Math.min(1, Math.max(0, length > 0 ? value / length : 0));
  const width = Math.max(1.5, share(end) - share(start));
  node.style.insetInlineStart = `${Math.min(share(start), 100 - width)}%`;
  node.style.width = `${width}%`;
  return node;
}

/** Return seconds as m:ss, or h:mm:ss from an hour on. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Return the last part of a path. */
export function fileName(path) {
  return printable(path.slice(path.lastIndexOf("/") + 1));
}

/** Return a function that runs `work` once nothing has called it for so many milliseconds; `now` runs it at once. */
export function debounced(work, milliseconds) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds, ...values);
  };
  later.now = (...values) => {
    clearTimeout(timer);
    work(...values);
  };
  return later;
}
