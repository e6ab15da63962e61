/**
 * The wall: a flip-dot board across the page that shows one message at a time and bursts at a goal.
 *
 * The canvas is a grid of discs. A message becomes a bitmap (dots.js); discs that change turn over
 * in a wave from the left, and nothing is drawn once all have turned: an idle wall costs nothing.
 * Whoever prefers reduced motion sees the new message at once. The wall repeats what the page says
 * in text, so it is hidden from assistive technology.
 * @module
 */

import { drawText, textColumns } from './dots.js';

const ROWS = 18;
const TURN_MS = 220;
const WAVE_MS = 520;
const UNLIT = '#1c2320';
const LIT = '#ffe14a';

export class Wall {
  #canvas;
  #context;
  #message = { lines: ['TOUCHLINE'], inverse: false };
  #columns = 0;
  #pitch = 0;
  #shown = [];
  #target = [];
  #since = 0;
  #frame = null;
  #still;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#still = matchMedia('(prefers-reduced-motion: reduce)');
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /**
   * Shows the first of `lines` that fits, as large as it fits; `inverse` swaps discs, `repeat`
   * fills the width.
   */
  show(lines, { inverse = false, repeat = false } = {}) {
    this.#message = { lines, inverse, repeat };
    this.#target = this.#compose();
    this.#since = performance.now();
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    this.#pitch = this.#canvas.height / ROWS;
    this.#columns = Math.floor(this.#canvas.width / this.#pitch);
    this.#target = this.#compose();
    this.#shown = this.#target.map((row) => [...row]);
    this.#draw();
  }

  #compose() {
    const { lines, inverse, repeat } = this.#message;
    const bitmap = Array.from({ length: ROWS }, () => new Uint8Array(this.#columns));
    const sized = [2, 1].flatMap((scale) => lines.map((line) => [line, scale]));
    const fits = ([line, scale]) => textColumns(line, scale) <= this.#columns - 2;
    const [line, scale] = sized.find(fits) ?? [lines.at(-1), 1];
    const width = textColumns(line, scale);
    const times = repeat ? Math.max(1, Math.floor(this.#columns / (width + 12 * scale))) : 1;
    const stride = this.#columns / times;
    for (let turn = 0; turn < times; turn += 1) {
      const left = Math.round(stride * turn + (stride - width) / 2);
      drawText(bitmap, line, left, Math.floor((ROWS - 7 * scale) / 2), scale);
    }
    return inverse ? bitmap.map((row) => row.map((bit) => 1 - bit)) : bitmap;
  }

  #draw() {
    this.#frame = null;
    const passed = this.#still.matches ? Infinity : performance.now() - this.#since;
    const { width, height } = this.#canvas;
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    const margin = (width - this.#columns * this.#pitch) / 2;
    const radius = this.#pitch * 0.39;
    for (let y = 0; y < ROWS; y += 1) {
      for (let x = 0; x < this.#columns; x += 1) {
        const turned = this.#turn(x, y, passed);
        const lit = turned < 0.5 ? this.#shown[y]?.[x] : this.#target[y][x];
        context.fillStyle = lit ? LIT : UNLIT;
        context.beginPath();
        const squash = Math.max(Math.abs(1 - 2 * turned), 0.08);
        context.ellipse(
          margin + (x + 0.5) * this.#pitch,
          (y + 0.5) * this.#pitch,
          radius * squash,
          radius,
          0,
          0,
          7,
        );
        context.fill();
      }
    }
    if (passed < TURN_MS + WAVE_MS) this.#frame = requestAnimationFrame(() => this.#draw());
    else this.#shown = this.#target.map((row) => [...row]);
  }

  /**
   * How far a disc has turned: 0 shows the old side, 1 the new one; a disc that needn't turn stays
   * at 1.
   */
  #turn(x, y, passed) {
    if (this.#shown[y]?.[x] === this.#target[y][x]) return 1;
    const delay = ((x / Math.max(this.#columns, 1)) * 0.8 + ((x * 7 + y * 13) % 10) / 50) * WAVE_MS;
    return Math.min(Math.max((passed - delay) / TURN_MS, 0), 1);
  }
}
