// Elements, made of text and never of markup.

/** Makes an element. Of attributes, on… are listeners, and true and false switch. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

/** Fills a select with [value, text] and keeps what was chosen, if it is still there. */
export function options(select, list) {
  const chosen = select.value;
  select.replaceChildren(...list.map(([value, text]) => el("option", { value }, text)));
  if (list.some(([value]) => value === chosen)) select.value = chosen;
}

/** Shows a problem in words in a form, or none. */
export function problem(form, text) {
  const place = form.querySelector(".problem");
  place.hidden = !text;
  place.textContent = text || "";
}

/** A number of three decimals with a true minus; a dash for none. */
export function number(v, digits = 3) {
  if (v == null || Number.isNaN(v)) return "–";
  return v.toFixed(digits).replace("-", "−");
}

/** The same with its sign. */
export function signed(v, digits = 3) {
  return v > 0 ? "+" + number(v, digits) : number(v, digits);
}

/** A time in milliseconds for people. */
export function duration(ms) {
  return ms < 1000 ? `${number(ms, ms < 10 ? 1 : 0)}\u00a0ms` : `${number(ms / 1000, 1)}\u00a0s`;
}

/** A size in bytes for people. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)}\u00a0${units[unit]}`;
}

/** A group of radio buttons that look like one switch. */
export function segmented(legend, name, list, chosen, change) {
  return el("fieldset", { class: "segmented" }, el("legend", {}, legend), list.map(([value, text]) =>
    el("label", {}, el("input", { type: "radio", name, value, checked: value === chosen, onchange: () => change(value) }), el("span", {}, text))));
}

/** A slider in [0,1]. */
export function slider(text, value, change) {
  const input = el("input", { type: "range", min: 0, max: 1, step: 0.01, value });
  input.addEventListener("input", () => change(input.valueAsNumber));
  return el("label", { class: "slider" }, text, input);
}
