// Tools for readers. Without scripts a page shows the same content, at the chosen threshold.
"use strict";
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
(() => {
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

  // --- contents: folded on a phone; marks the section being read
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

  // --- a link to folded content unfolds it
  const unfold = () => {
    const target = document.getElementById(location.hash.slice(1));
    const fold = target?.closest("details") || (target?.matches("figure") && target.querySelector("details"));
    if (fold) fold.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // --- tables: sort, filter, copy
  const cells = (table) => { // visible rows, without columns of pictures
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
      const box = make("div", { class: "tall", tabindex: "0", role: "region", "aria-label": `${nameOf(figure)}, scrollable` });
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
      if (![...table.tBodies[0].rows].some((row) => row.children[column].textContent.trim())) return; // a column of pictures
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
      if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b); // cells without a value come last
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

  // --- figures: enlarge, save, read values
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
  const drawing = (svg) => { // the plot in its own colours instead of the theme's
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
    // The picture keeps its description; the frame around it receives key presses.
    const frame = make("div", { class: "plot", tabindex: "0", role: "group", style: plot.getAttribute("style") || "",
      "aria-label": "Curves: the left and right arrow keys show values" });
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
})();
