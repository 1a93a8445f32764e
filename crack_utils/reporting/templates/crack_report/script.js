// What a page can do beyond being read. Without it everything is still there, at the chosen threshold.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const isEmpty = (text) => text === "" || text === "none";
  const number = (text) => (isEmpty(text) ? NaN : Number(text.replace(/[%,]/g, "").split(" ")[0]));
  const announcer = make("div", { class: "said-aloud", role: "status" });
  document.body.append(announcer);

  // --- theme: automatic, light, dark
  const themes = ["auto", "light", "dark"];
  const root = document.documentElement;
  const themeButton = make("button", { id: "theme", type: "button", onclick: () => showTheme(themes[(themes.indexOf(theme()) + 1) % 3]) });
  const theme = () => root.dataset.theme || "auto";
  const showTheme = (name) => {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    themeButton.textContent = `Theme: ${name}`;
    try { localStorage.setItem("crack-report-theme", name); } catch { /* not kept */ }
  };
  showTheme(theme());
  all("header .tools").forEach((tools) => tools.append(themeButton));

  // --- contents: folded on a phone; the section that is read is marked
  const contents = document.querySelector(".contents details");
  if (contents && matchMedia("(max-width: 75rem)").matches) contents.open = false;
  const entries = all(".contents a").map((link) => [link, document.getElementById(link.hash.slice(1))]);
  const mark = () => {
    const passed = entries.filter(([, heading]) => heading.getBoundingClientRect().top < 120);
    const atEnd = scrollY > 0 && innerHeight + scrollY >= document.body.scrollHeight - 2;
    const [current] = (atEnd ? entries : passed).at(-1) || entries[0] || [];
    for (const [link] of entries) {
      if (link === current) link.setAttribute("aria-current", "location");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });
  mark();

  // --- a link into a fold opens it
  const unfold = () => {
    const target = document.getElementById(location.hash.slice(1));
    const fold = target?.closest("details") || (target?.matches("figure") && target.querySelector("details"));
    if (fold) fold.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // --- tables: sort, filter, copy
  const cells = (table) => { // what is seen, columns of pictures left out
    const rows = all("tr", table).filter((row) => !row.hidden).map((row) => [...row.children].map((cell) => cell.textContent.trim()));
    const kept = rows[0].map((_, i) => rows.slice(1).some((row) => row[i] !== "") || rows.length === 1);
    return rows.map((row) => row.filter((_, i) => kept[i]));
  };
  const isNumeric = (rows, i) => rows.slice(1).every((row) => isEmpty(row[i]) || !Number.isNaN(number(row[i])));
  const csv = (rows) => {
    const numeric = rows[0].map((_, i) => isNumeric(rows, i)); // in such a column "none" is a missing number
    const cell = (text, i) => (numeric[i] && text === "none" ? "" : /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  };
  const marks = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "²": "$^2$", "·": "$\\cdot$", "−": "$-$" };
  const tex = (text) => text.replace(/[\\&%$#_{}~^±²·−]/g, (mark) => marks[mark] || `\\${mark}`).replace(/^[-+]\d[\d.]*/, "$$$&$$");
  const latex = (rows) => {
    const columns = rows[0].map((_, i) => (isNumeric(rows, i) ? "r" : "l"));
    const line = (row) => `${row.map(tex).join(" & ")} \\\\`;
    return ["% \\usepackage{booktabs}", "\\begin{tabular}{" + columns.join("") + "}", "\\toprule", line(rows[0]), "\\midrule", ...rows.slice(1).map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  };
  const copy = async (button, text) => {
    const label = (button.dataset.label ??= button.textContent);
    let copied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no permission, or an old browser
      const area = make("textarea", { "aria-hidden": "true", style: "position:fixed;opacity:0" });
      area.value = text;
      document.body.append(area);
      area.select();
      copied = document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = copied ? "Copied" : "Not copied";
    announcer.textContent = `${label}: ${button.textContent}`;
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { button.textContent = label; }, 1500);
  };
  const nameOf = (figure) => figure.querySelector(".number")?.textContent.replace(".", "") || "this";
  for (const figure of all("figure.table")) {
    const table = figure.querySelector("table");
    const kinds = { CSV: csv, LaTeX: latex };
    table.after(make("div", { class: "bar" }, ...Object.entries(kinds).map(([kind, write]) => make("button", {
      type: "button", "aria-label": `Copy ${kind} of ${nameOf(figure)}`, onclick: (event) => copy(event.currentTarget, write(cells(table))),
    }, `Copy ${kind}`))));
    if (table.rows.length > 40) {
      const box = make("div", { class: "tall", tabindex: "0", role: "region", "aria-label": `${nameOf(figure)}, to be scrolled` });
      table.replaceWith(box);
      box.append(table);
    } else {
      new ResizeObserver(() => (figure.scrollWidth > figure.clientWidth ? figure.setAttribute("tabindex", "0") : figure.removeAttribute("tabindex"))).observe(figure);
    }
    if (table.classList.contains("sortable")) sortable(table);
    if (table.classList.contains("filtered")) filtered(table);
  }
  function sortable(table) {
    all("thead th", table).forEach((head, column) => {
      if (![...table.tBodies[0].rows].some((row) => row.children[column].textContent.trim())) return; // pictures
      head.replaceChildren(make("button", { type: "button", onclick: () => sort(table, head, column) }, ...head.childNodes));
    });
  }
  function sort(table, head, column) {
    const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.children[column].textContent.trim()]);
    const numeric = rows.every(([, text]) => isEmpty(text) || !Number.isNaN(number(text)));
    const sign = direction === "ascending" ? 1 : -1;
    rows.sort(([, a], [, b]) => {
      if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b); // what has no value comes last
      return sign * (numeric ? number(a) - number(b) : a.localeCompare(b, undefined, { numeric: true }));
    });
    table.tBodies[0].append(...rows.map(([row]) => row));
  }
  function filtered(table) {
    const shown = make("output", { class: "soft" });
    const field = make("input", { type: "search", oninput: () => {
      const wanted = field.value.toLowerCase().split(/\s+/);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
      shown.textContent = ` ${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    } });
    table.closest("figure").prepend(make("p", {}, make("label", {}, "Show only rows with ", field), shown));
  }

  // --- figures: enlarge, save, read off
  const dialog = make("dialog", { "aria-label": "Enlarged figure" });
  const view = make("div", { class: "view", tabindex: "0", role: "region", "aria-label": "Figure" });
  let zoom = 1;
  const zoomTo = (value) => {
    zoom = Math.min(8, Math.max(1, value));
    if (view.firstElementChild) view.firstElementChild.style.width = `${100 * zoom}%`;
  };
  dialog.append(make("div", { class: "bar" },
    make("button", { type: "button", onclick: () => dialog.close() }, "Close"),
    make("button", { type: "button", "aria-label": "Larger", onclick: () => zoomTo(zoom * 1.5) }, "+"),
    make("button", { type: "button", "aria-label": "Smaller", onclick: () => zoomTo(zoom / 1.5) }, "−")), view);
  dialog.addEventListener("close", () => { view.replaceChildren(); dialog.remove(); });
  const enlarge = (...shown) => {
    const content = make("div", {}, ...shown.map((part) => part.cloneNode(true)));
    all("[id]", content).forEach((part) => part.removeAttribute("id"));
    all(".case-title button, .dot, .reading", content).forEach((part) => part.remove());
    view.replaceChildren(content);
    document.body.append(dialog);
    zoomTo(1);
    dialog.showModal();
  };
  const save = (blob, name) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const drawing = (svg) => { // the plot as it is printed: its own colours instead of the theme's
    const text = new XMLSerializer().serializeToString(svg).replace(/var\(--[\w-]+, (#\w+)\)/g, "$1");
    const { width, height } = svg.viewBox.baseVal;
    return [text.replace("<svg", `<svg width="${width.toFixed(1)}pt" height="${height.toFixed(1)}pt"`), width, height];
  };
  const savePng = async (svg, name) => {
    const [text, width, height] = drawing(svg);
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = make("canvas", { width: 4 * width, height: 4 * height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(blob, name));
  };
  for (const figure of all("figure.chart, figure.image, figure.gallery")) {
    const shown = all(":scope > .plot, :scope > img, :scope > .pictures, :scope > .case", figure);
    if (!shown.length) continue;
    const bar = make("div", { class: "bar" }, make("button", {
      type: "button", "aria-label": `Enlarge ${nameOf(figure)}`, onclick: () => enlarge(...shown) }, "Enlarge"));
    const svg = figure.querySelector(":scope > .plot > svg");
    const file = `${document.title.replace(/[^\w.]+/g, "-")}-${figure.id.replace("fig-", "")}`;
    const saved = { SVG: () => save(new Blob([drawing(svg)[0]], { type: "image/svg+xml" }), `${file}.svg`), PNG: () => savePng(svg, `${file}.png`) };
    for (const [kind, onclick] of svg ? Object.entries(saved) : []) {
      bar.append(make("button", { type: "button", "aria-label": `Save ${kind} of ${nameOf(figure)}`, onclick }, `Save ${kind}`));
    }
    figure.append(bar);
    shown.filter((part) => part.matches("img, .case, .pictures")).forEach((part) => part.addEventListener("dblclick", () => enlarge(part)));
  }

  for (const plot of all(".plot[data-series]")) {
    const points = JSON.parse(plot.dataset.series).flatMap((curve) => curve.x.map((x, i) => ({
      curve, x, y: curve.y[i], left: curve.left[i], top: curve.top[i] })));
    if (!points.length) continue;
    const reading = make("output", { class: "reading", hidden: "" });
    const dots = make("span");
    const svg = plot.querySelector("svg");
    // The picture keeps its description; the frame around it takes the keys.
    const frame = make("div", { class: "plot", tabindex: "0", role: "group", style: plot.getAttribute("style") || "",
      "aria-label": "Curves: left and right arrow keys read off values" });
    plot.replaceWith(frame);
    plot.removeAttribute("style");
    frame.append(plot, dots, reading);
    const places = [...new Set(points.map((point) => point.left))].sort((a, b) => a - b);
    let at = -1;
    const show = (left, nearest) => {
      at = places.indexOf(left);
      const here = nearest ? [nearest, ...points.filter((p) => p.x === nearest.x && p.curve !== nearest.curve)] : points.filter((p) => p.left === left);
      const unique = here.filter((point, i) => here.findIndex((other) => other.curve === point.curve) === i);
      dots.replaceChildren(...unique.map((p) => make("span", { class: "dot", style: `left:${100 * p.left}%;top:${100 * p.top}%` })));
      const { curve, x } = unique[0];
      reading.replaceChildren(`${curve.x_label}: ${x}`, ...unique.flatMap((p) => [make("br"), `${p.curve.label}: ${p.y}`]));
      reading.hidden = false;
      reading.style.left = `${left > 0.6 ? 100 * left - 2 : 100 * left + 2}%`;
      reading.style.transform = left > 0.6 ? "translateX(-100%)" : "";
      reading.style.top = "8%";
    };
    const hide = () => { reading.hidden = true; dots.replaceChildren(); at = -1; };
    const point = (event) => {
      const box = svg.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      const far = (p) => Math.hypot((p.left - x) * box.width, (p.top - y) * box.height / 3);
      const nearest = points.reduce((best, p) => (far(p) < far(best) ? p : best));
      show(nearest.left, nearest);
    };
    frame.addEventListener("pointermove", point);
    frame.addEventListener("pointerdown", point);
    frame.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); });
    frame.addEventListener("blur", hide);
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show(places[Math.min(places.length - 1, Math.max(0, at + step))]);
    });
  }

  // --- the explorer: one image, any threshold
  const COLORS = { hit: [86, 180, 233], miss: [240, 228, 66], alarm: [213, 94, 0] };
  const source = (id) => { // of a picture of the page, which may refer to another that holds it
    const address = document.getElementById(id).getAttribute("href");
    return address.startsWith("#") ? source(address.slice(1)) : address;
  };
  const channel = async (id, width, height) => { // the red channel of a lossless picture, a byte a pixel
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
      if (found[image.value] !== wanted) return; // another was picked meanwhile
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
      const notes = [k === chosen ? "This is the threshold that was chosen." : `Chosen was ${thresholds[chosen]}.`];
      if (!hasCrack) notes.push("There is no crack here: all that is marked is a false alarm.");
      if (current.emptied) notes.push("The mask of this image was emptied, because it was decided crack-free.");
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
    document.addEventListener("click", (event) => { // a stem in a table
      const link = event.target.closest('a[href^="#case-"]');
      const item = link && document.getElementById(link.hash.slice(1));
      if (item && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); pick(item); }
    });
    image.value = Math.max(0, found.findIndex((item) => `#${item.id}` === location.hash));
    load();
  };
  all(".explorer").forEach(explore);
})();
