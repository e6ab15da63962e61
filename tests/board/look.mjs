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
    await page.waitForTimeout(2500);
    await shot('calm');
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
    if (size === 'phone')
      await page.screenshot({ path: `${folder}/${size}-${colorScheme}-full.png`, fullPage: true });
    console.log(size, colorScheme, page.faults);
    await page.context().close();
  }
}
await browser.close();
await mock.kill();
