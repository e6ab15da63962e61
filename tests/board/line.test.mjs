/** The page says how its line is, and a line that was cut costs no event and repeats none. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { STILL, launch, openPage } from './browser.mjs';
import { Fixture } from './day.mjs';
import { card, entries, eventually, feedIds, hasAll, isLive } from './page.mjs';
import { REAL, serve } from './server.mjs';

const MOCK_ONLY = REAL ? 'the real server can’t be told to misbehave so' : false;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function opened(t, server) {
  const page = await openPage(browser, null, STILL);
  t.after(async () => {
    await page.context().close();
    assert.deepEqual(page.faults, []);
  });
  await page.goto(server.url);
  await isLive(page);
  return page;
}

const pill = (page, state) =>
  page.waitForSelector(`#pill[data-state="${state}"]`, { timeout: 10_000 });

async function dayWithOneMatch(t, options) {
  const server = await serve(t, options);
  const fixture = new Fixture(0);
  const told = [fixture.kickoff()];
  await server.publish(...told);
  const publish = async (...events) => {
    told.push(...events);
    await server.publish(...events);
  };
  return { server, fixture, told, publish };
}

test('a server that is killed and restarted costs no event and repeats none', async (t) => {
  const { server, fixture, told, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  for (let round = 1; round <= 3; round += 1) {
    await publish(fixture.goal('home', round * 10), fixture.card('away', round * 10 + 1));
    await server.kill();
    await pill(page, 'waiting');
    assert.match(
      await page.locator('#notice').innerText(),
      /The line was cut\. (Next try in \d+ s|Trying now)\./,
    );
    await server.restart();
    await publish(fixture.goal('away', round * 10 + 2));
    await isLive(page, 30_000);
    await eventually(() => hasAll(page, told));
    assert.deepEqual((await card(page, fixture)).score, [round, round]);
    assert.match(
      await page.locator('#notice').innerText(),
      /Back\. Everything that happened meanwhile is here\./,
    );
  }
  assert.ok(await page.locator('#hole').isHidden());
});

test('a reader who waits can try now', async (t) => {
  const { server, fixture, told, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await server.kill();
  await pill(page, 'waiting');
  await page.waitForTimeout(4_000);
  await server.restart();
  await publish(fixture.goal('home', 5));
  if (await page.locator('#notice-act').isVisible())
    await page.click('#notice-act').catch(() => {});
  await isLive(page, 8_000);
  await eventually(() => hasAll(page, told));
});

test('offline is said at once; online brings all that was missed, once', async (t) => {
  const { server, fixture, told, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await page.context().setOffline(true);
  await pill(page, 'offline');
  assert.match(await page.locator('#notice').innerText(), /This device is offline\./);
  await publish(fixture.goal('home', 5), fixture.goal('home', 6));
  await page.waitForTimeout(700);
  assert.equal((await feedIds(page)).length, 1, 'offline means offline');
  await page.context().setOffline(false);
  await isLive(page);
  await eventually(() => hasAll(page, told));
  assert.deepEqual((await card(page, fixture)).score, [2, 0]);
});

test('a page that is reloaded in the middle begins with all of it', async (t) => {
  const { server, fixture, told, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await publish(fixture.goal('home', 5));
  await page.reload();
  await publish(fixture.goal('home', 6));
  await isLive(page);
  await publish(fixture.goal('away', 7));
  await eventually(() => hasAll(page, told));
  assert.deepEqual((await card(page, fixture)).score, [2, 1]);
});

test('a page that is reloaded while the API is silent goes on from what it knew', async (t) => {
  const { server, fixture, told, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await publish(fixture.goal('home', 5));
  await eventually(() => hasAll(page, told));
  await page.route('**/v1/live', (route) => route.abort());
  await page.goto('about:blank');
  await publish(fixture.goal('away', 6));
  await page.goto(server.url);
  await isLive(page);
  await eventually(() => hasAll(page, told));
  assert.deepEqual((await card(page, fixture)).score, [1, 1]);
});

