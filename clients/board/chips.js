/**
 * Choosing teams: a row of toggles, one stop of the tab key, walked with the arrow keys; a search
 * narrows it.
 *
 * Nothing chosen means all teams of the day. The choice is kept in localStorage, so it outlives the
 * tab; a storage that is forbidden costs that and nothing else.
 * @module
 */

import { dress } from './kit.js';

const KEY = 'touchline.teams';
/** As many as the sessions of sessions.js can follow together. */
const CHOSEN_MAX = 100;

export class Chips extends EventTarget {
  #bar;
  #search;
  #all;
  #note;
  #chosen;
  #buttons = new Map();
  #current = null;

  constructor({ bar, search, all, note }) {
    super();
    this.#bar = bar;
    this.#search = search;
    this.#all = all;
    this.#note = note;
    this.#chosen = new Set(load());
    bar.addEventListener('keydown', (event) => this.#walk(event));
    bar.addEventListener('click', ({ target }) => this.#toggle(target.closest('button')));
    search.addEventListener('input', () => this.#narrow());
    search.addEventListener('keydown', (event) => this.#pick(event));
    all.addEventListener('click', () => this.#clear());
  }

  /** Chosen teams; empty for all. */
  get chosen() {
    return this.#chosen;
  }

  /** Whether an event or match of these teams is to be shown. */
  wants(teams) {
    return this.#chosen.size === 0 || teams.some((team) => this.#chosen.has(team));
  }

  /**
   * Offers these teams: `[[id, name]]`. Chosen teams that don't play today stay chosen, and can be
   * dropped.
   */
  offer(teams) {
    const offered = new Map(teams);
    for (const team of this.#chosen) if (!offered.has(team)) offered.set(team, team);
    const sorted = [...offered].sort(([, one], [, other]) => one.localeCompare(other));
    const same =
      sorted.length === this.#buttons.size &&
      sorted.every(([id, name]) => this.#buttons.get(id)?.dataset.name === name);
    if (!same) this.#build(sorted);
    this.#say();
  }

  #build(teams) {
    this.#buttons = new Map(
      teams.map(([id, name]) => {
        const button = document.createElement('button');
        const swatch = document.createElement('span');
        swatch.className = 'kit';
        dress(swatch, id);
        Object.assign(button, { type: 'button', className: 'chip', tabIndex: -1 });
        Object.assign(button.dataset, { team: id, name });
        button.append(swatch, name);
        return [id, button];
      }),
    );
    this.#bar.replaceChildren(...this.#buttons.values());
    this.#narrow();
  }

  #toggle(button) {
    const team = button?.dataset.team;
    if (!team) return;
    if (!this.#chosen.delete(team) && this.#chosen.size < CHOSEN_MAX) this.#chosen.add(team);
    this.#focusable(button);
    this.#changed();
  }

  #clear() {
    this.#chosen.clear();
    this.#search.value = '';
    this.#narrow();
    this.#changed();
    this.#search.focus();
  }

  #changed() {
    save([...this.#chosen]);
    this.#say();
    this.dispatchEvent(new Event('change'));
  }

  #say() {
    for (const [team, button] of this.#buttons) {
      button.setAttribute('aria-pressed', String(this.#chosen.has(team)));
    }
    this.#all.disabled = this.#chosen.size === 0;
    const { size } = this.#chosen;
    const said = size === 1 ? '1 team' : `${size} teams`;
    this.#note.textContent =
      size === 0
        ? 'You follow every team of the day. Choose some to see only theirs.'
        : `You follow ${said}; matches and events of others are hidden.`;
  }

  #visible() {
    return [...this.#buttons.values()].filter((button) => !button.hidden);
  }

  #narrow() {
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    for (const [team, button] of this.#buttons) {
      button.hidden = !`${button.dataset.name} ${team}`.toLocaleLowerCase().includes(wanted);
    }
    const visible = this.#visible();
    this.#focusable(visible.includes(this.#current) ? this.#current : visible[0]);
  }

  /** One button at a time is a stop of the tab key. */
  #focusable(button) {
    if (this.#current) this.#current.tabIndex = -1;
    this.#current = button ?? null;
    if (button) button.tabIndex = 0;
  }

  #walk(event) {
    const visible = this.#visible();
    const at = visible.indexOf(event.target.closest('button'));
    const to = {
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      Home: 0,
      End: visible.length - 1,
    }[event.key];
    if (to === undefined || visible.length === 0) return;
    event.preventDefault();
    const next = visible[(to + visible.length) % visible.length];
    this.#focusable(next);
    next.focus();
  }

  /** Enter in the search toggles the only team that is left; Escape empties it. */
  #pick(event) {
    if (event.key === 'Enter' && this.#visible().length === 1) this.#toggle(this.#visible()[0]);
    if (event.key !== 'Escape') return;
    this.#search.value = '';
    this.#narrow();
  }
}

function load() {
  try {
    const teams = JSON.parse(localStorage.getItem(KEY)) ?? [];
    return teams.filter((team) => /^[a-z0-9_-]{1,32}$/.test(team)).slice(0, CHOSEN_MAX);
  } catch {
    return [];
  }
}

function save(teams) {
  try {
    localStorage.setItem(KEY, JSON.stringify(teams));
  } catch {
    // The choice then lasts as long as the page.
  }
}
