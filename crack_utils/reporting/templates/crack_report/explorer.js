// The explorer: one image, any threshold. It uses the helpers of script.js.
"use strict";
(() => {
  const COLORS = { hit: [86, 180, 233], miss: [240, 228, 66], alarm: [213, 94, 0] };
  const source = (id) => { // the address of a picture, which may refer to an equal one that holds the data
    const address = document.getElementById(id).getAttribute("href");
    return address.startsWith("#") ? source(address.slice(1)) : address;
  };
  const channel = async (id, width, height) => { // the red channel of a lossless picture, one byte per pixel
    const image = new Image();
    image.src = source(id);
    await image.decode();
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]);
  };
  const dilated = (mask, width, height) => { // by a plus with arms of 2 pixels
    const near = new Uint8Array(mask.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (!mask[y * width + x]) continue;
        for (let d = -2; d <= 2; d++) {
          if (x + d >= 0 && x + d < width) near[y * width + x + d] = 1;
          if (y + d >= 0 && y + d < height) near[(y + d) * width + x] = 1;
        }
      }
    }
    return near;
  };
  const explore = (explorer) => {
    const thresholds = explorer.dataset.thresholds.split(" ").map((value) => Number(value).toFixed(3));
    const chosen = Number(explorer.dataset.chosen);
    const found = all(".case");
    const id = (name) => `explorer-${name}`;
    const field = (name, text, input, output = make("span")) => [make("label", { for: id(name) }, text), input, output];
    const range = (name, max, value, oninput) => {
      const input = make("input", { id: id(name), type: "range", min: 0, max, step: 1, oninput });
      input.value = value;
      return input;
    };
    const image = make("select", { id: id("image"), onchange: () => load() });
    for (const kind of new Set(found.map((item) => item.dataset.kind))) {
      const group = make("optgroup", { label: kind });
      found.forEach((item, i) => { if (item.dataset.kind === kind) group.append(make("option", { value: i }, item.querySelector(".case-title").firstChild.textContent)); });
      image.append(group);
    }
    const threshold = range("threshold", thresholds.length - 1, chosen, () => draw());
    const swipe = range("swipe", 100, 0, () => wipe());
    const shown = make("select", { id: id("view"), onchange: () => draw() },
      ...["errors", "predicted mask", "true mask", "probability"].map((name) => make("option", {}, name)));
    const [at, wiped] = [make("span"), make("span")];
    const photo = make("img", { alt: "" });
    const canvas = make("canvas", { role: "img" });
    const divider = make("div", { class: "divider" });
    const stage = make("div", { class: "stage" }, photo, canvas, divider);
    const scores = make("div", { class: "scores", role: "status" });
    const back = make("button", { type: "button", onclick: () => { threshold.value = chosen; draw(); } }, "Chosen");
    let current = null;
    explorer.replaceChildren(stage, make("div", { class: "controls" },
      ...field("image", "Image", image), ...field("threshold", "Threshold", threshold, make("span", {}, at, " ", back)),
      ...field("swipe", "Swipe to image", swipe, wiped), ...field("view", "Show", shown)), scores);
    const load = async () => {
      const wanted = found[image.value];
      const { case: name, width, height, stem } = wanted.dataset;
      const [white, levels] = await Promise.all(["truth", "levels"].map((kind) => channel(`${kind}-${name}`, +width, +height)));
      const truth = white.map((value) => (value > 127 ? 1 : 0));
      if (found[image.value] !== wanted) return; // the reader has picked another image meanwhile
      current = { name, stem, width: +width, height: +height, truth, levels, near: dilated(truth, +width, +height), emptied: "emptied" in wanted.dataset };
      photo.src = source(`photo-${name}`);
      photo.alt = `Image ${stem}`;
      Object.assign(canvas, { width: current.width, height: current.height });
      stage.style.aspectRatio = `${width} / ${height}`;
      stage.style.maxWidth = `${Math.min(3 * width, (innerHeight * 0.75 * width) / height)}px`;
      draw();
    };
    const count = (k, paint) => { // hits, misses and false alarms above threshold number k
      const { truth, near, levels, emptied } = current;
      const counts = { tp: 0, fp: 0, fn: 0 };
      for (let i = 0; i < levels.length; i++) {
        const predicted = !emptied && levels[i] > k;
        if (predicted && near[i]) { counts.tp++; paint(i, "hit"); }
        else if (predicted) { counts.fp++; paint(i, "alarm"); }
        if (truth[i] && !predicted) { counts.fn++; paint(i, "miss"); }
      }
      return counts;
    };
    const draw = () => {
      if (!current) return;
      const k = Number(threshold.value);
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(current.width, current.height);
      const set = (i, [r, g, b], alpha = 255) => { pixels.data.set([r, g, b, alpha], 4 * i); };
      const { tp, fp, fn } = count(k, shown.value === "errors" ? (i, kind) => set(i, COLORS[kind]) : () => {});
      if (shown.value !== "errors") {
        const value = {
          "predicted mask": (i) => (!current.emptied && current.levels[i] > k ? 255 : 0),
          "true mask": (i) => (current.truth[i] ? 255 : 0),
          probability: (i) => Math.min(255, current.levels[i] * 1.41),
        }[shown.value];
        for (let i = 0; i < current.levels.length; i++) { const grey = value(i); set(i, [grey, grey, grey]); }
      }
      context.putImageData(pixels, 0, 0);
      canvas.setAttribute("aria-label", `${shown.value} of ${current.stem} at threshold ${thresholds[k]}`);
      at.textContent = thresholds[k];
      threshold.setAttribute("aria-valuetext", thresholds[k]);
      const hasCrack = tp + fn > 0 || current.truth.some(Boolean);
      const ratio = (whole) => (tp ? tp / whole : 0).toFixed(4);
      const figures = hasCrack
        ? { Precision: ratio(tp + fp), Recall: ratio(tp + fn), F1: (tp ? (2 * tp) / (2 * tp + fp + fn) : 0).toFixed(4), Hits: tp, "False alarms": fp, Misses: fn }
        : { "False alarms": fp, "Share of pixels": `${((100 * fp) / current.levels.length).toFixed(2)} %` };
      const notes = [k === chosen ? "This is the chosen threshold." : `The chosen threshold is ${thresholds[chosen]}.`];
      if (!hasCrack) notes.push("This image has no crack: every marked pixel is a false alarm.");
      if (current.emptied) notes.push("The mask of this image was emptied, because the image was decided crack-free.");
      if ("lowered" in explorer.dataset) notes.push("The lowered threshold for empty masks is left out here.");
      scores.replaceChildren(...Object.entries(figures).map(([name, value]) => make("span", { "data-score": name }, `${name} `, make("b", {}, String(value)))),
        make("span", { class: "note soft" }, notes.join(" ")));
      wipe();
    };
    const wipe = () => {
      canvas.style.clipPath = `inset(0 0 0 ${swipe.value}%)`;
      divider.style.left = `${swipe.value}%`;
      divider.hidden = swipe.value === "0";
      wiped.textContent = `${swipe.value} %`;
    };
    const drag = (event) => {
      if (!event.buttons) return;
      const box = stage.getBoundingClientRect();
      swipe.value = (100 * (event.clientX - box.left)) / box.width;
      wipe();
    };
    stage.addEventListener("pointerdown", drag);
    stage.addEventListener("pointermove", drag);
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    const pick = (item) => {
      image.value = found.indexOf(item);
      load();
      explorer.closest("figure").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion)").matches ? "auto" : "smooth" });
      image.focus({ preventScroll: true });
    };
    for (const item of found) {
      item.querySelector(".case-title").append(make("button", { type: "button", "aria-label": `Explore ${item.dataset.stem}`, onclick: () => pick(item) }, "Explore"));
    }
    document.addEventListener("click", (event) => { // the name of an image in a table
      const link = event.target.closest('a[href^="#case-"]');
      const item = link && document.getElementById(link.hash.slice(1));
      if (item && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); pick(item); }
    });
    image.value = Math.max(0, found.findIndex((item) => `#${item.id}` === location.hash));
    load();
  };
  all(".explorer").forEach(explore);
})();
