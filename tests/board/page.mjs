/** What a page shows, read as a visitor would. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** Tries `check` until it doesn't throw, for a few seconds. */
export async function eventually(check, withinMs = 6_000) {
  const end = Date.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(50);
    }
  }
}

export async function isLive(page, withinMs = 10_000) {
  await page.waitForSelector('#pill[data-state="live"]', { timeout: withinMs });
  await page.waitForSelector('.card', { timeout: withinMs });
}

/** A match's card: names, score, clock, state, tag, scorers, bookings. */
export function card(page, { base: { match } }) {
  return page.evaluate((id) => {
    const root = document.querySelector(`.card[data-match="${id}"]`);
    const text = (selector) => root.querySelector(selector)?.textContent ?? '';
    const texts = (selector) =>
      [...root.querySelectorAll(selector)].map((element) => element.textContent);
    return {
      names: texts('.name'),
      score: texts('.figure .hidden').map(Number),
      clock: text('.clock'),
      state: text('.state'),
      tag: root.querySelector('.tag').innerText,
      scorers: texts('.scorers li'),
      bookings: texts('.bookings .hidden').join(),
    };
  }, match);
}

/** The feed, newest first: `{text, overturned}`. */
export function entries(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('.entry')].map((entry) => ({
      text: entry.innerText.replace(/\s+/g, ' '),
      overturned: entry.dataset.overturned === 'yes',
    })),
  );
}

export const idOf = ({ id }) => `skyline ${id}`;

export function feedIds(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('.entry')].map(({ dataset }) => dataset.event),
  );
}

/** Every one of `events` is in the feed, once, in order, and the client dropped no repeat. */
export async function hasAll(page, events) {
  assert.deepEqual(await feedIds(page), [...events].reverse().map(idOf));
  assert.match(await page.locator('#tally').textContent(), /; 0 came twice\.$/);
}
