
// The examples of a report, drawn with the module above.
const figures = [...document.querySelectorAll(".layers")].map((layers) => {
  const { maps, boxes } = JSON.parse(layers.querySelector("script").textContent);
  const found = { layers, maps: (maps ?? []).map(byteMap), readout: layers.parentElement.querySelector("output") };
  layers.append(document.createElement("canvas"), boxLayer(boxes ?? []));
  layers.classList.add("boxed");
  const means = found.maps.map((map) => `${map.name} ${mean(map).toFixed(2)}`).join(" · ");
  found.readout.textContent = means && "mean " + means;
  layers.addEventListener("pointermove", (event) => {
    const place = layers.getBoundingClientRect();
    const at = [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height];
    found.readout.textContent = found.maps.map((map) => `${map.name} ${valueAt(map, ...at).toFixed(2)}`).join(" · ");
  });
  layers.addEventListener("pointerleave", () => { found.readout.textContent = means && "mean " + means; });
  return found;
});

const choice = document.getElementById("map"), opacity = document.getElementById("opacity");
const draw = () => {
  for (const { layers, maps } of figures) {
    overlay(layers, choice.value === "all" ? worst(maps) : maps.find((map) => map.name === choice.value), opacity.valueAsNumber);
  }
};
if (choice) {
  choice.addEventListener("change", draw);
  opacity.addEventListener("input", draw);
  draw();
}
