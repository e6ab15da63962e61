/**
 * The page can be used by keyboard and by ear, read in both themes, on any width, and stays within
 * its policy.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { PHONE, STILL, launch, openPage } from './browser.mjs';
import { afternoon } from './day.mjs';
import { isLive } from './page.mjs';
import { serve } from './server.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function openedDay(t, options) {
  const server = await serve(t);
  const { fixtures, events } = afternoon();
  await server.publish(...events);
  const page = await openPage(browser, server.url, { ...STILL, ...options });
  t.after(async () => {
    await page.context().close();
    assert.deepEqual(page.faults, []);
  });
  await isLive(page);
  return { server, fixtures, page };
}

/**
 * Runs in the page: texts whose contrast with what is behind them is below WCAG's AA, as `text
 * (ratio)`.
 */
function faintTexts() {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [
    r * a + R * (1 - a),
    g * a + G * (1 - a),
    b * a + B * (1 - a),
    1,
  ];
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = rgba(getComputedStyle(at).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = (color) =>
    color
      .slice(0, 3)
      .map((value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      })
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const style = getComputedStyle(element);
    const unseen =
      element.closest('.hidden, script, noscript') ||
      !element.checkVisibility() ||
      element.disabled;
    if (node.data.trim() === '' || unseen || style.clipPath !== 'none') continue;
    const ground = behind(element);
    const ink = over(rgba(style.color), ground);
    const [high, low] = [light(ink), light(ground)].sort((one, other) => other - one);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5))
      faint.push(`${node.data.trim().slice(0, 30)} (${ratio.toFixed(2)})`);
  }
  return faint;
}

/**
 * A goal that the page has called. One that falls between two choices of teams is shown by the
 * snapshot and not called: the next one is.
 */
async function calledGoal(page, server, fixture) {
  for (let minute = 64; ; minute += 1) {
    const goal = fixture.goal('home', minute);
    await server.publish(goal);
    const called = page.waitForSelector('#call[data-kind="goal"]', { timeout: 5_000 });
    if (await called.catch(() => null)) return goal;
    assert.ok(minute < 70, 'a goal is called');
  }
}

for (const colorScheme of ['dark', 'light']) {
  test(`every text can be read in the ${colorScheme} theme, also at a goal and offline`, async (t) => {
    const { server, fixtures, page } = await openedDay(t, { colorScheme });
    assert.deepEqual(await page.evaluate(faintTexts), []);
    await page.click('.chip >> nth=0');
    await page.click('#all');
    const goal = await calledGoal(page, server, fixtures[3]);
    assert.deepEqual(await page.evaluate(faintTexts), []);
    await page.keyboard.press('Escape');
    await server.publish(fixtures[3].overturned(goal, 'home', 75));
    await page.waitForSelector('#call[data-kind="var"]');
    assert.deepEqual(await page.evaluate(faintTexts), []);
    await page.context().setOffline(true);
    await page.waitForSelector('#pill[data-state="offline"]');
    assert.deepEqual(await page.evaluate(faintTexts), []);
  });
}

test('the measure of contrast finds what is faint', async (t) => {
  const { page } = await openedDay(t);
  await page.evaluate(() => {
    document.getElementById('matches-title').style.color = '#333';
  });
  assert.match((await page.evaluate(faintTexts)).join(), /^Matches \(/);
});

test('landmarks, headings, names and live regions are as assistive technology expects', async (t) => {
  const { page } = await openedDay(t);
  const found = await page.evaluate(() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const named = (element) =>
      (element.getAttribute('aria-label') ?? '').trim() ||
      all(`#${element.getAttribute('aria-labelledby')}`)
        .map(({ textContent }) => textContent)
        .join('')
        .trim() ||
      (element.labels
        ? [...element.labels]
            .map(({ textContent }) => textContent)
            .join('')
            .trim()
        : '') ||
      element.textContent.trim();
    const ids = all('[id]').map(({ id }) => id);
    return {
      lang: document.documentElement.lang,
      title: document.title,
      landmarks: ['header', 'main', 'footer'].map((name) => all(name).length),
      headings: all('h1, h2, h3').map(({ tagName }) => Number(tagName[1])),
      nameless: all('button, input, section, article, [role="log"], [role="toolbar"]')
        .filter((element) => element.checkVisibility() && !named(element))
        .map(({ outerHTML }) => outerHTML.slice(0, 60)),
      images: all('img:not([alt]), svg:not([aria-hidden="true"]), canvas:not([aria-hidden="true"])')
        .length,
      twice: ids.filter((id, index) => ids.indexOf(id) !== index),
      dangling: all('[aria-labelledby], [aria-describedby]')
        .flatMap((element) =>
          `${element.getAttribute('aria-labelledby') ?? ''} ${element.getAttribute('aria-describedby') ?? ''}`
            .trim()
            .split(' '),
        )
        .filter((id) => !document.getElementById(id)),
      live: all('[aria-live]').map((element) => [
        element.id || element.className,
        element.getAttribute('aria-live'),
      ]),
      lists: all('ul, ol').filter((list) =>
        [...list.children].some(({ tagName }) => tagName !== 'LI'),
      ).length,
    };
  });
  const { headings, live, ...rest } = found;
  assert.deepEqual(rest, {
    lang: 'en',
    title: 'Touchline: live board',
    landmarks: [1, 1, 1],
    nameless: [],
    images: 0,
    twice: [],
    dangling: [],
    lists: 0,
  });
  assert.equal(headings.filter((level) => level === 1).length, 1);
  assert.ok(
    headings.every((level, index) => level <= (headings[index - 1] ?? 0) + 1),
    headings.join(),
  );
  assert.deepEqual(live.sort(), [
    ['log', 'polite'],
    ['notices', 'polite'],
    ['shout', 'assertive'],
  ]);
});

