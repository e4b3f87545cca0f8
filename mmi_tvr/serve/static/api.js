// The service's API. Errors are one line, as the service says them.

import { t } from "./words.js";

const MOST_BYTES = 32 << 20; // of a picture to search by

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Return the JSON of an address. Raises ApiError, and AbortError where `signal` ended it. */
export function get(path, signal) {
  return request(path, { signal });
}

/** Send a document, and return the JSON of the answer. Raises as `get` does. */
export function post(path, document_, signal) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(document_), signal });
}

/**
 * Return the result of a search by a picture; `words` may be "", `parameters` is what else a search takes.
 * Raises as `get` does.
 */
export function searchByPicture(file, words, parameters, signal) {
  if (file.size > MOST_BYTES) throw new ApiError(413, t("too_large"));
  const values = new URLSearchParams({ q: words, name: file.name });
  const { where, persons, ...rest } = parameters;
  for (const [level, names] of Object.entries(where))
    for (const name of names) values.append("where", `${level}=${name}`);
  for (const name of persons) values.append("person", name);
  for (const [name, value] of Object.entries(rest)) for (const one of [value].flat()) values.append(name, one);
  const headers = { "Content-Type": "application/octet-stream" };
  return request(`/api/search/example?${values}`, { method: "POST", headers, body: file, signal });
}

/** Return whether an error means that somebody else's newer request took the place of this one. */
export function isAborted(error) {
  return error.name === "AbortError";
}

/** Return the address of a picture of an item at a second. */
export function thumbnail(id, second, size = 270) {
  return `/api/items/${id}/thumbnail?second=${Math.max(0, second).toFixed(2)}&size=${size}`;
}

/** Return the address of the file of an item. */
export function media(id) {
  return `/api/items/${id}/media`;
}

/** Return why the file of an item cannot be had; null where it can. */
export async function mediaProblem(id) {
  try {
    const reply = await fetch(media(id), { headers: { Range: "bytes=0-0" } });
    return reply.ok ? null : (await reply.json()).error;
  } catch {
    return t("unreachable");
  }
}

async function request(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new ApiError(0, t("unreachable"));
  }
  if (reply.status === 401) location.assign("/"); // signed out: the page for the token is there
  const text = await reply.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new ApiError(reply.status, `${reply.status} ${reply.statusText}`);
  }
  if (!reply.ok) throw new ApiError(reply.status, answer.error);
  return answer;
}
