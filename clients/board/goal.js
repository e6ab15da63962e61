/**
 * The call: how a goal takes over the top of the page, and how a goal that was taken back does.
 *
 * Calls are shown one after another, each for a few seconds; when many wait each is shorter, and
 * what is too much is left to the feed. In between, wall and line tell of the day. Screen readers
 * get each goal at once, in one sentence.
 * @module
 */

import { dress } from './kit.js';
import { minuteText, noteText } from './model.js';
import { plain } from './words.js';

const CALL_MS = 6_500;
const CALL_MIN_MS = 2_600;
const WAITING_MAX = 2;

export class Calls {
  #wall;
  #at;
  #waiting = [];
  #current = null;
  #calledAt = 0;
  #timers = [];
  #idle = ['TOUCHLINE'];
  #idleText = '';

  /** `elements`: call, what, who, kit, close, shout, stand. */
  constructor(wall, elements) {
    this.#wall = wall;
    this.#at = elements;
    elements.close.addEventListener('click', () => this.#next());
    document.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape' && this.#current) this.#next();
    });
  }

  /** A goal: `match` after it, `side` that scored, `event` that told. */
  goal(match, side, event) {
    const { note } = event.data;
    const suffix = noteText(note) && ` (${noteText(note)})`;
    const player = plain(event.data.player);
    const scorer = player ? `${player}${suffix}, ${minuteText(match)}` : minuteText(match);
    this.#call({ kind: 'goal', what: 'Goal', match, side, who: scorer });
  }

  /** A goal that was taken back. */
  takenBack(match, side) {
    this.#call({
      kind: 'var',
      what: 'No goal',
      match,
      side,
      who: `Taken back after review, ${minuteText(match)}`,
    });
  }

  /** What wall and line show when nothing is called. */
  rest(lines, text) {
    this.#idle = lines;
    this.#idleText = text;
    if (!this.#current) this.#showRest();
  }

  #call({ kind, what, match, side, who }) {
    const { homeName, awayName, score } = match;
    const line = `${homeName} ${score.home}–${score.away} ${awayName}`;
    const wall = `${match.home.slice(0, 3)} ${score.home}-${score.away} ${match.away.slice(0, 3)}`;
    this.#at.shout.textContent = `${what}! ${match[`${side}Name`]}. ${line}. ${who}.`;
    this.#waiting.push({ kind, what, line, who, wall, team: match[side] });
    if (this.#waiting.length > WAITING_MAX) this.#waiting.shift();
    if (!this.#current) return this.#next();
    // News don't wait for old news to have had their full time.
    const left = this.#calledAt + CALL_MIN_MS - performance.now();
    this.#timers.push(setTimeout(() => this.#next(), Math.max(0, left)));
    return undefined;
  }

  #next() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#current = this.#waiting.shift() ?? null;
    if (!this.#current) return this.#showRest();
    const { call, what, who, kit, close, stand } = this.#at;
    const { kind, line, wall, team } = this.#current;
    this.#calledAt = performance.now();
    const stay = this.#waiting.length > 0 ? CALL_MIN_MS : CALL_MS;
    call.dataset.kind = kind;
    stand.dataset.call = kind;
    dress(stand, team);
    dress(kit, team);
    kit.hidden = false;
    close.hidden = false;
    what.textContent = this.#current.what;
    who.textContent = `${line}  ·  ${this.#current.who}`;
    const shouted = kind === 'goal' ? ['GOAL!'] : ['NO GOAL', 'VAR'];
    this.#wall.show(shouted, { inverse: kind === 'goal', repeat: true });
    this.#timers = [
      setTimeout(() => this.#wall.show([wall], { inverse: false }), stay * 0.45),
      setTimeout(() => this.#next(), stay),
    ];
    return undefined;
  }

  #showRest() {
    const { call, what, who, kit, close, stand } = this.#at;
    call.dataset.kind = 'idle';
    delete stand.dataset.call;
    kit.hidden = true;
    close.hidden = true;
    what.textContent = '';
    who.textContent = this.#idleText;
    this.#wall.show(this.#idle);
  }
}
