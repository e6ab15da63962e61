/**
 * One or more Touchline sessions that together follow a set of teams, seen as one.
 *
 * How many teams a session may follow the server says in its `hello`; until then it is taken for
 * the default, 20. A day of ten matches fits one such session; for more teams, or a server that
 * allows fewer, teams are dealt to several sessions so that both teams of a match share one, and no
 * event comes by two ways. Each session resumes by itself; what the page shows is the worst of
 * their states.
 * @module
 */

import { Touchline } from './touchline.js';

/** The server's default. */
export const TEAMS_PER_SESSION = 20;
/** Connections of one page. */
export const SESSIONS_MAX = 5;
/** What a page follows: all there is. */
export const STREAMS = ['broadcast', 'update', 'social', 'sensor'];

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
  #teamsMax = TEAMS_PER_SESSION;
  #matches = [];
  #url = null;
  #create;

  /** @param create makes a client of `{url, teams, position}`; for tests. */
  constructor(create = (options) => new Touchline({ ...options, streams: STREAMS })) {
    super();
    this.#create = create;
  }

  /**
   * Ends what was followed before, and follows `parts`: `[{teams, position}]`. A part of more teams
   * than a session may follow is dealt to several, which all begin at its position; `matches` says
   * which teams belong together.
   */
  follow(url, parts, matches) {
    this.close();
    this.#url = url;
    this.#matches = [...matches];
    const hands = parts.flatMap(({ teams, position }) =>
      deal(teams, this.#matches, this.#teamsMax).map((hand) => ({ teams: hand, position })),
    );
    this.#clients = hands
      .slice(0, SESSIONS_MAX)
      .map(({ teams, position }) => this.#create({ url, teams, position }));
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

  /**
   * Deals anew when the server allows fewer teams than were dealt: what one session had is shared
   * out from where it stood, so nothing is missed. When it allows more, `room` says that a fresh
   * start would need fewer sessions. The least that any of them was told counts, since nodes may
   * differ.
   */
  #heed() {
    const told = this.#clients.map(({ hello }) => Math.trunc(hello?.limits?.teams));
    const heard = told.filter((teams) => teams >= 1);
    const least = Math.min(...heard);
    const grown = least > this.#teamsMax && heard.length === told.length;
    if (!grown && !(least < this.#teamsMax)) return;
    this.#teamsMax = least;
    if (this.#clients.some(({ teams }) => teams.length > least)) {
      this.follow(this.#url, this.parts, this.#matches);
    } else if (grown && this.#clients.length > 1) {
      this.dispatchEvent(new Told('room', { teams: least }));
    }
  }

  #join(client) {
    client.addEventListener('hello', () => {
      if (this.#clients.includes(client)) this.#heed();
    });
    for (const type of ['event', 'gap', 'status', 'error', 'state']) {
      client.addEventListener(type, ({ detail }) => {
        if (this.#clients.includes(client)) this.dispatchEvent(new Told(type, detail));
      });
    }
  }
}