test('the accessibility tree tells a match and its score in words', async (t) => {
  const { page } = await openedDay(t);
  const snapshot = await page.locator('.card').first().ariaSnapshot();
  assert.match(snapshot, /Harbour City against Northgate United/);
  assert.match(snapshot, /Harbour City.*2/s);
  assert.match(await page.locator('#panel').ariaSnapshot(), /Sockets/);
  assert.match(await page.locator('#chips').ariaSnapshot(), /button "Bayview"/);
});

const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { top, bottom } = element.getBoundingClientRect();
    return {
      name: element.id || element.className || element.tagName,
      ring: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
      inSight: bottom > 0 && top < innerHeight,
    };
  });

test('the page can be walked by keyboard, and shows where one is', async (t) => {
  const { page } = await openedDay(t);
  const walk = [];
  for (let step = 0; step < 5; step += 1) {
    await page.keyboard.press('Tab');
    const { name, ring, inSight } = await focused(page);
    assert.ok(ring && inSight, `${name}: ring ${ring}, in sight ${inSight}`);
    walk.push(name);
  }
  assert.deepEqual(walk, ['skip', 'theme', 'search', 'chip', 'log']);
});

test('the first stop leads past everything to the matches', async (t) => {
  const { page } = await openedDay(t);
  await page.keyboard.press('Tab');
  assert.ok((await page.locator('.skip').boundingBox()).y >= 0, 'in sight when it has the focus');
  await page.keyboard.press('Enter');
  assert.equal((await focused(page)).name, 'matches');
});

test('teams are one stop, walked by arrows and toggled by space', async (t) => {
  const { page } = await openedDay(t);
  const team = () => page.evaluate(() => document.activeElement.dataset.name);
  await page.focus('#search');
  await page.keyboard.press('Tab');
  assert.equal(await team(), 'Bayview');
  for (const [key, name] of [
    ['ArrowRight', 'Castleford Vale'],
    ['ArrowLeft', 'Bayview'],
    ['ArrowLeft', 'Westhaven'],
    ['Home', 'Bayview'],
    ['End', 'Westhaven'],
    ['ArrowRight', 'Bayview'],
  ]) {
    await page.keyboard.press(key);
    assert.equal(await team(), name, key);
    assert.ok((await focused(page)).ring);
  }
  await page.keyboard.press('Space');
  assert.equal(await page.getAttribute('.chip[data-team="bay"]', 'aria-pressed'), 'true');
  assert.match(await page.locator('#follow-note').textContent(), /^You follow 1 team;/);
  assert.equal(await page.locator('.chip[tabindex="0"]').count(), 1);
  await page.waitForTimeout(600);
  assert.equal(await team(), 'Bayview', 'the focus stays');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Shift+Tab');
  assert.equal((await focused(page)).name, 'search', 'past the button that follows all');
});

test('the theme follows the system until it is chosen, and then the choice', async (t) => {
  const { page } = await openedDay(t, { colorScheme: 'light' });
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.notEqual(await paper(), light);
  await page.waitForSelector('#theme[aria-pressed="false"]');
  await page.click('#theme');
  assert.equal(await paper(), light);
  assert.equal(await page.getAttribute('#theme', 'aria-pressed'), 'true');
  await page.reload();
  assert.equal(await paper(), light);
});

test('nothing is cut off on narrow screens, nor with large letters', async (t) => {
  const { page } = await openedDay(t, { viewport: PHONE });
  for (const width of [320, 390, 768, 1024, 1920]) {
    await page.setViewportSize({ width, height: 800 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${over} px too wide at ${width}`);
  }
  await page.setViewportSize({ width: 640, height: 800 });
  await page.evaluate(() => {
    document.documentElement.style.fontSize = '200%';
  });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0);
});

test('targets are large enough for a finger', async (t) => {
  const { page } = await openedDay(t, { viewport: PHONE });
  const small = await page.evaluate(() =>
    [...document.querySelectorAll('button, input')]
      .filter((element) => element.checkVisibility())
      .map((element) => [element.id || element.className, element.getBoundingClientRect()])
      .filter(([, { width, height }]) => width < 24 || height < 24)
      .map(([name]) => name),
  );
  assert.deepEqual(small, []);
});

test('the policy is in force: a script or a style in the page’s text is refused', async (t) => {
  const { page } = await openedDay(t);
  const refused = await page.evaluate(
    () =>
      new Promise((done) => {
        const seen = [];
        document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
          seen.push(effectiveDirective);
          if (seen.length === 2) done(seen.sort());
        });
        const script = document.createElement('script');
        script.textContent = 'document.title = "owned"';
        const style = document.createElement('style');
        style.textContent = 'body { display: none }';
        document.body.append(script, style);
        setTimeout(() => done(seen), 1_000);
      }),
  );
  assert.deepEqual(refused, ['script-src-elem', 'style-src-elem']);
  assert.equal(await page.title(), 'Touchline: live board');
  assert.equal(page.faults.length, 2, 'and the tests notice');
  page.faults.length = 0;
});
