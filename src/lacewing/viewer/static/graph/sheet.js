/**
 * The links, drawn ahead of time: a bitmap larger than the window that moves and grows with it.
 *
 * While the reader pans or zooms, only this bitmap is copied. A sharp one is drawn behind it, some
 * bundles in every frame, and takes its place when it is whole; so a frame never waits for 50,000
 * curves.
 */

import { enter, stroke } from "./paint.js";

const MARGIN = 0.35;
const GOOD = 18;

export class Sheet {
  constructor() {
    this.front = null;
    this.job = null;
    this.pace = 12;
  }

  /** Forget what is drawn, because the links or colours changed; it stays until the next is done. */
  begin(bundles, palette, view, size, ratio) {
    const back = this.spare ?? document.createElement("canvas");
    this.spare = null;
    const [mx, my] = [size.width * MARGIN, size.height * MARGIN];
    back.width = Math.ceil((size.width + 2 * mx) * ratio);
    back.height = Math.ceil((size.height + 2 * my) * ratio);
    const context = back.getContext("2d");
    context.lineCap = "round";
    const shifted = { k: view.k, x: view.x + mx, y: view.y + my };
    enter(context, shifted, ratio);
    this.job = { back, context, bundles, palette, view: { ...view }, mx, my, ratio, next: 0, at: 0 };
  }

  /** Draw some more; true while there is more to draw. */
  step(now) {
    const { job } = this;
    if (!job) return false;
    // Frames that came late say that too much was drawn; those in time, that there is room.
    if (job.at) this.pace = now - job.at > GOOD ? Math.max(this.pace * 0.7, 1) : this.pace * 1.15 + 0.2;
    job.at = now;
    const end = Math.min(job.next + Math.ceil(this.pace), job.bundles.length);
    for (; job.next < end; job.next++) stroke(job.context, job.bundles[job.next], job.palette, job.view.k);
    if (job.next < job.bundles.length) return true;
    this.spare = this.front?.back ?? null;
    this.front = job;
    this.job = null;
    return false;
  }

  /** Draw all that is left at once. */
  finish() {
    while (this.job) {
      this.pace = this.job.bundles.length + 1;
      this.step(0);
    }
    this.pace = 12;
  }

  /** Copy the bitmap to where the view has moved it. */
  copy(context, view, ratio, alpha) {
    const { front } = this;
    if (!front) return;
    const grown = view.k / front.view.k;
    const x = view.x - (front.view.x + front.mx) * grown;
    const y = view.y - (front.view.y + front.my) * grown;
    const unit = grown / front.ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.globalAlpha = alpha;
    context.drawImage(front.back, x, y, front.back.width * unit, front.back.height * unit);
    context.globalAlpha = 1;
  }

  /** Whether the bitmap is sharp and in place for a view. */
  fits(view) {
    const at = this.front?.view;
    return at !== undefined && at.k === view.k && at.x === view.x && at.y === view.y;
  }
}
