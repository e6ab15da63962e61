/**
 * The board's own typeface: letters and figures on a grid of five by seven discs.
 *
 * Stadium boards made of flip-dots set the tone of the whole page, so the face is drawn here rather
 * than loaded. A glyph is seven rows of five cells. Text becomes a bitmap (rows of 0 and 1);
 * `Digit` shows one figure as SVG discs, the wall (wall.js) draws whole bitmaps. Names with accents
 * lose them; what has no glyph becomes a blank.
 * @module
 */

const ROWS = 7;
const COLUMNS = 5;

// Rows from the top, separated by '/', each a number in base 32: five cells, the highest bit at the
// left.
const GLYPHS = {
  A: 'e/h/h/v/h/h/h',
  B: 'u/h/h/u/h/h/u',
  C: 'e/h/g/g/g/h/e',
  D: 'u/h/h/h/h/h/u',
  E: 'v/g/g/u/g/g/v',
  F: 'v/g/g/u/g/g/g',
  G: 'e/h/g/n/h/h/e',
  H: 'h/h/h/v/h/h/h',
  I: 'e/4/4/4/4/4/e',
  J: '1/1/1/1/h/h/e',
  K: 'h/i/k/o/k/i/h',
  L: 'g/g/g/g/g/g/v',
  M: 'h/r/l/l/h/h/h',
  N: 'h/p/p/l/j/j/h',
  O: 'e/h/h/h/h/h/e',
  P: 'u/h/h/u/g/g/g',
  Q: 'e/h/h/h/l/i/d',
  R: 'u/h/h/u/k/i/h',
  S: 'f/g/g/e/1/1/u',
  T: 'v/4/4/4/4/4/4',
  U: 'h/h/h/h/h/h/e',
  V: 'h/h/h/h/h/a/4',
  W: 'h/h/h/l/l/r/h',
  X: 'h/h/a/4/a/h/h',
  Y: 'h/h/a/4/4/4/4',
  Z: 'v/1/2/4/8/g/v',
  0: 'e/h/h/h/h/h/e',
  1: '4/c/4/4/4/4/e',
  2: 'e/h/1/6/8/g/v',
  3: 'v/1/2/6/1/h/e',
  4: '2/6/a/i/v/2/2',
  5: 'v/g/u/1/1/h/e',
  6: '6/8/g/u/h/h/e',
  7: 'v/1/2/4/4/8/8',
  8: 'e/h/h/e/h/h/e',
  9: 'e/h/h/f/1/2/c',
  '-': '0/0/0/e/0/0/0',
  '!': '4/4/4/4/4/0/4',
  '+': '0/4/4/v/4/4/0',
  "'": '4/4/8/0/0/0/0',
  '.': '0/0/0/0/0/c/c',
  ':': '0/c/c/0/c/c/0',
  '/': '1/1/2/4/8/g/g',
  '&': '8/k/k/8/l/i/d',
};

/** The rows of one character, each a number of five bits. */
function glyph(character) {
  const rows = Object.hasOwn(GLYPHS, character) ? GLYPHS[character] : '0/0/0/0/0/0/0';
  return rows.split('/').map((row) => parseInt(row, 32));
}

/** Upper case without accents: what the face can show. */
export function plain(text) {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toUpperCase();
}

/** Columns that `text` takes at `scale`: glyphs are one column apart. */
export function textColumns(text, scale = 1) {
  return Math.max(0, [...plain(text)].length * (COLUMNS + 1) - 1) * scale;
}

/**
 * Draws `text` into `bitmap` (an array of rows), its top left at (left, top), clipped at the edges.
 */
export function drawText(bitmap, text, left, top, scale = 1) {
  [...plain(text)].forEach((character, index) => {
    const rows = glyph(character);
    for (let y = 0; y < ROWS * scale; y += 1) {
      for (let x = 0; x < COLUMNS * scale; x += 1) {
        const lit = (rows[Math.floor(y / scale)] >> (COLUMNS - 1 - Math.floor(x / scale))) & 1;
        const row = bitmap[top + y];
        const column = left + index * (COLUMNS + 1) * scale + x;
        if (lit && row && column >= 0 && column < row.length) row[column] = 1;
      }
    }
  });
}

const SVG = 'http://www.w3.org/2000/svg';

/** One figure of a score as discs that flip; what it says is for others to say in text. */
export class Digit {
  #discs = [];

  constructor() {
    this.element = document.createElementNS(SVG, 'svg');
    this.element.setAttribute('viewBox', '0 0 50 70');
    this.element.setAttribute('class', 'digit');
    this.element.setAttribute('aria-hidden', 'true');
    for (let cell = 0; cell < ROWS * COLUMNS; cell += 1) {
      const disc = document.createElementNS(SVG, 'circle');
      disc.setAttribute('cx', String((cell % COLUMNS) * 10 + 5));
      disc.setAttribute('cy', String(Math.floor(cell / COLUMNS) * 10 + 5));
      disc.setAttribute('r', '4.5');
      disc.style.setProperty('--at', String((cell % COLUMNS) + Math.floor(cell / COLUMNS)));
      this.#discs.push(disc);
    }
    this.element.append(...this.#discs);
  }

  show(character) {
    const rows = glyph(character);
    this.#discs.forEach((disc, cell) => {
      const bit = COLUMNS - 1 - (cell % COLUMNS);
      disc.classList.toggle('lit', ((rows[Math.floor(cell / COLUMNS)] >> bit) & 1) === 1);
    });
  }
}
