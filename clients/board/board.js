/**
 * The live board: joins model, sessions and views. Read this file for what happens when.
 *
 * The page begins with `/v1/live` and follows the stream from its mark (R27): a *rebase*. It begins
 * anew in the same way when other teams are wanted, when a match appears, after a gap, and when it
 * disagrees with the server for seconds on end. A cut line is no reason: the sessions resume by
 * themselves, and bring what was missed.
 *
 * State and positions are kept together in sessionStorage, so that a page which is reloaded while
 * the server is away shows what it knew and goes on from there.
 * @module
 */

import { Calls } from './goal.js';
import { Chips } from './chips.js';
import { Feed, describe } from './feed.js';
import { MatchDay } from './model.js';
import { Panel } from './panel.js';
import { Poll, fetchLive, streamUrl } from './live.js';
import { Posts } from './posts.js';
import { Scoreboard } from './scoreboard.js';
import { Senses } from './senses.js';
import { Sessions } from './sessions.js';
import { Sources } from './sources.js';
import { Status } from './status.js';
import { Stores } from './stores.js';
import { Wall } from './wall.js';
import { themeToggle } from './theme.js';

const KEPT = 'touchline.board';
const KEPT_AGE_MAX_MS = 3_600_000;
const RENDER_MS = 40;
/** Sensors and posts may come by the hundred: they are drawn together. */
const CROWD_MS = 400;
const SAVE_MS = 1_000;
const REBASE_MIN_MS = 3_000;
/** Chips may be clicked one after the other. */
const CHOICE_MS = 250;
/** Polls that must disagree with the page, one after the other, before it begins anew. */
const DISAGREE_MAX = 4;

const at = (id) => document.getElementById(id);

const day = new MatchDay();
const senses = new Senses();
const sessions = new Sessions();
const scoreboard = new Scoreboard(
  at('cards'),
  at('cards-empty'),
  (match) => day.clock(match, Date.now() + skewMs),
  (match) => senses.of(match, performance.now()),
);
const feed = new Feed(at('feed'), at('feed-empty'), (team) => day.teamName(team));
const posts = new Posts(
  { section: at('posts-section'), list: at('posts'), empty: at('posts-empty') },
  (team) => day.teamName(team),
);
const panel = new Panel(at('panel'));
const sources = new Sources({
  section: at('sources-section'),
  list: at('sources'),
  note: at('sources-note'),
  panel: at('panel'),
});
const stores = new Stores(at('panel'));
const chips = new Chips({
  bar: at('chips'),
  search: at('search'),
  all: at('all'),
  note: at('follow-note'),
});
const calls = new Calls(new Wall(at('wall')), {
  call: at('call'),
  what: at('call-what'),
  who: at('call-who'),
  kit: at('call-kit'),
  close: at('call-close'),
  shout: at('shout'),
  stand: at('stand'),
});
const status = new Status(
  {
    pill: at('pill'),
    pillText: at('pill-text'),
    notice: at('notice'),
    noticeText: at('notice-text'),
    noticeAct: at('notice-act'),
    hole: at('hole'),
    holeText: at('hole-text'),
    holeAct: at('hole-act'),
    degraded: at('degraded'),
  },
  { retry: () => sessions.retryNow() },
);
const poll = new Poll({ onLive, onFailure });

/** How far the server's clock is ahead of ours. */
let skewMs = 0;
let url = null;
let followed = '';
let disagreed = 0;
let rebasedAt = -Infinity;
let rebaseTimer = null;
let renderTimer = null;
let crowdTimer = null;
let received = 0;
let dirty = false;

// ---- beginning, and beginning anew ------------------------------------------------------------

function teamsOfTheDay() {
  return [...day.matches.values()].flatMap(({ home, away }) => [home, away]);
}

/** Which teams the sessions should follow: the chosen ones, else all. */
function wantedTeams() {
  const teams = chips.chosen.size > 0 ? [...chips.chosen] : teamsOfTheDay();
  return [...new Set(teams)].filter((team) => /^[a-z0-9_-]{1,32}$/.test(team)).sort();
}

/** Takes a snapshot for the truth, and follows the stream from its mark. */
function rebase(live) {
  rebasedAt = performance.now();
  disagreed = 0;
  day.rebase(live);
  url = streamUrl(live);
  const teams = wantedTeams();
  followed = teams.join();
  const position = { mark: live.mark, after: {} };
  sessions.follow(url, teams.length > 0 ? [{ teams, position }] : [], day.matches.values());
  if (teams.length === 0) status.line('idle');
  changed();
}

/** Begins anew with a fresh snapshot, in `waitMs`. */
function rebaseIn(waitMs) {
  clearTimeout(rebaseTimer);
  rebaseTimer = setTimeout(() => fetchLive().then(rebase, () => rebaseIn(REBASE_MIN_MS)), waitMs);
}

/** Begins anew for a reason of the server's: not more often than every few seconds. */
function rebaseSoon() {
  rebaseIn(Math.max(0, rebasedAt + REBASE_MIN_MS - performance.now()));
}

/** What a page knew before it was reloaded, if that wasn't long ago. */
function kept() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(KEPT));
    return Date.now() - saved.saved_at < KEPT_AGE_MAX_MS ? saved : null;
  } catch {
    return null;
  }
}

function keep() {
  if (!dirty || url === null) return;
  dirty = false;
  try {
    const saved = {
      saved_at: Date.now(),
      url,
      followed,
      parts: sessions.parts,
      snapshot: day.snapshot(),
    };
    sessionStorage.setItem(KEPT, JSON.stringify(saved));
  } catch {
    // A reload without a server then shows nothing; with one, nothing is lost.
  }
}

// ---- what comes in ----------------------------------------------------------------------------

