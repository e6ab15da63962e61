/**
 * The instruments: what the appliance does right now, each with the last minute as a line.
 *
 * Figures come with `/v1/live`. The age of the last event is the one figure that runs by itself
 * between two polls.
 * @module
 */

const SVG = 'http://www.w3.org/2000/svg';
const POINTS = 60;

const INSTRUMENTS = [
  ['sockets', 'Sockets', ''],
  ['events_per_s', 'Events', '/s'],
  ['deliveries_per_s', 'Deliveries', '/s'],
  ['p99_ms', 'Delivery p99', 'ms'],
  ['spread_ms', 'First to last', 'ms'],
  ['last_event_age_ms', 'Last event', 's ago'],
];

/** A figure in at most four characters or so: `12.4k`, `0.8`, `37`. */
export function short(value) {
  if (!Number.isFinite(value)) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 1e5) return `${Math.round(value / 1e3)}k`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
  return value >= 20 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

/** A figure among the instruments whose `state` shows in its colour; it draws no line. */
export class Cell {
  constructor(name, title) {
    const term = document.createElement('dt');
    term.textContent = title;
    const value = document.createElement('dd');
    this.figure = document.createElement('b');
    this.rest = document.createTextNode('');
    value.append(this.figure, this.rest);
    this.element = document.createElement('div');
    this.element.dataset.figure = name;
    this.element.append(term, value);
    this.show('–', '', '');
  }

  /** `figure` in large letters, what follows it, and `fresh`, `stale`, `failing` or nothing. */
  show(figure, rest, state) {
    this.figure.textContent = figure;
    this.rest.data = rest && ` ${rest}`;
    this.element.dataset.state = state;
  }
}

class Instrument {
  #points = [];

  constructor(name, title, unit) {
    this.name = name;
    const term = document.createElement('dt');
    const value = document.createElement('dd');
    term.textContent = title;
    this.figure = document.createElement('b');
    this.figure.textContent = '–';
    value.append(this.figure, ` ${unit}`);
    const chart = document.createElementNS(SVG, 'svg');
    chart.setAttribute('viewBox', `0 0 ${POINTS - 1} 20`);
    chart.setAttribute('preserveAspectRatio', 'none');
    chart.setAttribute('aria-hidden', 'true');
    this.path = document.createElementNS(SVG, 'path');
    chart.append(this.path);
    this.element = document.createElement('div');
    this.element.dataset.figure = name;
    this.element.append(term, value, chart);
  }

  show(value) {
    this.figure.textContent = short(value);
  }

  plot(value) {
    if (!Number.isFinite(value)) return;
    this.#points = [...this.#points, value].slice(-POINTS);
    const top = Math.max(...this.#points, 1e-9);
    const steps = this.#points.map((point, index) => {
      const x = POINTS - this.#points.length + index;
      return `${x} ${(19 - (point / top) * 17).toFixed(1)}`;
    });
    this.path.setAttribute('d', `M${steps.join('L')}`);
  }
}

export class Panel {
  #instruments;
  #ageMs = NaN;
  #readAt = 0;

  constructor(list) {
    this.#instruments = INSTRUMENTS.map((row) => new Instrument(...row));
    list.replaceChildren(...this.#instruments.map(({ element }) => element));
  }

  /** Shows a reading taken at `now` (ms). */
  read(panel, now) {
    for (const instrument of this.#instruments) {
      const value = panel?.[instrument.name];
      const figure = typeof value === 'number' ? value : NaN;
      if (instrument.name === 'last_event_age_ms') {
        this.#ageMs = figure;
        this.#readAt = now;
        instrument.plot(figure / 1_000);
      } else {
        instrument.show(figure);
        instrument.plot(figure);
      }
    }
    this.tick(now);
  }

  /** An event has just arrived. */
  touch(now) {
    this.#ageMs = 0;
    this.#readAt = now;
    this.tick(now);
  }

  /** Lets the age of the last event run. */
  tick(now) {
    this.#instruments.at(-1).show((this.#ageMs + now - this.#readAt) / 1_000);
  }

  /** Nobody answers: figures of before would be lies. */
  clear() {
    this.#ageMs = NaN;
    for (const instrument of this.#instruments) instrument.show(NaN);
  }
}
