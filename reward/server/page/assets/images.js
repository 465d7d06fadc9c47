// The images that a person gives: dropped, pasted or picked.
import { el } from "./dom.js";

const most = 64;

/**
 * Makes a place of images in a container. Gives {images, clear}; each image is {name,
 * base64, address}. Pasting works anywhere on the page while the container is shown.
 */
export function imagePlace(container, changed) {
  const images = [];
  const strip = el("ul", { class: "strip", "aria-label": "Images to score" });
  const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", multiple: true, class: "unseen" });
  const told = el("span", { class: "hint" }, "PNG, JPEG or WebP");
  const zone = el("label", { class: "zone" }, el("span", { class: "plus", "aria-hidden": "true" }, "+"), el("span", {}, el("strong", {}, "Drop, paste or pick images"), told), input);
  container.append(zone, strip);

  async function add(files) {
    for (const file of files) {
      if (images.length >= most) {
        told.textContent = `At most ${most} images at a time`;
        break;
      }
      images.push({ name: file.name || "pasted image", base64: await base64(file), address: URL.createObjectURL(file) });
    }
    draw();
  }

  function draw() {
    strip.replaceChildren(...images.map((image) => el("li", {},
      el("img", { src: image.address, alt: image.name }),
      el("button", { type: "button", "aria-label": `Remove ${image.name}`, onclick: () => remove(image) }, "×"))));
    changed?.(images);
  }

  function remove(image) {
    URL.revokeObjectURL(image.address);
    images.splice(images.indexOf(image), 1);
    draw();
    input.focus();
  }

  input.addEventListener("change", async () => {
    await add(input.files);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    container.addEventListener(kind, (event) => {
      event.preventDefault();
      container.classList.add("over");
    });
  }
  container.addEventListener("dragleave", () => container.classList.remove("over"));
  container.addEventListener("drop", (event) => {
    event.preventDefault();
    container.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length || !container.checkVisibility()) return;
    event.preventDefault();
    add(files);
  });
  return { images };
}

// A file that is dropped beside its place must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
