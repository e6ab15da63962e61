/**
 * The matches as cards: minute, teams, the score in flip-dots, a line of ninety minutes, scorers.
 *
 * A card is built once for each match and then only told what changed, so that nothing flickers,
 * focus stays, and discs turn over instead of being replaced. What a card says, it says as text for
 * whoever can't see it.
 * @module
 */

import { Digit } from './dots.js';
import { dress } from './kit.js';
import { minuteText, noteText } from './model.js';

const FLASH_MS = 8_000;
const LINE_MINUTES = 96;

const make = (tag, name, content = '') => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = content;
  return element;
};

const STATUS_TEXT = {
  scheduled: 'To come',
  live: 'Live',
  half_time: 'Half time',
  full_time: 'Full time',
};

/** Where a minute lies on the line. */
const along = ({ minute }) => `${(Math.min(minute, LINE_MINUTES) / LINE_MINUTES) * 100}%`;

class TeamRow {
  constructor(match, side) {
    this.team = match[side];
    this.element = make('div', 'row');
    this.element.dataset.side = side;
    const swatch = make('span', 'kit');
    dress(swatch, this.team);
    this.name = make('span', 'name', match[`${side}Name`]);
    this.cards = make('span', 'bookings');
    this.score = make('span', 'figure');
    this.digits = [new Digit(), new Digit()];
    this.said = make('span', 'hidden');
    this.score.append(...this.digits.map(({ element }) => element), this.said);
    this.element.append(swatch, this.name, this.cards, this.score);
  }

  update(goals, cards) {
    const figures = String(goals).padStart(2, ' ');
    this.digits[0].element.toggleAttribute('data-blank', figures[0] === ' ');
    this.digits.forEach((digit, index) => digit.show(figures[index]));
    this.said.textContent = String(goals);
    const ours = cards.filter(({ team }) => team === this.team);
    if (this.booked !== ours.length) this.#book(ours);
    this.booked = ours.length;
  }

  #book(cards) {
    const count = (red) => cards.filter((card) => card.red === red).length;
    const [yellow, red] = [count(false), count(true)];
    const shown = Object.entries({ yellow, red })
      .filter(([, number]) => number > 0)
      .flatMap(([colour, number]) => [make('i', colour), make('b', '', number > 1 ? number : '')]);
    for (const element of shown) element.setAttribute('aria-hidden', 'true');
    const words = make('span', 'hidden', `${yellow} yellow, ${red} red cards`);
    this.cards.replaceChildren(...(cards.length > 0 ? [...shown, words] : []));
  }
}

function senseCell(list) {
  const cell = make('div', 'sense');
  cell.append(make('dt'), make('dd'));
  list.append(cell);
  return cell;
}

let cardsMade = 0;

class Card {
  #timer = null;

  constructor(match) {
    cardsMade += 1;
    this.element = make('li', 'card');
    this.element.dataset.match = match.id;
    const article = make('article');
    this.title = make('h3', 'hidden', `${match.homeName} against ${match.awayName}`);
    this.title.id = `match-${cardsMade}`;
    article.setAttribute('aria-labelledby', this.title.id);
    const head = make('p', 'head');
    this.clock = make('span', 'clock');
    this.status = make('span', 'state');
    this.tag = make('span', 'tag');
    this.tag.hidden = true;
    head.append(this.clock, this.status, this.tag, make('span', 'ground', match.ground));
    this.rows = { home: new TeamRow(match, 'home'), away: new TeamRow(match, 'away') };
    this.line = make('div', 'line');
    this.line.setAttribute('aria-hidden', 'true');
    this.played = make('i', 'played');
    this.senses = make('dl', 'senses');
    this.scorers = make('ul', 'scorers');
    this.scorers.setAttribute('aria-label', 'Scorers');
    article.append(
      this.title,
      head,
      this.rows.home.element,
      this.rows.away.element,
      this.line,
      this.scorers,
      this.senses,
    );
    this.element.append(article);
    this.sense([]);
  }

