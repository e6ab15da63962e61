/**
 * The board shows the match day: also to a page opened in its middle, also of some teams only, and
 * a goal to everybody.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { PHONE, launch, openPage } from './browser.mjs';
import { Fixture, afternoon } from './day.mjs';
import { card, entries, feedIds, idOf, isLive, eventually } from './page.mjs';
import { REAL, serve } from './server.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function opened(t, server, options) {
  const page = await openPage(browser, server.url, options);
  t.after(async () => {
    await page.context().close();
    assert.deepEqual(page.faults, []);
  });
  await isLive(page);
  return page;
}

/** Waits for the page's next line, and there for a frame that says `what`. */
async function nextLine(page, what) {
  const line = await page.waitForEvent('websocket', { timeout: 5_000 });
  await line.waitForEvent('framereceived', ({ payload }) => what.test(String(payload)));
}

test('a page opened in the middle shows the whole day', async (t) => {
  const server = await serve(t);
  const { fixtures, events } = afternoon();
  await server.publish(...events);
  const page = await opened(t, server);
  assert.equal(await page.locator('.card').count(), 10);
  for (const fixture of fixtures) {
    const seen = await card(page, fixture);
    assert.deepEqual(seen.score, [fixture.score.home, fixture.score.away], fixture.base.match);
    assert.equal(seen.scorers.length, fixture.score.home + fixture.score.away);
    assert.equal(seen.clock, fixture.status === 'live' ? `${fixture.minute}′` : '');
  }
  const { scorers, names, bookings } = await card(page, fixtures[0]);
  assert.deepEqual(names, ['Harbour City', 'Northgate United']);
  assert.deepEqual(scorers, ['R. Silva 4′', 'J. Lindqvist (pen.) 21′', 'P. Novák 38′']);
  assert.equal(bookings, '1 yellow, 0 red cards');
  assert.deepEqual(await feedIds(page), events.slice(-50).reverse().map(idOf));
  await eventually(async () =>
    assert.match(await page.locator('[data-figure="sockets"] b').textContent(), /^\d/),
  );
  assert.equal(
    await page.locator('#call').getAttribute('data-kind'),
    'idle',
    'goals of before are no news',
  );
});

test('what happens is on the page at once', async (t) => {
  const server = await serve(t);
  const fixture = new Fixture(1);
  await server.publish(fixture.scheduled(), fixture.kickoff());
  const page = await opened(t, server);
  const goal = fixture.goal('away', 45, 'É. Tremblay', { stoppage: 2, note: 'own_goal' });
  const booked = fixture.card('home', 45, 'red');
  const half = fixture.turn('half_time', 'match.half_time', 45);
  await server.publish(goal, booked, half);
  await eventually(async () => {
    const { score, state, scorers, bookings } = await card(page, fixture);
    assert.deepEqual(
      [score, state, scorers, bookings],
      [[0, 1], 'Half time', ['É. Tremblay (o.g.) 45+2′'], '0 yellow, 1 red cards'],
    );
  });
  const [first, second, third] = await entries(page);
  assert.match(first.text, /45′ ?Half time/);
  assert.match(second.text, /Red card/);
  assert.match(third.text, /45\+2′ ?Goal É\. Tremblay, own goal.*Eastmere Rovers 0–1 Old Quay/s);
});

test('a goal is called over the whole page, and into the ear', async (t) => {
  const server = await serve(t);
  const fixture = new Fixture(0);
  await server.publish(fixture.kickoff());
  const page = await opened(t, server);
  await page.waitForTimeout(1_000);
  const calm = await page.locator('#wall').screenshot();
  await server.publish(fixture.goal('home', 23, 'A. Okafor'));
  await page.waitForSelector('#call[data-kind="goal"]', { timeout: 2_000 });
  assert.match(
    await page.locator('#call').innerText(),
    /GOAL\s+Harbour City 1–0 Northgate United\s+·\s+A\. Okafor, 23′/i,
  );
  assert.equal(
    await page.locator('#shout').textContent(),
    'Goal! Harbour City. Harbour City 1–0 Northgate United. A. Okafor, 23′.',
  );
  assert.equal(await page.locator('#shout').getAttribute('aria-live'), 'assertive');
  assert.equal(await page.locator('.card[data-flash="goal"] .tag').innerText(), 'GOAL');
  await eventually(async () =>
    assert.notDeepEqual(await page.locator('#wall').screenshot(), calm),
  );
  const box = await page.locator('#call').boundingBox();
  assert.ok(box.width >= 1_400 && box.y >= 0 && box.y < 400, 'in sight, as wide as the page');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#call[data-kind="idle"]');
});