/** The age of the last event tells what the server's clock says now. */
function readClock({ events, panel: { last_event_age_ms: ageMs } = {} }) {
  const theirs = Date.parse(events?.at(-1)?.occurred_at) + ageMs - Date.now();
  // Answers take their time: a clock that jumps by that much would make minutes flicker.
  if (Math.abs(theirs - skewMs) > 1_500) skewMs = theirs;
}

function onLive(live) {
  readClock(live);
  panel.read(live.panel, performance.now());
  sources.read(live);
  stores.read(live);
  status.log(live.log);
  if (url === null) return rebase(live);
  const same = day.tick(live, (teams) => chips.wants(teams));
  const ids = new Set((live.matches ?? []).map(({ id }) => id));
  const others = ids.size !== day.matches.size || [...ids].some((id) => !day.matches.has(id));
  const steady = sessions.state === 'live' || sessions.state === 'idle';
  disagreed = same || !steady ? 0 : disagreed + 1;
  if (steady && (others || disagreed >= DISAGREE_MAX)) rebaseSoon();
  return renderSoon();
}

function onFailure(seconds) {
  panel.clear();
  sources.clear();
  stores.clear();
  const saved = url === null ? kept() : null;
  if (saved) {
    day.rebase(saved.snapshot);
    ({ url, followed } = saved);
    sessions.follow(url, saved.parts, day.matches.values());
    changed();
  }
  if (sessions.state === 'idle') status.unreachable(seconds, day.matches.size > 0);
}

const streamOf = (topic) => (typeof topic === 'string' ? topic.split(':', 1)[0] : '');

function onEvent(event) {
  const stream = streamOf(event.topic);
  if (stream === 'sensor') senses.take(event, performance.now());
  else if (stream === 'social') posts.take(event);
  else return onMatchEvent(event);
  crowdTimer ??= setTimeout(renderCrowd, CROWD_MS);
  return undefined;
}

/** What sensors and people say: many a second, and none of it moves anything else. */
function renderCrowd() {
  clearTimeout(crowdTimer);
  crowdTimer = null;
  scoreboard.sense(day.matches.values());
  posts.render((teams) => chips.wants(teams));
}

function onMatchEvent(event) {
  const effect = day.apply(event);
  if (effect === null) return;
  const { kind, match, side, item } = effect;
  renderSoon();
  if (item === null) return; // Told before; only the matches had been taken back.
  received += 1;
  panel.touch(performance.now());
  if (!match || !chips.wants(event.teams)) return;
  if (kind !== 'goal' && kind !== 'var.overturned') return;
  render();
  scoreboard.flash(match, side, kind === 'goal' ? 'goal' : 'var');
  if (kind === 'goal') calls.goal(match, side, event);
  else calls.takenBack(match, side);
}

function onGap(gap) {
  // Posts are skipped where a page is slow, and of sensors only the latest counts: no score is wrong.
  const streams = gap.topic ? [streamOf(gap.topic)] : (gap.streams ?? []);
  if (streams.length > 0 && streams.every((name) => name === 'social' || name === 'sensor')) return;
  status.gap(gap);
  rebaseSoon();
}

// ---- what is shown ----------------------------------------------------------------------------

function changed() {
  chips.offer([...day.teams].filter(([id]) => teamsOfTheDay().includes(id)));
  scoreboard.keep(new Set(day.matches.keys()));
  render();
}

function renderSoon() {
  renderTimer ??= setTimeout(render, RENDER_MS);
}

function render() {
  clearTimeout(renderTimer);
  renderTimer = null;
  dirty = true;
  const matches = [...day.matches.values()].filter(({ home, away }) => chips.wants([home, away]));
  scoreboard.render(
    matches,
    day.matches.size === 0 ? 'No match has been announced yet.' : 'None of your teams plays today.',
  );
  const items = day.feed.filter(({ event }) => chips.wants(event.teams ?? []));
  feed.render(items);
  const [first] = day.matches.values();
  at('day').textContent = first ? [first.competition, first.date].filter(Boolean).join(' · ') : '';
  const { repeated } = sessions;
  at('tally').textContent = `${received} came to this one; ${repeated} came twice.`;
  rest(matches, items);
  renderCrowd();
}

/** What wall and line say while nothing is called. */
function rest(matches, [latest]) {
  const scored = matches.reduce((sum, { score }) => sum + score.home + score.away, 0);
  const goals = scored === 1 ? '1 GOAL' : `${scored} GOALS`;
  const games = matches.length === 1 ? '1 MATCH' : `${matches.length} MATCHES`;
  const lines = matches.length === 0 ? ['TOUCHLINE'] : [`${games}  ${goals}`, goals];
  if (!latest) return calls.rest(lines, '');
  const said = describe(latest.event, (team) => day.teamName(team));
  return calls.rest(
    lines,
    [said.minute, said.what, said.who, said.where].filter(Boolean).join('  ·  '),
  );
}

// ---- joining ----------------------------------------------------------------------------------

themeToggle(at('theme'));
sessions.addEventListener('event', ({ detail }) => onEvent(detail));
sessions.addEventListener('room', rebaseSoon);
sessions.addEventListener('gap', ({ detail }) => onGap(detail));
sessions.addEventListener('status', ({ detail }) => status.streams(detail.state, detail.streams));
sessions.addEventListener('state', ({ detail }) => status.line(sessions.state, detail));
chips.addEventListener('change', () => {
  render();
  if (wantedTeams().join() !== followed) rebaseIn(CHOICE_MS);
});
addEventListener('pagehide', keep);
setInterval(keep, SAVE_MS);
setInterval(() => {
  panel.tick(performance.now());
  scoreboard.tick(day.matches.values());
  scoreboard.sense(day.matches.values());
}, 1_000);
poll.now();