  /** What sensors say, as `Senses` tells it. */
  sense(values) {
    this.senses.hidden = values.length === 0;
    while (this.senses.children.length > values.length) this.senses.lastElementChild.remove();
    values.forEach(({ kind, name, said, level, old }, index) => {
      const cell = this.senses.children[index] ?? senseCell(this.senses);
      cell.dataset.kind = kind;
      cell.toggleAttribute('data-old', old);
      cell.children[0].textContent = name;
      const shown = old ? `${said}, old` : said;
      if (cell.children[1].textContent !== shown) cell.children[1].textContent = shown;
      cell.style.setProperty('--level', String(level ?? 0));
    });
  }

  update(match, clock) {
    this.element.dataset.status = match.status;
    this.tick(match, clock);
    this.status.textContent = STATUS_TEXT[match.status];
    this.rows.home.update(match.score.home, match.cards);
    this.rows.away.update(match.score.away, match.cards);
    this.#markGoals(match);
    this.#listScorers(match);
  }

  /** The minute runs between two events. */
  tick(match, clock) {
    this.clock.textContent = match.status === 'live' ? minuteText(clock) : '';
    const played = match.status === 'full_time' ? { minute: LINE_MINUTES } : clock;
    this.played.style.setProperty('inline-size', along(played));
  }

  /** Lights the row of a side for a while: `goal`, or `var` when one was taken back. */
  flash(side, kind) {
    clearTimeout(this.#timer);
    this.calm();
    this.element.dataset.flash = kind;
    this.rows[side].element.dataset.flash = kind;
    this.tag.textContent = kind === 'goal' ? 'Goal' : 'No goal';
    this.tag.hidden = false;
    dress(this.element, this.rows[side].team);
    this.#timer = setTimeout(() => this.calm(), FLASH_MS);
  }

  calm() {
    delete this.element.dataset.flash;
    this.tag.hidden = true;
    for (const { element } of Object.values(this.rows)) delete element.dataset.flash;
  }

  #markGoals(match) {
    const marks = match.scorers.map((goal) => {
      const mark = make('i', 'goal kit');
      mark.dataset.side = goal.team === match.home ? 'home' : 'away';
      mark.style.setProperty('inset-inline-start', along(goal));
      dress(mark, goal.team);
      return mark;
    });
    this.line.replaceChildren(this.played, make('i', 'half'), ...marks);
  }

  #listScorers(match) {
    const shown = match.scorers.map((goal) => {
      const note = noteText(goal.note, true);
      const name = make('span', '', `${goal.player || 'Goal'}${note && ` (${note})`}`);
      const entry = make('li');
      entry.dataset.side = goal.team === match.home ? 'home' : 'away';
      entry.append(name, ' ', make('b', '', minuteText(goal)));
      return entry;
    });
    this.scorers.hidden = shown.length === 0;
    this.scorers.replaceChildren(...shown);
  }
}

export class Scoreboard {
  #list;
  #empty;
  #clockOf;
  #sensesOf;
  #cards = new Map();

  /**
   * `clockOf(match)` gives minute and stoppage as they should be by now, `sensesOf(match)` what
   * sensors say.
   */
  constructor(list, empty, clockOf, sensesOf) {
    this.#list = list;
    this.#empty = empty;
    this.#clockOf = clockOf;
    this.#sensesOf = sensesOf;
  }

  /** Shows these matches in this order; `why` is said when there are none. */
  render(matches, why) {
    const cards = matches.map((match) => {
      if (!this.#cards.has(match.id)) this.#cards.set(match.id, new Card(match));
      const card = this.#cards.get(match.id);
      card.update(match, this.#clockOf(match));
      return card;
    });
    const wanted = cards.map(({ element }) => element);
    const same =
      wanted.length === this.#list.children.length &&
      wanted.every((element, index) => this.#list.children[index] === element);
    if (!same) this.#list.replaceChildren(...wanted);
    this.#empty.hidden = matches.length > 0;
    this.#empty.textContent = why;
  }

  /** Lets the minutes run. */
  tick(matches) {
    for (const match of matches) this.#cards.get(match.id)?.tick(match, this.#clockOf(match));
  }

  /** Shows what sensors say by now. */
  sense(matches) {
    for (const match of matches) this.#cards.get(match.id)?.sense(this.#sensesOf(match));
  }

  flash(match, side, kind) {
    this.#cards.get(match.id)?.flash(side, kind);
  }

  /** Forgets cards of another day. */
  keep(ids) {
    for (const id of this.#cards.keys()) {
      if (!ids.has(id)) this.#cards.delete(id);
    }
  }
}
