/** Chromium without a window, and pages that notice what a good page doesn't do. */

import { chromium } from 'playwright-core';

const PATH = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

export function launch() {
  return chromium.launch({ executablePath: PATH, args: FLAGS, headless: true });
}

export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
/** For tests in which nothing has to move: drawing without a GPU takes most of a page's time. */
export const STILL = { reducedMotion: 'reduce' };

/**
 * A page that keeps `faults`: scripts that failed, violations of the content security policy,
 * requests to other hosts. Lines that were cut on purpose make the browser complain on its console;
 * those complaints are no faults.
 */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: DESK, colorScheme: 'dark', ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) page.faults.push(message.text());
  });
  page.on('request', (request) => {
    if (!/^(http|ws):\/\/127\.0\.0\.1:/.test(request.url()))
      page.faults.push(`asked for ${request.url()}`);
  });
  if (url) await page.goto(url);
  return page;
}