test('goals that come together are called one after the other, the last one soon', async (t) => {
  const server = await serve(t);
  const fixtures = [0, 1, 2].map((number) => new Fixture(number));
  await server.publish(...fixtures.map((fixture) => fixture.kickoff()));
  const page = await opened(t, server);
  for (const fixture of fixtures) await server.publish(fixture.goal('home', 23));
  for (const name of ['Harbour City', 'Eastmere Rovers', 'Victoria Park']) {
    await eventually(
      async () => assert.ok((await page.locator('#call-who').textContent()).startsWith(name)),
      4_500,
    );
  }
  assert.equal(await page.locator('.card[data-flash="goal"]').count(), 3);
});

test('a goal is in sight wherever the page has been scrolled to', async (t) => {
  const server = await serve(t);
  const { fixtures, events } = afternoon();
  await server.publish(...events);
  const page = await opened(t, server, { viewport: PHONE });
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await server.publish(fixtures[0].goal('home', 64));
  await page.waitForSelector('#call[data-kind="goal"]');
  const { y, height } = await page.locator('#call').boundingBox();
  assert.ok(y >= 0 && y + height <= PHONE.height, `at ${y}`);
});

test('whoever prefers reduced motion gets the goal without it', async (t) => {
  const server = await serve(t);
  const fixture = new Fixture(0);
  await server.publish(fixture.kickoff());
  const page = await opened(t, server, { reducedMotion: 'reduce' });
  await server.publish(fixture.goal('home', 23));
  await page.waitForSelector('#call[data-kind="goal"]');
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  const first = await page.locator('#wall').screenshot();
  await page.waitForTimeout(300);
  assert.deepEqual(await page.locator('#wall').screenshot(), first, 'the wall stands still');
});

test('a goal that is taken back is taken back everywhere', async (t) => {
  const server = await serve(t);
  const fixture = new Fixture(0);
  const goal = fixture.goal('home', 23, 'A. Okafor');
  await server.publish(goal);
  const page = await opened(t, server);
  assert.deepEqual((await card(page, fixture)).score, [1, 0]);
  await server.publish(fixture.overturned(goal, 'home', 25));
  await page.waitForSelector('#call[data-kind="var"]');
  assert.match(
    await page.locator('#shout').textContent(),
    /^No goal! Harbour City\. .* 0–0 .*Taken back after review, 25′\.$/,
  );
  const { score, scorers, tag } = await card(page, fixture);
  assert.deepEqual([score, scorers, tag], [[0, 0], [], 'NO GOAL']);
  const [first, second] = await entries(page);
  assert.match(first.text, /Goal overturned/);
  assert.ok(second.overturned);
  assert.match(second.text, /taken back/);
});

test('a match that is announced later appears, and is followed', async (t) => {
  const server = await serve(t);
  const [one, other] = [new Fixture(0), new Fixture(1)];
  await server.publish(one.kickoff());
  const page = await opened(t, server);
  await server.publish(other.scheduled(), other.kickoff());
  await page.waitForSelector('.card[data-match="m1"]', { timeout: 8_000 });
  await isLive(page);
  await server.publish(other.goal('away', 5));
  await eventually(async () => assert.deepEqual((await card(page, other)).score, [0, 1]));
  assert.equal((await entries(page)).length, 4);
});

test('before anything is announced the page says so, and then begins by itself', async (t) => {
  const server = await serve(t);
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  await page.waitForSelector('#cards-empty:not([hidden])');
  await server.publish(new Fixture(0).kickoff());
  await page.waitForSelector('.card', { timeout: 8_000 });
  await isLive(page);
});

test('chosen teams are the only ones seen and followed, until all are wanted again', async (t) => {
  const server = await serve(t);
  const fixtures = [0, 1, 2].map((number) => new Fixture(number));
  await server.publish(...fixtures.map((fixture) => fixture.kickoff()));
  const page = await opened(t, server);
  await page.fill('#search', 'quay');
  assert.deepEqual(await page.locator('.chip:visible').allInnerTexts(), ['Old Quay']);
  const begun = nextLine(page, /"op":"subscribed"/);
  await page.press('#search', 'Enter');
  await page.waitForFunction(() => document.querySelectorAll('.card').length === 1);
  await begun;
  await isLive(page);
  if (!REAL) assert.deepEqual(server.mock.requests.at(-1).teams, ['old']);
  await server.publish(fixtures[0].goal('home', 7), fixtures[1].goal('away', 8));
  await eventually(async () => assert.deepEqual((await card(page, fixtures[1])).score, [0, 1]));
  const said = (await entries(page)).map(({ text }) => text);
  assert.equal(said.length, 2);
  assert.ok(
    said.every((text) => text.includes('Old Quay')),
    said.join(),
  );
  assert.doesNotMatch(await page.locator('#shout').textContent(), /Harbour/);

  await page.reload();
  await isLive(page);
  assert.equal(await page.locator('.card').count(), 1, 'the choice outlives a reload');
  await page.click('#all');
  await eventually(async () => {
    assert.equal(await page.locator('.card').count(), 3);
    assert.deepEqual(
      (await card(page, fixtures[0])).score,
      [1, 0],
      'what happened unseen is there',
    );
  });
  await isLive(page);
  await server.publish(fixtures[0].goal('home', 9));
  await eventually(async () => assert.deepEqual((await card(page, fixtures[0])).score, [2, 0]));
});

