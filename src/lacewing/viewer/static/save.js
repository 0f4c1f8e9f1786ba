/** Saving what is seen: figures as SVG and PNG, tables as CSV. */

import { h } from "./dom.js";
import { colours } from "./graph/paint.js";

/** Hand a file to the reader. */
export function file(name, type, content) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Save a table; text is quoted, and nothing in it can be taken for a formula. */
export function csv(name, head, rows) {
  const cell = (value) => {
    if (typeof value === "number") return String(value);
    const text = /^[=+@\t\r]|^-\D/.test(value ?? "") ? `'${value}` : String(value ?? "");
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [head, ...rows].map((row) => row.map(cell).join(","));
  file(`${name}.csv`, "text/csv;charset=utf-8", `${lines.join("\r\n")}\r\n`);
}

/** A figure's text with the colours of the theme written in, so that it stands alone. */
export function standalone(markup) {
  const palette = colours();
  return markup.replace(/var\(--([a-z]+)\)/g, (whole, name) => palette[name] ?? whole);
}

/** Save a figure as SVG. */
export function svg(name, markup) {
  file(`${name}.svg`, "image/svg+xml", standalone(markup));
}

/** Save a figure as PNG, at twice its size. */
export async function png(name, markup, width, height) {
  const url = URL.createObjectURL(new Blob([standalone(markup)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = h("canvas");
    const zoom = Math.min(2, 8000 / Math.max(width, height));
    [canvas.width, canvas.height] = [Math.round(width * zoom), Math.round(height * zoom)];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    file(`${name}.png`, "image/png", blob);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The two buttons under a figure. `make` gives {markup, width, height}. */
export function buttons(name, make) {
  const button = (words, call) => h("button.quiet", { type: "button", "aria-label": `save the figure as ${words}`, on: { click: call } }, words);
  return h("span.save", {}, "Save",
    button("SVG", () => svg(name(), make().markup)),
    button("PNG", () => {
      const { markup, width, height } = make();
      return png(name(), markup, width, height);
    }));
}
