/** The page's own reckoning of a match day, without a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { describe } from '../../clients/board/feed.js';
import { kit } from '../../clients/board/kit.js';
import { MatchDay, minuteText } from '../../clients/board/model.js';
import { short } from '../../clients/board/panel.js';
import { deal } from '../../clients/board/sessions.js';
import { Pace } from '../../clients/board/clock.js';
import { drawText, plain, textColumns } from '../../clients/board/dots.js';
import { Fixture } from './day.mjs';
import { Mock } from './mock-server.mjs';

const frame = (event) => ({ source: 'skyline', ...event });

test('a match is what its events say', () => {
  const day = new MatchDay();
  const fixture = new Fixture(0);
  day.apply(frame(fixture.kickoff()));
  const first = fixture.goal('away', 12, 'Ada');
  assert.deepEqual(
    { ...day.apply(frame(first)), match: null, item: null },
    { kind: 'goal', side: 'away', before: { home: 0, away: 0 }, match: null, item: null },
  );
  const second = fixture.goal('home', 20, 'Bo');
  day.apply(frame(second));
  const back = day.apply(frame(fixture.overturned(second, 'home', 22)));
  assert.equal(back.side, 'home');
  const match = day.matches.get('m0');
  assert.deepEqual(match.score, { home: 0, away: 1 });
  assert.deepEqual(
    match.scorers.map(({ player, team }) => [player, team]),
    [['Ada', fixture.away]],
  );
  assert.deepEqual(
    day.feed.map(({ overturned }) => overturned),
    [false, true, false, false],
  );
});

test('an event counts once, however often it comes', () => {
  const day = new MatchDay();
  const fixture = new Fixture(0);
  const goal = frame(fixture.goal('home', 3));
  assert.ok(day.apply(goal));
  assert.equal(day.apply({ ...goal, pos: 'elsewhere' }), null);
  assert.equal(day.matches.get('m0').scorers.length, 1);
  assert.equal(day.feed.length, 1);
});

test('a snapshot and the events after it make what all events make', () => {
  const fixture = new Fixture(0);
  // In the order in which they occurred: the clock may tick between any two.
  const kickoff = fixture.kickoff();
  const goal = fixture.goal('home', 30, 'Bo');
  const events = [
    kickoff,
    goal,
    fixture.card('away', 33, 'red'),
    fixture.goal('away', 40, 'Cy', { note: 'penalty' }),
    fixture.overturned(goal, 'home', 44),
    fixture.turn('half_time', 'match.half_time', 45),
  ];
  const whole = new MatchDay();
  for (const event of events) whole.apply(frame(event));
  for (let cut = 1; cut <= events.length; cut += 1) {
    const mock = new Mock();
    mock.publish(events.slice(0, cut));
    const day = new MatchDay();
    day.rebase(mock.live());
    // An overlap must do no harm, so the last event of the snapshot comes again.
    for (const event of events.slice(cut - 1)) day.apply(frame(event));
    assert.deepEqual(day.matches.get('m0'), whole.matches.get('m0'), `cut after ${cut}`);
    assert.deepEqual(
      day.feed.map(({ event: { id }, overturned }) => [id, overturned]),
      whole.feed.map(({ event: { id }, overturned }) => [id, overturned]),
    );
  }
});

test('a snapshot older than the stream loses nothing, and what was told stays told once', () => {
  const fixture = new Fixture(0);
  const kickoff = fixture.kickoff();
  const taken = fixture.goal('home', 8, 'Bo');
  const events = [
    kickoff,
    taken,
    fixture.goal('away', 21, 'Cy'),
    fixture.overturned(taken, 'home', 22),
    fixture.card('away', 33, 'red'),
  ];
  const whole = new MatchDay();
  for (const event of events) whole.apply(frame(event));
  const match = whole.matches.get('m0');
  assert.deepEqual([match.score, match.scorers.length], [{ home: 0, away: 1 }, 1]);
  assert.deepEqual(
    match.cards.map(({ red }) => red),
    [true],
  );
  for (let cut = 1; cut <= events.length; cut += 1) {
    const mock = new Mock();
    mock.publish(events.slice(0, cut));
    const day = new MatchDay();
    for (const event of events) day.apply(frame(event));
    day.rebase(mock.live());
    const again = events.slice(cut).map((event) => day.apply(frame(event)));
    assert.ok(
      again.every((effect) => effect?.match && effect.item === null),
      `cut after ${cut}: applied, and no news`,
    );
    assert.deepEqual(day.matches.get('m0'), match, `cut after ${cut}`);
    assert.deepEqual(day.feed, whole.feed);
    assert.equal(day.apply(frame(events.at(-1))), null, 'a third time it does nothing');
  }
});

test('a page that is kept and read back is the same', () => {
  const day = new MatchDay();
  const fixture = new Fixture(0);
  for (const event of [fixture.kickoff(), fixture.goal('home', 3), fixture.card('home', 8, 'red')])
    day.apply(frame(event));
  const again = new MatchDay();
  again.rebase(JSON.parse(JSON.stringify(day.snapshot())));
  assert.deepEqual(again.matches, day.matches);
  assert.deepEqual(again.feed, day.feed);
});

test('a poll moves minutes, and says when it tells another story', () => {
  const day = new MatchDay();
  const fixture = new Fixture(0);
  day.apply(frame(fixture.kickoff()));
  const live = (more) => ({
    matches: [
      {
        ...fixture.base,
        id: 'm0',
        status: 'live',
        score: { home: 0, away: 0 },
        minute: 7,
        ...more,
      },
    ],
  });
  const all = () => true;
  assert.equal(day.tick(live({}), all), true);
  assert.equal(day.matches.get('m0').minute, 7);
  assert.equal(day.tick(live({ minute: 5 }), all), true);
  assert.equal(day.matches.get('m0').minute, 7, 'a minute never goes back');
  assert.equal(day.tick(live({ score: { home: 1, away: 0 } }), all), false);
  assert.equal(day.tick(live({ cards: [{ id: 'c1', type: 'red' }] }), all), false);
  assert.equal(day.tick(live({ scorers: [{ id: 'g1', team: fixture.home }] }), all), false);
  assert.equal(
    day.tick(live({ score: { home: 1, away: 0 } }), () => false),
    true,
    'what nobody wants to see may differ',
  );
});

test('what is out of range is brought into range, and names cannot do harm', () => {
  const day = new MatchDay();
  const odd = {
    score: { home: -3, away: 1e9 },
    minute: 'x',
    stoppage: NaN,
    player: { a: 1 },
    home_name: 'n'.repeat(500),
    status: 'won',
  };
  const fixture = new Fixture(0);
  day.apply(frame(fixture.goal('home', 3, 'Ada', odd)));
  const match = day.matches.get('m0');
  assert.deepEqual(
    [match.score, match.minute, match.status],
    [{ home: 0, away: 99 }, 0, 'scheduled'],
  );
  assert.equal(match.homeName.length, 80);
  for (const data of [null, 3, [], {}, { match: 7 }, { match: '__proto__' }]) {
    assert.ok(
      day.apply({
        source: 's',
        id: `odd-${JSON.stringify(data)}`,
        teams: ['ars'],
        type: 'toString',
        data,
      }),
    );
  }
  assert.equal(day.matches.size, 1);
  assert.equal(
    describe({ type: 'toString', teams: ['ars'], data: { note: 'constructor' } }, (id) => id).what,
    'toString',
  );
});

test('minutes run at the pace of the day, no further than a half, nor long without news', () => {
  const pace = new Pace();
  const match = { minute: 20, status: 'live', atMs: 0 };
  const after = (seconds, more) => pace.minuteAt({ ...match, ...more }, seconds * 1_000);
  assert.deepEqual([after(59), after(60), after(120), after(7_200)], [20, 21, 22, 30], 'real time');
  assert.deepEqual(
    [after(600, { status: 'half_time' }), after(600, { minute: 0 }), after(-5)],
    [20, 0, 20],
  );
  for (const minute of [1, 6, 12, 30]) pace.learn('m', minute, minute * 1_000);
  assert.equal(pace.value, 60);
  assert.deepEqual([after(0.5), after(1), after(9), after(100)], [20, 21, 29, 45]);
  assert.equal(after(100, { minute: 50 }), 90);
  assert.equal(after(100, { minute: 3, atMs: 30_000 }), 13, 'without news the clock stops');
  for (let n = 0; n < 50; n += 1) pace.learn(`other-${n}`, 1 + (n % 2) * 40, 0);
  for (const at of [NaN, Infinity]) pace.learn('m', 44, at);
  assert.equal(pace.value, 60, 'what makes no sense teaches nothing');
});

test('feed and matches are bounded', () => {
  const day = new MatchDay();
  for (let n = 0; n < 1_000; n += 1) {
    const fixture = new Fixture(n);
    day.apply(frame({ ...fixture.goal('home', 3), data: { ...fixture.base, match: `m${n}` } }));
  }
  assert.equal(day.feed.length, 200);
  assert.equal(day.matches.size, 200);
});

test('an event is told in words', () => {
  const fixture = new Fixture(0);
  fixture.score.home = 1;
  const goal = fixture.goal('home', 45, 'Ada', { stoppage: 2, note: 'penalty' });
  const { what, who, where, minute } = describe(goal, (id) => id);
  assert.deepEqual(
    [what, who, where, minute],
    ['Goal', 'Ada, penalty', 'Harbour City 2–0 Northgate United', '45+2′'],
  );
  assert.equal(describe(fixture.swap('home', 60), (id) => id).who, 'K. Brandt for A. Okafor');
  assert.equal(minuteText({}), '');
});

test('teams that meet share a session, and no session has too many', () => {
  const matches = Array.from({ length: 25 }, (_, n) => ({ home: `h${n}`, away: `a${n}` }));
  const teams = matches.flatMap(({ home, away }) => [home, away]);
  const hands = deal(teams, matches);
  assert.deepEqual(
    hands.map((hand) => hand.length),
    [20, 20, 10],
  );
  for (const { home, away } of matches) {
    assert.equal(
      hands.findIndex((hand) => hand.includes(home)),
      hands.findIndex((hand) => hand.includes(away)),
    );
  }
  assert.deepEqual(deal(['h0', 'h1'], matches), [['h0', 'h1']]);
  assert.equal(
    deal(
      Array.from({ length: 300 }, (_, n) => `t${n}`),
      [],
    ).flat().length,
    100,
  );
});

test('colours are the same everywhere and differ among teams', () => {
  assert.deepEqual(kit('ars'), kit('ars'));
  const looks = new Set(Array.from({ length: 20 }, (_, n) => JSON.stringify(kit(`team-${n}`))));
  assert.ok(looks.size >= 18, `${looks.size} looks for 20 teams`);
});

test('the face has a glyph for every letter and figure', () => {
  const blank = [];
  for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-!.:') {
    const bitmap = Array.from({ length: 7 }, () => new Uint8Array(5));
    drawText(bitmap, character, 0, 0);
    const lit = bitmap.reduce((sum, row) => sum + row.reduce((one, bit) => one + bit, 0), 0);
    if (lit < 2) blank.push(character);
  }
  assert.deepEqual(blank, []);
  assert.equal(plain('Émile Novák'), 'EMILE NOVAK');
  assert.deepEqual([textColumns('GOAL'), textColumns('GOAL', 2), textColumns('')], [23, 46, 0]);
});

test('figures are short', () => {
  const said = [NaN, 0, 0.84, 12.34, 37.6, 840, 1_000, 12_400, 980_000, 3_850_000].map(short);
  assert.deepEqual(said, ['–', '0', '0.8', '12.3', '38', '840', '1000', '12.4k', '980k', '3.9M']);
});
