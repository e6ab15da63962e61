/**
 * The match day as this page knows it: a snapshot of `/v1/live`, and every event since. Pure: no
 * DOM, no clock.
 *
 * A match is what its events say; the score in an event is authoritative. Nothing from outside is
 * trusted here: texts are cut to a length, numbers to a range, and the views show them as text
 * only.
 *
 * # Invariants
 * - An event changes the matches once, however often it is handed in (a snapshot and the stream
 *   may overlap). A snapshot that is older than what the stream has brought takes the matches back
 *   to its own mark; what the stream then brings again changes them again.
 * - An event is told once, in the feed and as a goal, whatever the matches are taken back to.
 * - `feed` is newest first and bounded; so is what is remembered of events.
 * @module
 */

import { Pace } from './clock.js';
import { plain } from './words.js';

const FEED_MAX = 200;
const SEEN_MAX = 5_000;
const MATCHES_MAX = 200;
const SCORERS_MAX = 60;

const text = (value, fallback = '') => (typeof value === 'string' ? value.slice(0, 80) : fallback);
const count = (value, max) => {
  const number = Math.trunc(Number(value));
  return Number.isFinite(number) ? Math.min(Math.max(number, 0), max) : 0;
};
const score = (value) => ({ home: count(value?.home, 99), away: count(value?.away, 99) });

const STATUSES = ['scheduled', 'live', 'half_time', 'full_time'];

/** `45+2′`, or nothing where no minute was given. */
export function minuteText({ minute, stoppage }) {
  if (!minute && minute !== 0) return '';
  return stoppage > 0 ? `${minute}+${stoppage}′` : `${minute}′`;
}

const NOTES = { penalty: ['penalty', 'pen.'], own_goal: ['own goal', 'o.g.'] };

/** What is worth saying of how a goal came about, or nothing; `short` where there is little room. */
export function noteText(note, short = false) {
  return Object.hasOwn(NOTES, note) ? NOTES[note][short ? 1 : 0] : '';
}

export class MatchDay {
  /** Events that the matches contain: those of the last snapshot, and what came after it. */
  #applied = new Set();
  /** Events that were told. */
  #told = new Set();
  #pace = new Pace();

  constructor() {
    this.matches = new Map();
    this.teams = new Map();
    this.feed = [];
  }

