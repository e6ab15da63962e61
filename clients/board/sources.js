/**
 * The sources and how each does: fresh, resting (another node asks it), silent, stale or failing,
 * since when, how much comes of it.
 *
 * The server names them worst first. Here each keeps its place by kind and name, so that the list
 * doesn't jump; the figure above the matches says how many are well. Each kind has a head of its
 * own. State is told by word, colour and shape.
 * @module
 */

import { Cell, short } from './panel.js';
import { plain } from './words.js';

const SOURCES_MAX = 32;
const KINDS = { broadcast: 'webhooks', social: 'posts', sensor: 'sensors' };
const STATES = { fresh: 'fresh', resting: 'resting', silent: 'silent', stale: 'stale', failing: 'failing' };
const BREAKERS = { open: 'paused', half_open: 'trying' };

/** A time in few letters: `0.4 s`, `48 s`, `5 min`, `3 h`; a dash where nothing was heard. */
export function age(ms) {
  if (!Number.isFinite(ms)) return '–';
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 6_000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

/** What is shown of a source as `/v1/live` tells of it. */
export function readSource(raw) {
  const state = Object.hasOwn(STATES, raw?.state) ? raw.state : 'silent';
  const breaker = Object.hasOwn(BREAKERS, raw?.breaker) ? BREAKERS[raw.breaker] : '';
  return {
    name: plain(raw?.name, 64),
    kind: Object.hasOwn(KINDS, raw?.kind) ? KINDS[raw.kind] : '',
    state,
    said: breaker ? `${STATES[state]}, ${breaker}` : STATES[state],
    age: age(typeof raw?.staleness_ms === 'number' ? raw.staleness_ms : NaN),
    rate: `${short(typeof raw?.events_per_s === 'number' ? raw.events_per_s : NaN)}/s`,
  };
}

const make = (tag, name) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  return element;
};

class Row {
  constructor() {
    this.element = make('li', 'source');
    this.mark = make('i', '');
    this.mark.setAttribute('aria-hidden', 'true');
    this.parts = {
      name: make('b', 'name'),
      kind: make('span', 'kind'),
      said: make('span', 'state'),
      age: make('span', 'age'),
      rate: make('span', 'rate'),
    };
    this.element.append(this.mark, ...Object.values(this.parts).flatMap((part) => [part, ' ']));
  }

  show(source) {
    this.element.dataset.state = source.state;
    for (const [name, part] of Object.entries(this.parts)) {
      if (part.textContent !== source[name]) part.textContent = source[name];
    }
  }
}

/** What stands above the sources of a kind. */
function head(kind) {
  const element = make('li', 'sort');
  for (const [name, words] of [
    ['name', kind],
    ['age', 'heard'],
    ['rate', 'events'],
  ]) {
    const part = make('span', name);
    part.textContent = words;
    element.append(part, ' ');
  }
  return element;
}

export class Sources {
  #at;
  #rows = new Map();
  #heads = new Map();

  /** `elements`: section, list, note, and the panel that gets the figure. */
  constructor(elements) {
    this.#at = elements;
    this.cell = new Cell('sources', 'Sources');
    elements.panel.append(this.cell.element);
  }

  /** Shows what `/v1/live` says. A server that says nothing of sources has no such list. */
  read({ sources, sources_total: total }) {
    const told = Array.isArray(sources) ? sources.slice(0, SOURCES_MAX).map(readSource) : [];
    this.#at.section.hidden = told.length === 0;
    const inOrder = (one, other) =>
      one.kind.localeCompare(other.kind) ||
      one.name.localeCompare(other.name, 'en', { numeric: true });
    const kept = new Set();
    const elements = [];
    for (const source of [...told].sort(inOrder)) {
      const { kind } = source;
      if (!this.#heads.has(kind)) this.#heads.set(kind, head(kind));
      if (!elements.includes(this.#heads.get(kind))) elements.push(this.#heads.get(kind));
      const key = `${kind} ${source.name}`;
      if (!this.#rows.has(key)) this.#rows.set(key, new Row());
      this.#rows.get(key).show(source);
      elements.push(this.#rows.get(key).element);
      kept.add(key);
    }
    const { list, note } = this.#at;
    const same =
      elements.length === list.children.length &&
      elements.every((element, index) => list.children[index] === element);
    if (!same) list.replaceChildren(...elements);
    for (const key of this.#rows.keys()) if (!kept.has(key)) this.#rows.delete(key);
    const all = Number.isInteger(total) && total >= told.length ? total : told.length;
    note.textContent = all > told.length ? `${all - told.length} more are fresh or better off.` : '';
    this.#sum(told, all);
  }

  #sum(told, all) {
    const ill = told.filter(({ state }) => state === 'failing' || state === 'stale').length;
    const failing = told.some(({ state }) => state === 'failing');
    const tone = ill === 0 ? 'fresh' : failing ? 'failing' : 'stale';
    this.cell.show(all === 0 ? '–' : `${all - ill}/${all}`, 'well', tone);
  }

  /** Nobody answers: states of before would be lies. */
  clear() {
    this.#at.section.hidden = true;
    this.cell.show('–', 'well', '');
  }
}
