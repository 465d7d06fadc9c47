// Colour maps, heatmaps over images, and boxes. A map is {height, width, data}: row
// major, covering the whole image it belongs to.

// Nine evenly spaced colours of perceptually uniform maps, which people with colour
// vision deficiencies can read: matplotlib's magma and cividis, and Crameri's vik.
const stops = {
  magma: ["000004", "1c1044", "4f127b", "812581", "b5367a", "e55064", "fb8761", "fec287", "fcfdbf"],
  cividis: ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "fee838"],
  vik: ["001261", "023e7d", "2f77a8", "8fb8cf", "ebe5e0", "dcac90", "c2704a", "8b2e09", "590008"],
};

const tables = Object.fromEntries(Object.entries(stops).map(([name, colours]) => [name, table(colours)]));

function table(colours) {
  const rgb = colours.map((c) => [0, 2, 4].map((at) => parseInt(c.slice(at, at + 2), 16)));
  const out = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (rgb.length - 1);
    const low = Math.min(Math.floor(place), rgb.length - 2);
    for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(rgb[low][c] + (rgb[low + 1][c] - rgb[low][c]) * (place - low));
  }
  return out;
}

/** The colour of v in [0,1] as [r,g,b]; NaN is that of 0. */
export function colour(name, v) {
  const at = 3 * Math.round(255 * (v > 0 ? Math.min(v, 1) : 0));
  return tables[name].subarray(at, at + 3);
}

/** A CSS gradient of a colour map, for legends. */
export function gradient(name) {
  return `linear-gradient(90deg, ${stops[name].map((c) => "#" + c).join(",")})`;
}

// As in the program's own overlays: values below the floor leave the image alone, and the
// colour of the floor is not the map's darkest.
const floor = 0.05, start = 0.35, opaque = 0.85;

/** Paints a heatmap of [0,1] on a canvas of its own size: transparent at 0. */
export function paintHeat(canvas, map) {
  paint(canvas, map, (v, out, at) => {
    const strength = v > floor ? (Math.min(v, 1) - floor) / (1 - floor) : 0;
    out.set(colour("magma", start + (1 - start) * strength), at);
    out[at + 3] = Math.round(255 * opaque * strength * (2 - strength));
  });
}

/** Paints a map of any numbers on a canvas of its own size, opaque; NaN is transparent. */
export function paintMap(canvas, map, scale = scaleOf(map)) {
  paint(canvas, map, (v, out, at) => {
    if (Number.isNaN(v)) return;
    out.set(colour(scale.colours, (v - scale.low) / (scale.high - scale.low || 1)), at);
    out[at + 3] = 255;
  });
}

/** The range of a map's colours: signed ones are symmetric about 0. */
export function scaleOf(...maps) {
  let low = Infinity, high = -Infinity;
  for (const map of maps) {
    for (const v of map.data) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  if (low > high) [low, high] = [0, 1];
  if (low === high && low > 0) low = 0; // one colour, that of its height
  if (low >= 0) return { colours: "cividis", low, high };
  const most = Math.max(-low, high);
  return { colours: "vik", low: -most, high: most };
}

function paint(canvas, map, one) {
  canvas.width = map.width;
  canvas.height = map.height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(map.width, map.height);
  for (let i = 0; i < map.data.length; i++) one(map.data[i], pixels.data, 4 * i);
  context.putImageData(pixels, 0, 0);
}

/** The value of a map at x, y in [0,1) of width and height. */
export function valueAt(map, x, y) {
  const column = Math.min(map.width - 1, Math.max(0, Math.floor(x * map.width)));
  const row = Math.min(map.height - 1, Math.max(0, Math.floor(y * map.height)));
  return map.data[row * map.width + column];
}

/** The mean of a map. */
export function mean(map) {
  let sum = 0;
  for (const v of map.data) sum += v;
  return sum / map.data.length;
}

const svg = "http://www.w3.org/2000/svg";

/** An SVG layer of boxes {box: [x0,y0,x1,y1] in thousandths, label, importance}. */
export function boxLayer(boxes) {
  const layer = document.createElementNS(svg, "svg");
  layer.setAttribute("viewBox", "0 0 1000 1000");
  layer.setAttribute("preserveAspectRatio", "none");
  layer.setAttribute("class", "boxes");
  layer.setAttribute("aria-hidden", "true");
  boxes.forEach(({ box: [x0, y0, x1, y1], label }, i) => {
    const one = document.createElementNS(svg, "rect");
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) })) one.setAttribute(name, value);
    one.dataset.box = i;
    one.dataset.label = label;
    layer.append(one);
  });
  return layer;
}

/** The worst value of several maps at each place of the first; null for none. */
export function worst(maps) {
  if (maps.length < 2) return maps[0] ?? null;
  const { height, width } = maps[0];
  const data = Float32Array.from(maps[0].data);
  for (const other of maps.slice(1)) {
    for (let i = 0; i < data.length; i++) {
      const v = valueAt(other, ((i % width) + 0.5) / width, (Math.floor(i / width) + 0.5) / height);
      if (v > data[i]) data[i] = v;
    }
  }
  return { name: "all", height, width, data };
}

/** Bytes of base64. */
export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** A map whose data is base64 of a byte a value, 255 for 1. */
export function byteMap({ name, height, width, data }) {
  return { name, height, width, data: Float32Array.from(bytesOf(data), (v) => v / 255) };
}

/** How much of its colour and light an image keeps under a map of a strength in [0,1]. */
const fade = (strength) => ({ grey: 0.35 * strength, dark: 0.08 * strength });

/**
 * Draws the image of an element with class "layers", which holds an img, a canvas and
 * perhaps boxes, under a map, or bare for none. strength in [0,1] is how much of the map
 * shows.
 */
export function overlay(layers, map, strength) {
  const canvas = layers.querySelector("canvas");
  const { grey, dark } = fade(map ? strength : 0);
  for (const [name, value] of Object.entries({ strength: map ? strength : 0, grey, dark })) layers.style.setProperty("--" + name, value);
  if (map && canvas.drawn !== map) paintHeat(canvas, map);
  canvas.drawn = map || canvas.drawn;
}

const heat = document.createElement("canvas");

/**
 * Draws the same on one canvas of the image's own size: what many small overlays cost a
 * browser that scrolls is their filters and layers. image is anything that drawImage
 * takes, width by height.
 */
export function flatten(canvas, image, width, height, map, strength) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, width, height);
  if (!map) return;
  const { grey, dark } = fade(strength);
  context.globalCompositeOperation = "saturation"; // takes the image's colour and leaves its light
  context.fillStyle = `rgb(0 0 0 / ${grey})`;
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-atop";
  context.fillStyle = `rgb(0 0 0 / ${dark})`;
  context.fillRect(0, 0, width, height);
  paintHeat(heat, map);
  context.globalAlpha = strength;
  context.imageSmoothingQuality = "high";
  context.drawImage(heat, 0, 0, width, height);
  context.globalAlpha = 1;
}
