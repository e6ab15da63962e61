/** Screenshots to look at: `node look.mjs [folder]`. Not a test. */

import { mkdir } from 'node:fs/promises';
import { DESK, PHONE, launch, openPage } from './browser.mjs';
import { afternoon } from './day.mjs';
import { Mock } from './mock-server.mjs';

const folder = process.argv[2] ?? 'shots';
await mkdir(folder, { recursive: true });
const browser = await launch();
const mock = new Mock();
await mock.listen();
const { fixtures, events } = afternoon();
mock.publish(events);
const source = (name, state, staleness_ms, more = {}) => ({
  name,
  kind: 'sensor',
  state,
  staleness_ms,
  events_per_s: state === 'fresh' ? 4 : 0,
  breaker: state === 'failing' ? 'open' : 'closed',
  ...more,
});
mock.sources = [
  source('venue-2', 'failing', 5_100),
  source('venue-8', 'stale', 2_800),
  ...[1, 3, 4, 5, 6, 7, 9, 10].map((n) => source(`venue-${n}`, 'fresh', 70 * n)),
  source('matchday', 'fresh', 600, { kind: 'broadcast', breaker: undefined, events_per_s: 1.2 }),
  source('plaza', 'fresh', 300, { kind: 'social', breaker: undefined }),
];
mock.panel.dead_letters = 3;
const CALM = { state: 'open', waiting: 0, handed_on: 0 };
mock.keeps = CALM;

/** What sensors and people say of each match. */
function crowd() {
  const occurred_at = new Date().toISOString();
  const said = ['Come on you Reds!', 'عاش الفريق', `<b>${'ref'.repeat(40)}</b>`, '🎶 not really here 🎶'];
  fixtures.forEach(({ home, away }, n) => {
    const of = (stream, type, data) => ({
      stream,
      id: `${stream}-${type}-${home}-${occurred_at}`,
      source: stream,
      type,
      teams: [home, away],
      occurred_at,
      data,
    });
    mock.publish([
      of('sensor', 'noise', { value: 70 + 4 * n, unit: 'dB' }),
      of('sensor', 'wind', { value: n / 2, unit: 'm/s' }),
      of('sensor', 'possession', { home: 40 + n, away: 60 - n, unit: '%' }),
      of('social', 'post', { text: said[n % said.length], author: 'row_z' }),
    ]);
  });
}

for (const [size, viewport] of Object.entries({ desk: DESK, phone: PHONE })) {
  for (const colorScheme of ['dark', 'light']) {
    const page = await openPage(browser, mock.boardUrl, {
      viewport,
      colorScheme,
      deviceScaleFactor: size === 'phone' ? 2 : 1,
    });
    const shot = async (name) =>
      page.screenshot({ path: `${folder}/${size}-${colorScheme}-${name}.png` });
    await page.waitForSelector('#pill[data-state="live"]');
    crowd();
    await page.waitForTimeout(2500);
    await shot('calm');
    await page.screenshot({ path: `${folder}/${size}-${colorScheme}-full.png`, fullPage: true });
    mock.keeps = { state: 'spooling', waiting: 41, oldest_ms: 9_000, handed_on: 0 };
    await page.waitForTimeout(1500);
    await shot('spooling');
    mock.keeps = { state: 'handing_on', waiting: 12, oldest_ms: 9_000, handed_on: 29 };
    await page.waitForTimeout(1500);
    await shot('back');
    mock.keeps = CALM;
    const goal = fixtures[3].goal('home', 63, 'A. Okafor');
    mock.publish([goal]);
    await page.waitForTimeout(900);
    await shot('goal');
    await page.waitForTimeout(2900);
    await shot('score');
    await page.keyboard.press('Escape');
    mock.publish([fixtures[3].overturned(goal, 'home', 65)]);
    await page.waitForTimeout(900);
    await shot('var');
    await page.keyboard.press('Escape');
    await page.context().setOffline(true);
    await page.waitForTimeout(700);
    await shot('offline');
    console.log(size, colorScheme, page.faults);
    await page.context().close();
  }
}
await browser.close();
await mock.kill();