test('a log that began anew is told as a gap, and the page shows what is true now', async (t) => {
  const { server, fixture, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await publish(fixture.goal('home', 5));
  await eventually(async () => assert.equal((await feedIds(page)).length, 2));
  await server.kill();
  await server.forget();
  await server.restart();
  const goal = fixture.goal('home', 50);
  await server.publish(goal);
  await page.waitForSelector('#hole:not([hidden])', { timeout: 40_000 });
  assert.match(
    await page.locator('#hole').innerText(),
    /Some events .*are missing: the server began a new log\./,
  );
  await isLive(page);
  await eventually(async () => assert.deepEqual((await card(page, fixture)).score, [2, 0]), 10_000);
  await page.click('#hole-act');
  assert.ok(await page.locator('#hole').isHidden());
  await server.publish(fixture.goal('away', 51));
  await eventually(async () => assert.deepEqual((await card(page, fixture)).score, [2, 1]));
});

test('a hole in what was kept is told, with its reason', { skip: MOCK_ONLY }, async (t) => {
  const { server, fixture, publish } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await server.kill();
  await publish(fixture.goal('home', 5), fixture.goal('home', 6));
  server.mock.first = 2;
  await server.restart();
  await page.waitForSelector('#hole:not([hidden])', { timeout: 20_000 });
  assert.match(await page.locator('#hole').innerText(), /older than what the server keeps/);
  await eventually(async () => assert.deepEqual((await card(page, fixture)).score, [2, 0]), 10_000);
});

test('a page that is too slow is told so', { skip: MOCK_ONLY }, async (t) => {
  const { server } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  server.mock.broadcast({
    op: 'gap',
    topic: 'broadcast:har+nor',
    from: 'p.e1.0',
    to: 'p.e1.0',
    reason: 'slow',
  });
  await page.waitForSelector('#hole:not([hidden])');
  assert.match(
    await page.locator('#hole').innerText(),
    /Some events of har and nor are missing: this page read more slowly/,
  );
});

test('a log that is away, and back, is told in words and figures', { skip: MOCK_ONLY }, async (t) => {
  const { server, publish, fixture } = await dayWithOneMatch(t);
  server.mock.keeps = { state: 'open', waiting: 0, handed_on: 7 };
  const page = await opened(t, server);
  const told = page.locator('#degraded');
  const cell = (name) => page.locator(`[data-figure="${name}"] dd`);
  const says = (words) => eventually(async () => assert.match(await told.innerText(), words));
  const reads = (name, words) =>
    eventually(async () => assert.equal((await cell(name).innerText()).trim(), words));
  await reads('log', 'open');
  await reads('letters', '0');
  const all = ['broadcast', 'update', 'social', 'sensor'];
  server.mock.broadcast({ op: 'status', state: 'degraded', streams: all });
  await pill(page, 'degraded');
  server.mock.keeps = { state: 'spooling', waiting: 41, oldest_ms: 9_000, handed_on: 7 };
  server.mock.panel.dead_letters = 3;
  await says(/shared log is away.*this server’s disk/);
  await reads('log', '41 kept');
  await reads('letters', '3 wait');
  server.mock.broadcast({ op: 'status', state: 'live', streams: all });
  server.mock.keeps = { state: 'handing_on', waiting: 12, oldest_ms: 9_000, handed_on: 36 };
  await says(/is back: what was kept meanwhile is coming in/);
  await pill(page, 'live');
  await reads('log', '12 to come');
  server.mock.keeps = { state: 'open', waiting: 0, handed_on: 48 };
  await says(/All 41 that had to wait came in/);
  await publish(fixture.goal('home', 9));
  await page.waitForSelector('#degraded', { state: 'hidden', timeout: 10_000 });
  await reads('log', 'open');
});

test('a log that takes nothing is told where no stream was said to ail', { skip: MOCK_ONLY }, async (t) => {
  const { server } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  server.mock.keeps = { state: 'closed', waiting: 0, handed_on: 0 };
  await pill(page, 'degraded');
  assert.match(await page.locator('#degraded').innerText(), /Nothing new comes in now:/);
  server.mock.keeps = { state: '<b>', waiting: 'x' };
  await pill(page, 'live');
  assert.match(await page.locator('#degraded').innerText(), /^New events are taken in again\.$/);
});

test('ailing sources are named until they are well', { skip: MOCK_ONLY }, async (t) => {
  const { server } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  server.mock.broadcast({ op: 'status', state: 'degraded', streams: ['social', 'sensor'] });
  await pill(page, 'degraded');
  assert.match(await page.locator('#degraded').innerText(), /social, sensor/);
  server.mock.broadcast({ op: 'status', state: 'live', streams: ['social'] });
  await eventually(async () =>
    assert.doesNotMatch(await page.locator('#degraded').innerText(), /social/),
  );
  server.mock.broadcast({ op: 'status', state: 'live', streams: ['sensor'] });
  await pill(page, 'live');
  assert.match(await page.locator('#degraded').innerText(), /taken in again/);
  await page.waitForSelector('#degraded', { state: 'hidden', timeout: 10_000 });
});

test(
  'a restart that is announced is waited for as long as the server says',
  { skip: MOCK_ONLY },
  async (t) => {
    const { server, fixture, told, publish } = await dayWithOneMatch(t);
    const page = await opened(t, server);
    server.mock.broadcast({ op: 'reconnect', after_ms: 2_500, reason: 'drain' });
    const closed = Date.now();
    server.mock.closeAll(1012);
    await pill(page, 'waiting');
    await publish(fixture.goal('home', 5));
    await isLive(page);
    const waited = Date.now() - closed;
    assert.ok(waited >= 2_400 && waited < 4_500, `${waited} ms`);
    await eventually(() => hasAll(page, told));
  },
);

test('a server that sends us away is obeyed', { skip: MOCK_ONLY }, async (t) => {
  const { server } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  server.mock.closeAll(4501, 'forbidden');
  await pill(page, 'closed');
  assert.match(
    await page.locator('#notice').innerText(),
    /The server ended the connection \(4501: forbidden\)/,
  );
  // Whoever comes back does so within the first ceiling of the backoff, 1 s.
  await page.waitForTimeout(1_500);
  assert.equal(server.mock.sessions.size, 0);
});

test(
  'a line that falls silent is found dead by its missing heartbeats',
  { skip: MOCK_ONLY },
  async (t) => {
    const { server, fixture, told, publish } = await dayWithOneMatch(t, { heartbeatS: 1 });
    const page = await opened(t, server);
    await page.waitForTimeout(2_500);
    await pill(page, 'live');
    server.mock.deaf = true;
    await pill(page, 'waiting');
    server.mock.deaf = false;
    await isLive(page);
    await publish(fixture.goal('home', 5));
    await eventually(() => hasAll(page, told));
  },
);

test('an event that comes twice is shown once, and counted', { skip: MOCK_ONLY }, async (t) => {
  const { server, fixture } = await dayWithOneMatch(t);
  const page = await opened(t, server);
  await server.publish(fixture.goal('home', 5));
  server.mock.broadcast(server.mock.log.at(-1));
  await eventually(async () => assert.equal((await entries(page)).length, 2));
  await server.publish(fixture.card('home', 6));
  await eventually(async () =>
    assert.match(await page.locator('#tally').textContent(), /; 1 came twice/),
  );
  assert.equal((await entries(page)).length, 3);
});
