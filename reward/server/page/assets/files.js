// What people take away: PNG, NPY and JSON files, and the lines that ask the same.
import { el } from "./dom.js";
import { flatten } from "./drawing.js";

/** Offers bytes or text as a file. */
export function save(name, data, type) {
  const address = URL.createObjectURL(new Blob([data], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

/** A float32 map (h,w) as numpy's format 1.0. */
export function npy({ height, width, data }) {
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + 4 * data.length);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  const view = new DataView(bytes.buffer);
  data.forEach((v, i) => view.setFloat32(10 + header.length + 4 * i, v, true));
  return bytes;
}

/** What the layers of an element show, at the image's own size. */
export function picture(figure) {
  const image = figure.querySelector("img"), over = figure.querySelector("canvas");
  const strength = Number(figure.style.getPropertyValue("--strength") || 0);
  const canvas = el("canvas");
  flatten(canvas, image, image.naturalWidth, image.naturalHeight, strength ? over.drawn : null, strength);
  if (figure.classList.contains("boxed")) {
    const context = canvas.getContext("2d");
    context.lineWidth = Math.max(1, canvas.width / 250);
    for (const box of figure.querySelectorAll(".boxes rect")) {
      context.strokeStyle = getComputedStyle(box).stroke;
      const [x, y, w, h] = ["x", "y", "width", "height"].map((name) => box.getAttribute(name) / 1000);
      context.strokeRect(x * canvas.width, y * canvas.height, w * canvas.width, h * canvas.height);
    }
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** A file's name without folders and ending, fit for another file. */
export const stem = (name) => name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-") || "image";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// JSON is Python's notation of a text, but for what Python has no escape of.
const python = (text) => JSON.stringify(text).replace(/[\u2028\u2029\u007f]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

/** The line of a shell that asks for the same. */
export function curl(asked, names, tokens) {
  const body = { ...asked, images: names.map((_, i) => `@${i}`) };
  let text = quoted(JSON.stringify(body));
  names.forEach((name, i) => { text = text.replace(`"@${i}"`, () => `"'"$(base64 -w0 ${quoted(name)})"'"`); });
  const token = tokens ? ` -H "Authorization: Bearer $TOKEN"` : "";
  return `curl${token} -H 'Content-Type: application/json' ${quoted(new URL("v1/score", location.href).href)} -d ${text}`;
}

/** The lines of Python that ask for the same. */
export function pythonLines(asked, names, tokens) {
  const more = [["evaluator", asked.evaluator], ["mode", asked.mode], ["grid", asked.grid?.preset], ["advantage", asked.advantage?.method]].filter(([, v]) => v).map(([k, v]) => `, ${k}=${python(v)}`).join("");
  const given = asked.return.map(python).join(", ");
  return `import densereward

client = densereward.Client(${python(location.origin)}${tokens ? ", token=TOKEN" : ""})
names = [${names.map(python).join(", ")}]
images = [open(name, "rb").read() for name in names]
result = client.score(images, [${python(asked.prompts[0])}] * len(images), groups=["page"] * len(images), returns=[${given}]${more})
print(result.rewards, result.scores)
`;
}
