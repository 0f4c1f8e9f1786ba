/** How many nodes two circuits have at every site: a figure of facing bars. */

import { place } from "../words.js";

const LINE = 26;
const MIDDLE = 190;
const SIDE = 300;

/** The figure: {markup, width, height}. Bars of one model share their inner part. */
export function overlap(found) {
  const sites = found.sites.filter((s) => s.left || s.right);
  const most = Math.max(...sites.flatMap((s) => [s.left, s.right]), 1);
  const width = 2 * SIDE + MIDDLE + 80;
  const height = sites.length * LINE + 12;
  const scale = (n) => (n / most) * SIDE;
  const centre = width / 2;
  const parts = [...sites].reverse().map((site, i) => {
    const y = 8 + i * LINE;
    const bar = (from, count, colour) => (count ? `<rect x="${from.toFixed(1)}" y="${y}" width="${Math.max(scale(count), 1).toFixed(1)}" height="16" rx="2" fill="var(--${colour})"/>` : "");
    const [l, r] = [centre - MIDDLE / 2, centre + MIDDLE / 2];
    const own = site.shared ?? 0;
    return (
      bar(l - scale(site.left), site.left - own, "plus") + bar(l - scale(own), own, "node") +
      bar(r + scale(own), site.right - own, "minus") + bar(r, own, "node") +
      `<text x="${centre}" y="${y + 12}" text-anchor="middle">${place(site.key).replace(/[<>&]/g, "")}</text>` +
      `<text x="${(l - scale(site.left) - 6).toFixed(1)}" y="${y + 12}" text-anchor="end" class="n">${site.left}</text>` +
      `<text x="${(r + scale(site.right) + 6).toFixed(1)}" y="${y + 12}" class="n">${site.right}</text>`
    );
  });
  const style = "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--soft)}.n{fill:var(--ink)}";
  const title = "Nodes at every site";
  const markup = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${title}"><title>${title}</title><style>${style}</style>${parts.join("")}</svg>`;
  return { markup, width, height };
}
