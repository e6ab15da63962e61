/**
 * The feed: what happened, newest first, each event in one line of words.
 *
 * Entries are made once and kept by their event, so a screen reader that listens to the log hears
 * an event once. Words come from `describe`, which is pure; everything a source wrote ends up as
 * text content.
 * @module
 */

import { dress } from './kit.js';
import { minuteText, noteText } from './model.js';
import { plain } from './words.js';

const KINDS = {
  'match.scheduled': ['clock', 'Coming up'],
  'match.kickoff': ['whistle', 'Kick-off'],
  goal: ['goal', 'Goal'],
  'card.yellow': ['yellow', 'Yellow card'],
  'card.red': ['red', 'Red card'],
  substitution: ['swap', 'Substitution'],
  'var.overturned': ['var', 'Goal overturned'],
  'match.half_time': ['clock', 'Half time'],
  'match.second_half': ['whistle', 'Second half'],
  'match.full_time': ['whistle', 'Full time'],
};

const text = (value) => (typeof value === 'string' ? value.slice(0, 80) : '');

const minute = (value) => (Number.isInteger(value) && value >= 0 && value <= 200 ? value : null);
const figure = (value) => minute(value) ?? '?';

/** What an event says, in parts: `{mark, what, who, where, minute, team}`. */
export function describe(event, nameOf) {
  const data = event.data ?? {};
  const [mark, what] = Object.hasOwn(KINDS, event.type)
    ? KINDS[event.type]
    : ['clock', plain(event.type)];
  const home = plain(data.home_name) || nameOf(text(data.home));
  const away = plain(data.away_name) || nameOf(text(data.away));
  const goals = data.score ? `${figure(data.score.home)}–${figure(data.score.away)}` : 'v';
  const note = noteText(data.note) && `, ${noteText(data.note)}`;
  const swap = data.player_in
    ? `${plain(data.player_in)} for ${plain(data.player)}`
    : plain(data.player);
  return {
    mark,
    what,
    who: swap ? `${swap}${note}` : '',
    where: home && away ? `${home} ${goals} ${away}` : (event.teams ?? []).map(nameOf).join(', '),
    minute: minuteText({ minute: minute(data.minute), stoppage: minute(data.stoppage) }),
    team: text(data.team),
  };
}

export class Feed {
  #list;
  #empty;
  #nameOf;
  #entries = new Map();

  constructor(list, empty, nameOf) {
    this.#list = list;
    this.#empty = empty;
    this.#nameOf = nameOf;
  }

  /** Shows these items (of the model's feed), newest first. */
  render(items) {
    const wanted = items.map((item) => this.#entry(item));
    const kept = new Set(wanted);
    for (const element of [...this.#list.children]) {
      if (!kept.has(element)) element.remove();
    }
    let place = this.#list.firstElementChild;
    for (const element of wanted) {
      if (element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(element, place);
    }
    this.#empty.hidden = items.length > 0;
    this.#list.hidden = items.length === 0;
    const known = new Set(items);
    for (const item of this.#entries.keys()) {
      if (!known.has(item)) this.#entries.delete(item);
    }
  }

  #entry(item) {
    if (!this.#entries.has(item)) this.#entries.set(item, this.#make(item));
    const element = this.#entries.get(item);
    if (item.overturned && !element.dataset.overturned) {
      element.dataset.overturned = 'yes';
      const note = document.createElement('em');
      note.textContent = 'taken back';
      element.querySelector('.what').append(' ', note);
    }
    return element;
  }

  #make({ event }) {
    const said = describe(event, this.#nameOf);
    const part = (tag, name, content) => {
      const element = document.createElement(tag);
      element.className = name;
      element.textContent = content;
      return element;
    };
    const element = part('li', 'entry', '');
    element.dataset.mark = said.mark;
    element.dataset.event = `${event.source} ${event.id}`;
    const sign = part('span', 'sign', said.mark === 'var' ? 'VAR' : '');
    sign.setAttribute('aria-hidden', 'true');
    const what = part('p', 'what', '');
    const title = part('strong', '', said.what);
    what.append(title, ' ', part('span', 'who', said.who));
    const where = part('p', 'where', said.where);
    if (said.team) {
      const swatch = part('span', 'kit', '');
      dress(swatch, said.team);
      where.prepend(swatch);
    }
    element.append(part('span', 'minute', said.minute), sign, what, where);
    return element;
  }
}
