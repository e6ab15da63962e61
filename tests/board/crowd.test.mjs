/**
 * The board shows what sensors and people say, and how every source does; and none of it can do the
 * page any harm.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { PHONE, STILL, launch, openPage } from './browser.mjs';
import { Fixture } from './day.mjs';
import { eventually, isLive } from './page.mjs';
import { REAL, serve } from './server.mjs';

const skip = REAL ? 'webhooks carry neither posts nor values' : false;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function opened(t, options) {
  const server = await serve(t);
  const fixture = new Fixture(0);
  await server.publish(fixture.scheduled(), fixture.kickoff());
  const page = await openPage(browser, server.url, { ...STILL, ...options });
  t.after(async () => {
    await page.context().close();
    assert.deepEqual(page.faults, []);
  });
  await isLive(page);
  return { server, fixture, page };
}

let made = 0;
const from = (stream, fixture, type, data, teams = [fixture.home, fixture.away]) => {
  made += 1;
  const occurred_at = new Date().toISOString();
  return { stream, id: `${stream}-${made}`, source: stream, type, teams, occurred_at, data };
};

const senses = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll('.senses:not([hidden]) .sense')].map(({ innerText }) =>
      innerText.replace(/\s+/g, ' '),
    ),
  );

test('a match shows what its sensors say now, and no event of theirs is in the feed', { skip }, async (t) => {
  const { server, fixture, page } = await opened(t);
  assert.deepEqual(await senses(page), [], 'no ground without instruments has an empty place');
  await server.publish(
    from('sensor', fixture, 'noise', { value: 82, unit: 'dB' }),
    from('sensor', fixture, 'wind', { value: 3.5, unit: 'm/s' }),
    from('sensor', fixture, 'possession', { home: 55, away: 45, unit: '%' }),
    from('sensor', fixture, 'noise', { value: 104, unit: 'dB' }),
  );
  await eventually(async () =>
    assert.deepEqual(await senses(page), ['Wind 3.5 m/s', 'Crowd 104 dB', 'Possession 55–45 %']),
  );
  assert.equal(await page.locator('.entry').count(), 2);
  assert.equal(await page.locator('#call').getAttribute('data-kind'), 'idle');
});

test('a post that is markup is shown as it was written', { skip }, async (t) => {
  const { server, fixture, page } = await opened(t);
  const texts = [
    `<img src=x onerror="document.title='pwned'">`,
    `<script>document.title = 'pwned'</script>`,
    '</li></ul><h1>pwned</h1>',
    '\u202Egnol dna \u202Dtxet',
  ];
  await server.publish(
    ...texts.map((text) => from('social', fixture, 'post', { text, author: '<b>mallory</b>' })),
  );
  await eventually(async () => {
    const shown = await page.locator('.post .said').allTextContents();
    assert.deepEqual(shown, [...texts].reverse());
  });
  assert.equal(await page.title(), 'Touchline: live board');
  assert.equal(await page.locator('#posts :is(img, script, h1)').count(), 0);
  assert.equal(await page.locator('.post .by b').first().textContent(), '<b>mallory</b>');
});

const fits = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);

test('posts that are one endless word, or nothing but emoji, stay within a phone', { skip }, async (t) => {
  const { server, fixture, page } = await opened(t, { viewport: PHONE });
  const texts = [
    'x'.repeat(5_000),
    '👩‍👩‍👧‍👦⚽🏳️‍🌈'.repeat(20),
    `https://example.org/${'a'.repeat(250)}`,
  ];
  const author = `\u202E${'w'.repeat(300)}`;
  await server.publish(...texts.map((text) => from('social', fixture, 'post', { text, author })));
  await eventually(async () => assert.equal(await page.locator('.post').count(), 3));
  const shown = await page.locator('.post .said').allTextContents();
  assert.equal(shown[1], texts[1]);
  assert.equal(shown[2], `${'x'.repeat(280)}…`);
  const [by] = await page.locator('.post .by b').allTextContents();
  assert.equal(by, `${'w'.repeat(38)}…`, 'a name can’t turn the line around');
  assert.ok(await fits(page), 'nothing sticks out of a phone');
});

test('names of a partner that are markup, turn the line or never end are shown as text', async (t) => {
  const { server, fixture, page } = await opened(t, { viewport: PHONE });
  const odd = {
    home_name: `<script>document.title='pwned'</script>`,
    away_name: `\u202E${'Llanfairpwll'.repeat(6)}`,
    ground: `<img src=x onerror="document.title='pwned'">`,
    competition: '🏆'.repeat(60),
    player: `⚽\u202E\u0007 <b>${'É'.repeat(200)}`,
    minute: 7,
  };
  const scheduled = fixture.event('match.scheduled', { ...odd, match: 'odd', score: undefined });
  const goal = fixture.event('goal', { ...odd, match: 'odd', status: 'live', team: fixture.home });
  goal.data.score = { home: 1, away: 0 };
  await server.publish(scheduled, goal);
  const card = page.locator('.card[data-match="odd"]');
  await card.waitFor();
  const names = await card.locator('.name').allTextContents();
  assert.deepEqual(names, [odd.home_name, ` ${'Llanfairpwll'.repeat(6)}`]);
  const entry = page.locator('.entry[data-mark="goal"]');
  await eventually(async () => {
    const where = await entry.locator('.where').textContent();
    assert.ok(where.includes(`${odd.home_name} 1–0  Llanfairpwll`), where);
  });
  assert.match(await entry.locator('.who').textContent(), /^⚽ {3}<b>É+…/);
  assert.match(await page.locator('#shout').textContent(), /^Goal! <script>/);
  const inside = ['#cards', '#feed', '#call', '#chips'].map((id) => `${id} :is(script, img)`);
  assert.equal(await page.locator(inside.join()).count(), 0);
  assert.equal(await page.title(), 'Touchline: live board');
  assert.ok(await fits(page), 'nothing sticks out of a phone');
});

test('a flood of posts leaves a few of them, and those of the chosen teams', { skip }, async (t) => {
  const { server, fixture, page } = await opened(t);
  const flood = Array.from({ length: 300 }, (_, n) =>
    from('social', fixture, 'post', { text: `post ${n}`, author: 'row_z' }, [
      n % 2 ? fixture.home : fixture.away,
    ]),
  );
  await server.publish(...flood);
  await eventually(async () =>
    assert.deepEqual(
      await page.locator('.post .said').allTextContents(),
      [299, 298, 297, 296, 295, 294].map((n) => `post ${n}`),
    ),
  );
  await page.locator(`.chip[data-team="${fixture.home}"]`).click();
  await eventually(async () => {
    const shown = await page.locator('.post .said').allTextContents();
    assert.equal(shown[0], 'post 299');
    assert.ok(shown.every((text) => Number(text.slice(5)) % 2 === 1), shown.join());
  });
});

test('posts and values that were skipped are no hole in the day', { skip }, async (t) => {
  const { server, fixture, page } = await opened(t);
  const topic = `social:${fixture.home}`;
  server.mock.broadcast({ op: 'gap', topic, from: 'p.e1.1', to: 'p.e1.1', reason: 'slow' });
  await server.publish(fixture.goal('home', 5));
  await page.waitForSelector('.entry[data-mark="goal"]');
  assert.ok(await page.locator('#hole').isHidden());
});

const source = (name, state, more = {}) => ({
  name,
  kind: 'sensor',
  state,
  staleness_ms: 300,
  events_per_s: 2.5,
  breaker: 'closed',
  ...more,
});

test('every source is there with its state in words, and the sum above the matches', { skip }, async (t) => {
  const { server, page } = await opened(t, { viewport: PHONE });
  assert.ok(await page.locator('#sources-section').isHidden(), 'a server that tells of none');
  server.mock.sources = [
    source('venue-4', 'failing', { staleness_ms: 4_818, events_per_s: 0, breaker: 'open' }),
    source('venue-10', 'stale', { staleness_ms: 61_000 }),
    source('<i>plaza</i>', 'silent', { kind: 'social', staleness_ms: undefined, breaker: undefined }),
    source('venue-2', 'fresh'),
  ];
  const rows = async () =>
    (await page.locator('.source').allTextContents()).map((text) => text.trim().split(/\s{2,}|\n/)[0]);
  await eventually(async () =>
    assert.deepEqual(await rows(), [
      '<i>plaza</i> posts silent – 2.5/s',
      'venue-2 sensors fresh 0.3 s 2.5/s',
      'venue-4 sensors failing, paused 4.8 s 0/s',
      'venue-10 sensors stale 61 s 2.5/s',
    ]),
  );
  assert.deepEqual(
    (await page.locator('.sort').allTextContents()).map((text) => text.trim().replace(/\s+/g, ' ')),
    ['posts heard events', 'sensors heard events'],
    'each kind has a head that says what the figures are',
  );
  const sum = page.locator('[data-figure="sources"]');
  assert.equal(await sum.locator('b').textContent(), '2/4');
  assert.equal(await sum.getAttribute('data-state'), 'failing');
  assert.equal(
    await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
    true,
    'nothing sticks out of a phone',
  );
  server.mock.sources = [source('venue-2', 'fresh')];
  await eventually(async () => {
    assert.equal(await page.locator('.source').count(), 1);
    assert.equal(await sum.getAttribute('data-state'), 'fresh');
  });
});
