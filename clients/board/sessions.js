/**
 * One or more Touchline sessions that together follow a set of teams, seen as one.
 *
 * A session may follow 20 teams. A day of ten matches fits one; for more, teams are dealt to
 * several sessions so that both teams of a match share one, and no event comes by two ways. Each
 * session resumes by itself; what the page shows is the worst of their states.
 * @module
 */

import { Touchline } from './touchline.js';

export const TEAMS_PER_SESSION = 20;
export const SESSIONS_MAX = 5;

const WORST_FIRST = ['closed', 'offline', 'waiting', 'connecting', 'idle', 'live'];

/**
 * Deals teams to sessions: teams that meet in a match stay together; whoever doesn't fit
 * `SESSIONS_MAX` is left out.
 */
export function deal(teams, matches, size = TEAMS_PER_SESSION) {
  const wanted = new Set(teams);
  const groups = new Map([...wanted].map((team) => [team, new Set([team])]));
  for (const { home, away } of matches) {
    if (!wanted.has(home) || !wanted.has(away) || groups.get(home) === groups.get(away)) continue;
    const joined = new Set([...groups.get(home), ...groups.get(away)]);
    for (const team of joined) groups.set(team, joined);
  }
  const hands = [];
  for (const group of new Set(groups.values())) {
    for (let start = 0; start < group.size; start += size) {
      const part = [...group].slice(start, start + size);
      const hand = hands.find((other) => other.length + part.length <= size);
      if (hand) hand.push(...part);
      else hands.push(part);
    }
  }
  return hands.slice(0, SESSIONS_MAX);
}

class Told extends Event {
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

export class Sessions extends EventTarget {
  #clients = [];

  /** Ends what was followed before, and follows `parts`: `[{teams, position}]`. */
  follow(url, parts) {
    this.close();
    this.#clients = parts.map(({ teams, position }) => new Touchline({ url, teams, position }));
    for (const client of this.#clients) this.#join(client);
    for (const client of this.#clients) client.connect();
  }

  close() {
    const clients = this.#clients;
    this.#clients = [];
    for (const client of clients) client.close();
  }

  /** The worst state of all sessions. */
  get state() {
    return (
      WORST_FIRST.find((state) => this.#clients.some((client) => client.state === state)) ?? 'idle'
    );
  }

  /** What to hand to `follow` to go on from here. */
  get parts() {
    return this.#clients.map(({ teams, position }) => ({ teams, position }));
  }

  /** Repeats that the clients have dropped: none, by the rules. */
  get repeated() {
    return this.#clients.reduce((sum, { stats }) => sum + stats.repeated, 0);
  }

  retryNow() {
    for (const client of this.#clients) client.retryNow();
  }

  #join(client) {
    for (const type of ['event', 'gap', 'status', 'error', 'state']) {
      client.addEventListener(type, ({ detail }) => {
        if (this.#clients.includes(client)) this.dispatchEvent(new Told(type, detail));
      });
    }
  }
}