test('a choice made while the snapshot lags takes back neither goal nor card', async (t) => {
  const server = await serve(t);
  const fixture = new Fixture(0);
  await server.publish(fixture.kickoff());
  const page = await opened(t, server);
  const body = await page.evaluate(() => fetch('/v1/live').then((answer) => answer.text()));
  await page.route('**/v1/live', (route) =>
    route.fulfill({ body, contentType: 'application/json' }),
  );
  await server.publish(fixture.goal('home', 9, 'A. Okafor'), fixture.card('away', 10, 'red'));
  const whole = async () => {
    const { score, scorers, bookings } = await card(page, fixture);
    assert.deepEqual(
      [score, scorers, bookings],
      [[1, 0], ['A. Okafor 9′'], '0 yellow, 1 red cards'],
    );
    assert.match(await page.locator('#tally').textContent(), /^2 came to this one; 0 came twice/);
    assert.equal((await entries(page)).length, 3);
  };
  await eventually(whole);
  await page.keyboard.press('Escape');
  const begun = nextLine(page, /card\.red/);
  await page.click('.chip[data-team="har"]');
  await begun;
  await eventually(whole);
  assert.equal(await page.locator('#call').getAttribute('data-kind'), 'idle', 'nor calls it anew');
});

for (const [teamsMax, dealt] of [
  [20, [10, 20]],
  [10, [10, 10, 10]],
]) {
  test(`a day of more teams than the ${teamsMax} of a session is followed whole`, async (t) => {
    const server = await serve(t, { teamsMax });
    const fixtures = Array.from({ length: 15 }, (_, number) => {
      const fixture = new Fixture(number % 10);
      if (number < 10) return fixture;
      Object.assign(fixture.base, { match: `m${number}`, home: `x${number}`, away: `y${number}` });
      return Object.assign(fixture, { home: `x${number}`, away: `y${number}` });
    });
    await server.publish(...fixtures.map((fixture) => fixture.kickoff()));
    const page = await opened(t, server);
    if (!REAL) {
      const followed = [...server.mock.sessions].map(({ teams }) => teams.size).sort();
      assert.deepEqual(followed, dealt);
    }
    await server.publish(...fixtures.map((fixture) => fixture.goal('home', 2)));
    await eventually(async () => {
      for (const fixture of fixtures)
        assert.deepEqual((await card(page, fixture)).score, [1, 0], fixture.base.match);
    });
    assert.equal(new Set(await feedIds(page)).size, 30);
    assert.equal((await feedIds(page)).length, 30);
  });
}

test('what a source writes is text, whatever it looks like', async (t) => {
  const server = await serve(t);
  const fixture = new Fixture(0);
  const evil = '<img src=x onerror="document.title=1"><b>Bo</b>';
  Object.assign(fixture.base, { home_name: evil, ground: evil, competition: evil });
  await server.publish(fixture.kickoff());
  const page = await opened(t, server);
  await server.publish(fixture.goal('home', 5, evil, { note: 'constructor' }));
  await page.waitForSelector('#call[data-kind="goal"]');
  await page.waitForTimeout(200);
  assert.equal(await page.locator('main img, .call img, main b b').count(), 0);
  assert.equal(await page.title(), 'Touchline: live board');
  assert.doesNotMatch(await page.locator('#call').innerText(), /function/);
  assert.ok((await card(page, fixture)).names[0].startsWith('<img'));
});

test('nobody looks: nothing is asked', async (t) => {
  const server = await serve(t);
  await server.publish(new Fixture(0).kickoff());
  const page = await opened(t, server);
  let asked = 0;
  page.on('request', (request) => {
    asked += request.url().endsWith('/v1/live') ? 1 : 0;
  });
  const hide = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  await page.waitForTimeout(300);
  asked = 0;
  await page.waitForTimeout(1_500);
  assert.equal(asked, 0, 'a poll would have come within 1 s');
  await hide(false);
  await page.waitForTimeout(300);
  assert.ok(asked > 0);
});
