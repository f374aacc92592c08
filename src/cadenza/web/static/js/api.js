/** Requests to the server. What goes wrong is a `Problem` with one sentence; that the server is gone is told to everybody. */

export const API = "/api/v1";
const RETRY_MILLISECONDS = 1500;
const GONE = "The studio’s server does not answer. Trying again…";
const REFUSED = "The server took no more of it. At most 500 MiB are taken at once and 64 MiB in a file; files must not change meanwhile.";

export class Problem extends Error {
  /** @param {number} status 0 where no answer came. @param {string} detail one sentence */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Tells "gone" and "back". */
export const server = new EventTarget();
let gone = false;

export const isGone = () => gone;

/** The server did not answer: say so, and knock until it does. */
export function lost() {
  if (gone) return;
  gone = true;
  server.dispatchEvent(new Event("gone"));
  const knock = async () => {
    try {
      await fetch(`${API}/models`, { cache: "no-store" });
    } catch {
      setTimeout(knock, RETRY_MILLISECONDS);
      return;
    }
    gone = false;
    server.dispatchEvent(new Event("back"));
  };
  setTimeout(knock, RETRY_MILLISECONDS);
}

/** Resolves once the server answers again. */
export const back = () =>
  gone ? new Promise((resolve) => server.addEventListener("back", resolve, { once: true })) : Promise.resolve();

/**
 * The answer to a request, if it is a good one.
 * @param {string} path below the interface's root
 * @param {{method?: string, json?: unknown, form?: FormData, signal?: AbortSignal, keepalive?: boolean}} [asked]
 */
export async function answer(path, { method, json, form, signal, keepalive } = {}) {
  const asked = { method: method ?? (json === undefined && !form ? "GET" : "POST"), signal, keepalive, cache: "no-store" };
  if (json !== undefined) Object.assign(asked, { body: JSON.stringify(json), headers: { "content-type": "application/json" } });
  if (form) asked.body = form;
  let got;
  try {
    got = await fetch(API + path, asked);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost();
    throw new Problem(0, GONE);
  }
  if (!got.ok) throw new Problem(got.status, await sentence(got));
  return got;
}

async function sentence(got) {
  try {
    return String((await got.json()).detail);
  } catch {
    return `The server answered ${got.status}.`;
  }
}

/** What a body holds; a server that goes away while it is read is a `Problem` too. @template T @param {Promise<T>} reading */
async function whole(reading) {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    lost();
    throw new Problem(0, GONE);
  }
}

/** The same, as data; null where there is no body. */
export async function call(path, asked) {
  const got = await answer(path, asked);
  return got.status === 204 ? null : whole(got.json());
}

/** The same, as bytes. */
export const bytes = async (path, asked) => whole((await answer(path, asked)).arrayBuffer());

/** The same, as a file. */
export const file = async (path) => whole((await answer(path)).blob());

export const remove = (path, asked = {}) => call(path, { ...asked, method: "DELETE" });

/**
 * A form, with how much of it was sent so far (`fetch` cannot tell).
 * @param {(share: number) => void} progress from 0 to 1
 */
export function upload(path, form, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", API + path);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () =>
      request.status < 400
        ? resolve(request.response)
        : reject(new Problem(request.status, request.response?.detail ?? `The server answered ${request.status}.`));
    request.onerror = () => call("/models").then(() => reject(new Problem(413, REFUSED)), reject);
    request.send(form);
  });
}

/** The lines of a stream of JSON, as they come. @param {AbortSignal} signal */
export async function* lines(path, signal) {
  const reader = (await answer(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
  } catch (error) {
    if (error.name === "AbortError" || signal?.aborted) return;
    throw new Problem(0, GONE);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Give the user a file that the server makes; resolves when it is there. */
export async function save(path, name) {
  const url = URL.createObjectURL(await file(path));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
