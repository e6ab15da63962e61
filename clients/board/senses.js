/**
 * What sensors say of the matches: the latest value of each kind, and how fresh it is. Pure: no DOM,
 * no clock.
 *
 * A value belongs to the match of its teams. It ages from when it came: clocks of devices are not
 * trusted. What has not been said again for a while is shown as old, then forgotten.
 * @module
 */

/** The server says again what doesn't change well within this time. */
const OLD_MS = 12_000;
const FORGOTTEN_MS = 60_000;
const KINDS_MAX = 8;
const MATCHES_MAX = 200;

const NAMES = { wind: 'Wind', noise: 'Crowd', ball: 'Ball', possession: 'Possession' };
const ORDER = Object.keys(NAMES);
/** Where there is a level to draw: its least and its most. */
const LEVELS = { noise: [50, 115] };

const text = (value, max) => (typeof value === 'string' ? value.slice(0, max) : '');
const figure = (value) =>
  typeof value === 'number' && Number.isFinite(value) ? String(Math.round(value * 10) / 10) : '';

/** What a value reads like: `96 dB`, `55–45 %`; nothing where it is no figure. */
export function say(data) {
  const unit = text(data?.unit, 12);
  const said =
    figure(data?.home) && figure(data?.away)
      ? `${figure(data.home)}–${figure(data.away)}`
      : figure(data?.value);
  return said && unit ? `${said} ${unit}` : said;
}

const teamsKey = (teams) => [...teams].sort().join('+');
const place = ({ kind }) => (ORDER.indexOf(kind) + ORDER.length + 1) % (ORDER.length + 1);

export class Senses {
  /** Teams of a match -> kind -> value. */
  #matches = new Map();

  /** Takes an event of the stream `sensor` at `nowMs`. */
  take(event, nowMs) {
    const said = say(event.data);
    const kind = text(event.type, 32);
    if (!said || !kind || !Array.isArray(event.teams)) return;
    const key = teamsKey(event.teams);
    const values = this.#matches.get(key) ?? new Map();
    if (!values.has(kind) && values.size === KINDS_MAX) return;
    const [least, most] = Object.hasOwn(LEVELS, kind) ? LEVELS[kind] : [0, 0];
    const level = most > least ? (event.data.value - least) / (most - least) : null;
    values.set(kind, {
      kind,
      name: Object.hasOwn(NAMES, kind) ? NAMES[kind] : kind,
      said,
      level: level === null ? null : Math.min(Math.max(level, 0), 1),
      atMs: nowMs,
    });
    this.#matches.delete(key);
    this.#matches.set(key, values);
    if (this.#matches.size > MATCHES_MAX)
      this.#matches.delete(this.#matches.keys().next().value);
  }

  /** The values of a match at `nowMs`, in a fixed order: `{kind, name, said, level, old}`. */
  of({ home, away }, nowMs) {
    const values = this.#matches.get(teamsKey([home, away])) ?? new Map();
    const fresh = [...values.values()].filter(({ atMs }) => nowMs - atMs < FORGOTTEN_MS);
    return fresh
      .map(({ atMs, ...value }) => ({ ...value, old: nowMs - atMs > OLD_MS }))
      .sort((one, other) => place(one) - place(other));
  }
}
