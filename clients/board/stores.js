/**
 * What the server keeps: whether its log takes events, what waits for it in a spool, and the dead
 * letters that wait for a person.
 * @module
 */

import { readLog } from './intake.js';
import { Cell, short } from './panel.js';

const WORDS = { open: 'open', closed: 'closed', spooling: 'kept', handing_on: 'to come' };
const TONES = { open: 'fresh', closed: 'failing', spooling: 'stale', handing_on: 'stale' };

/** How the log reads: a figure and what follows it; `47 kept`, `12 to come`, `open`. */
export function sayLog({ state, waiting }) {
  const word = WORDS[state];
  return state === 'open' || state === 'closed' ? [word, ''] : [short(waiting), word];
}

export class Stores {
  #log = new Cell('log', 'Log');
  #letters = new Cell('letters', 'Dead letters');

  /** Puts its two cells behind those of `panel`. */
  constructor(panel) {
    panel.append(this.#log.element, this.#letters.element);
  }

  /** Shows what `/v1/live` says. */
  read({ log, panel }) {
    const read = readLog(log);
    const [figure, rest] = log ? sayLog(read) : ['–', ''];
    this.#log.show(figure, rest, TONES[read.state]);
    const letters = panel?.dead_letters;
    const some = Number.isSafeInteger(letters) && letters > 0;
    this.#letters.show(short(letters), some ? 'wait' : '', some ? 'stale' : 'fresh');
  }

  /** Nobody answers: figures of before would be lies. */
  clear() {
    for (const cell of [this.#log, this.#letters]) cell.show('–', '', '');
  }
}