  /**
   * Replaces all matches by a snapshot; its latest events fill holes of the feed. The snapshot may
   * be older than what `apply` was given: follow the stream from its mark.
   */
  rebase(live) {
    this.matches = new Map();
    this.#applied = new Set();
    for (const event of live.events ?? []) remember(this.#applied, event);
    for (const match of (live.matches ?? []).slice(0, MATCHES_MAX)) this.#put(match);
    for (const { id, name } of live.teams ?? [])
      this.teams.set(text(id), plain(name) || text(id));
    // They come oldest first. Sorting is stable: what has one time stays in the order of the log.
    const fresh = (live.events ?? []).filter((event) => remember(this.#told, event));
    for (const event of fresh) this.#tell(event);
    this.feed.sort((one, other) => byTime(other.event, one.event));
  }

  /**
   * Takes an event of the stream. Returns `{kind, match, side, before, item}`, or `null` if the
   * matches contain it. `match` is `null` for an event that is no part of a match, `item` for one
   * that was told before the matches were taken back: it is no news.
   */
  apply(event) {
    if (!remember(this.#applied, event)) return null;
    const data = typeof event.data === 'object' && event.data !== null ? event.data : {};
    const match = this.#matchOf(event, data);
    const before = match ? { ...match.score } : null;
    const side = match ? this.#advance(match, event, data) : null;
    const item = remember(this.#told, event) ? this.#tell(event) : null;
    return { kind: text(event.type), match, side, before, item };
  }

  /**
   * Applies what a poll says of minutes. Returns whether both tell the same of the matches that
   * `wants` names.
   */
  tick(live, wants) {
    let same = true;
    for (const theirs of live.matches ?? []) {
      if (!wants([theirs.home, theirs.away])) continue;
      const ours = this.matches.get(text(theirs.id));
      if (ours && agree(ours, theirs)) {
        const minute = count(theirs.minute, 200);
        const atMs = Date.parse(theirs.updated_at);
        if (minute > ours.minute)
          Object.assign(ours, { minute, stoppage: count(theirs.stoppage, 60), atMs });
      } else {
        same = false;
      }
    }
    return same;
  }

  /** Minute and stoppage of a match as they should be by now, in ms of the server's clock. */
  clock(match, nowMs) {
    const minute = this.#pace.minuteAt(match, nowMs);
    return { minute, stoppage: minute === match.minute ? match.stoppage : 0 };
  }

  /** A team's name, or its id where it was never named. */
  teamName(id) {
    return this.teams.get(id) ?? id;
  }

  /** For a reload without a server: what `rebase` takes, without the mark. */
  snapshot() {
    return {
      teams: [...this.teams].map(([id, name]) => ({ id, name })),
      matches: [...this.matches.values()].map(({ homeName, awayName, atMs, ...match }) => ({
        ...match,
        home_name: homeName,
        away_name: awayName,
        updated_at: Number.isFinite(atMs) ? new Date(atMs).toISOString() : '',
      })),
      events: this.feed
        .slice(0, 50)
        .map(({ event }) => event)
        .reverse(),
    };
  }

  #put(raw) {
    const match = {
      id: text(raw.id),
      home: text(raw.home),
      away: text(raw.away),
      homeName: plain(raw.home_name) || text(raw.home),
      awayName: plain(raw.away_name) || text(raw.away),
      competition: plain(raw.competition),
      round: plain(raw.round),
      ground: plain(raw.ground),
      date: plain(raw.date),
      status: STATUSES.includes(raw.status) ? raw.status : 'scheduled',
      minute: count(raw.minute, 200),
      stoppage: count(raw.stoppage, 60),
      atMs: Date.parse(raw.updated_at),
      score: score(raw.score),
      scorers: [],
      cards: [],
    };
    for (const goal of (raw.scorers ?? []).slice(0, SCORERS_MAX))
      match.scorers.push(this.#mention(goal));
    for (const card of (raw.cards ?? []).slice(0, SCORERS_MAX)) {
      const red =
        card.red === true || /red/.test(text(card.type) + text(card.card) + text(card.kind));
      match.cards.push({ ...this.#mention(card), red });
    }
    this.teams.set(match.home, match.homeName);
    this.teams.set(match.away, match.awayName);
    this.matches.set(match.id, match);
    return match;
  }

  #mention(raw) {
    return {
      id: text(raw.id),
      team: text(raw.team),
      player: plain(raw.player),
      note: text(raw.note),
      minute: count(raw.minute, 200),
      stoppage: count(raw.stoppage, 60),
    };
  }

  #matchOf(event, data) {
    const id = text(data.match);
    if (id === '') return null;
    const known = this.matches.get(id);
    if (known) return known;
    return this.matches.size < MATCHES_MAX && data.home && data.away
      ? this.#put({ ...data, id })
      : null;
  }

  /** Applies one event to its match; returns the side whose score it changed. */
  #advance(match, event, data) {
    const after = data.score ? score(data.score) : match.score;
    const side =
      ['home', 'away'].find((name) => after[name] !== match.score[name]) ??
      (data.team === match.away ? 'away' : 'home');
    const mention = { ...this.#mention(data), id: event.id, team: match[side] };
    if (event.type === 'goal') match.scorers = [...match.scorers, mention].slice(-SCORERS_MAX);
    if (event.type === 'var.overturned') this.#takeBack(match, side, data);
    if (event.type === 'card.yellow' || event.type === 'card.red') {
      const card = { ...mention, team: text(data.team), red: event.type === 'card.red' };
      match.cards = [...match.cards, card].slice(-SCORERS_MAX);
    }
    match.score = after;
    if (STATUSES.includes(data.status)) match.status = data.status;
    if (data.minute !== undefined) {
      match.minute = count(data.minute, 200);
      match.stoppage = count(data.stoppage, 60);
      match.atMs = Date.parse(event.occurred_at);
    }
    return side;
  }

  #takeBack(match, side, data) {
    const named = match.scorers.findIndex((goal) => goal.id === data.overturns);
    const latest = match.scorers.findLastIndex((goal) => goal.team === match[side]);
    const index = named >= 0 ? named : latest;
    if (index >= 0) match.scorers = match.scorers.filter((_, at) => at !== index);
  }

  #tell(event) {
    const item = { event, overturned: false };
    const { match, minute } = event.data ?? {};
    this.#pace.learn(text(match), count(minute, 200), Date.parse(event.occurred_at));
    if (event.type === 'var.overturned') {
      const taken = this.feed.find((other) => other.event.id === event.data?.overturns);
      if (taken) taken.overturned = true;
    }
    this.feed.unshift(item);
    this.feed.length = Math.min(this.feed.length, FEED_MAX);
    return item;
  }
}

/** Whether a poll tells of a match what we tell: status, score, how many scored and were booked. */
function agree(ours, theirs) {
  const { home, away } = score(theirs.score);
  const many = (list) => Math.min(list?.length ?? 0, SCORERS_MAX);
  return (
    ours.status === theirs.status &&
    ours.score.home === home &&
    ours.score.away === away &&
    ours.scorers.length === many(theirs.scorers) &&
    ours.cards.length === many(theirs.cards)
  );
}

/** Puts an event into a set of bounded size. Returns whether it is new there. */
function remember(set, { source, id }) {
  const key = `${source} ${id}`;
  if (set.has(key)) return false;
  set.add(key);
  if (set.size > SEEN_MAX) set.delete(set.values().next().value);
  return true;
}

function byTime(one, other) {
  return Date.parse(one.occurred_at) - Date.parse(other.occurred_at) || 0;
}
