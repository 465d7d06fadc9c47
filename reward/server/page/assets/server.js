// What the page asks of the server. The token is held here and nowhere else.
import { bytesOf } from "./drawing.js";

let token = "";

export function setToken(value) { token = value; }

/** Problem is an error that the server, or the way to it, has; its message is for people. */
export class Problem extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

const words = {
  unauthorized: "The server does not know this token.",
  overloaded: "The server is busy. Try again in a moment.",
  not_ready: "The server is still loading its model, or shutting down.",
  body_too_large: "The images are too large for this server.",
  deadline_exceeded: "The server did not answer in time.",
};

/** The plain words for an error of the protocol, with what the server said of it. */
export function explain({ code, message }) {
  return words[code] ? `${words[code]} (${code}: ${message})` : `${message} (${code})`;
}

export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, cache: "no-store", credentials: "same-origin" });
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new Problem("unreachable", "The server cannot be reached. Is it running?", 0);
  }
  if (answer.ok) return answer;
  let told;
  try { told = await answer.json(); } catch { told = { code: "status " + answer.status, message: answer.statusText }; }
  throw new Problem(told.code, explain(told), answer.status);
}

export const models = async () => (await ask("v1/models")).json();

/** Events of the server, an object a line, until the stream ends or signal says so. */
export async function* events(signal) {
  const answer = await ask("v1/watch", { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}

/** What POST /v1/score takes for images of one prompt. */
export function request({ evaluator, mode, prompt, images, grid, advantage }) {
  const asked = {
    evaluator: evaluator.name, mode, prompts: images.map(() => prompt), images: images.map((image) => image.base64),
    groups: images.map(() => "page"), rank: true, return: [],
  };
  if (evaluator.maps.length) {
    asked.return.push("dense", "heatmaps");
    asked.grid = { preset: grid };
  }
  if (evaluator.text) asked.return.push("text");
  if (evaluator.boxes) asked.return.push("boxes");
  if (advantage && advantage !== "none") asked.advantage = { method: advantage };
  return asked;
}

/** Scores images of one prompt. Gives a sample each, and the whole answer. */
export async function score(asked, signal) {
  const answer = await (await ask("v1/score", { method: "POST", body: asked, signal })).json();
  return { answer, samples: asked.prompts.map((_, i) => sample(answer, i)) };
}

const arrays = { "<f4": Float32Array, float32: Float32Array, "<f8": Float64Array, float64: Float64Array };

/** Map i of a tensor (N,h,w), or of N tensors (h,w). */
function mapOf(maps, i, name) {
  if (!maps) return null;
  const t = Array.isArray(maps) ? maps[i] : maps;
  const bytes = t.bytes ??= bytesOf(t.data);
  Object.defineProperty(t, "bytes", { enumerable: false });
  const all = new arrays[t.dtype](bytes.buffer);
  const [height, width] = t.shape.slice(-2);
  return { name, height, width, data: t === maps ? all.subarray(i * height * width, (i + 1) * height * width) : all };
}

function sample(answer, i) {
  const failed = answer.errors[i];
  const dense = answer.dense;
  const lone = Array.isArray(answer.advantages) && typeof answer.advantages[i] !== "object" || answer.advantages == null;
  return {
    error: failed,
    reward: answer.rewards[i],
    rank: answer.ranks?.[i],
    advantage: lone ? answer.advantages?.[i] : null,
    scores: Object.entries(answer.scores).map(([name, values]) => ({ name, value: values[i] })),
    missing: answer.missing[i] || [],
    cached: answer.cached[i],
    text: answer.texts?.[i] || "",
    boxes: answer.boxes?.[i] || [],
    maps: failed ? [] : Object.entries(answer.heatmaps || {}).map(([name, maps]) => mapOf(maps, i, name)),
    dense: failed || !dense ? [] : [
      mapOf(dense.reward, i, "reward"), mapOf(dense.weight, i, "weight"), lone ? null : mapOf(answer.advantages, i, "advantage"),
    ].filter(Boolean),
  };
}
