/** What lies under the pointer. */

const REACH = 12;
const STEPS = 14;

/** The nearest node within reach of a place on the screen, or null. */
export function nodeAt(scene, px, py) {
  const { layout, view, nodes, sizes } = scene;
  let best = null;
  let nearest = Infinity;
  for (const node of nodes) {
    const [x, y] = [layout.x[node.index] * view.k + view.x, layout.y[node.index] * view.k + view.y];
    const wide = sizes[node.index];
    const far = Math.hypot(Math.max(Math.abs(px - x) - wide, 0), Math.max(Math.abs(py - y) - Math.min(wide, 13), 0));
    const middle = Math.hypot(px - x, py - y);
    if (far <= REACH && middle < nearest) [best, nearest] = [node, middle];
  }
  return best;
}

/** The nearest shown link within a few pixels, or -1. */
export function linkAt(scene, px, py, reach = 6) {
  const { layout, view, links, shown } = scene;
  const [wx, wy] = [(px - view.x) / view.k, (py - view.y) / view.k];
  const room = reach / view.k;
  let best = -1;
  let nearest = room;
  for (const i of shown) {
    const [from, to] = [links.source[i], links.destination[i]];
    const [x0, y0, x1, y1] = [layout.x[from], layout.y[from], layout.x[to], layout.y[to]];
    if (wy < Math.min(y0, y1) - room || wy > Math.max(y0, y1) + room) continue;
    if (wx < Math.min(x0, x1) - room || wx > Math.max(x0, x1) + room) continue;
    const far = distance(wx, wy, x0, y0, x1, y1);
    if (far < nearest) [best, nearest] = [i, far];
  }
  return best;
}

/** Distance from a place to the curve that `curve` draws. */
function distance(px, py, x0, y0, x1, y1) {
  let least = Infinity;
  let [ax, ay] = [x0, y0];
  for (let step = 1; step <= STEPS; step++) {
    const [bx, by] = point(x0, y0, x1, y1, step / STEPS);
    least = Math.min(least, toSegment(px, py, ax, ay, bx, by));
    [ax, ay] = [bx, by];
  }
  return least;
}

/** The point of a link's curve at t from 0 to 1. */
export function point(x0, y0, x1, y1, t) {
  const s = 1 - t;
  const half = (y0 + y1) / 2;
  const sides = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return [
    (sides[0] + sides[1]) * x0 + (sides[2] + sides[3]) * x1,
    sides[0] * y0 + (sides[1] + sides[2]) * half + sides[3] * y1,
  ];
}

function toSegment(px, py, ax, ay, bx, by) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length ? Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / length)) : 0;
  return Math.hypot(px - ax - t * dx, py - ay - t * dy);
}
