/**
 * The picture of README.md, made anew from a match day that really runs:
 *
 *   TOUCHLINE_BIN=../../target/release/touchline node picture.mjs ../../docs/images/board.png
 *
 * It starts `touchline demo --trouble`, lets it play for a while, and waits for a goal while some
 * sources ail. A picture that would be heavy is refused.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, openPage } from './browser.mjs';

const BYTES_MAX = 400_000;
/** Matches are well under way then, and the instruments have drawn a line. */
const PLAY_MS = 75_000;
const GOAL_MAX_MS = 120_000;
const SIZE = { width: 1440, height: 1080 };

const [path] = process.argv.slice(2);
const { TOUCHLINE_BIN: bin } = process.env;
if (!path || !bin) {
  console.error('TOUCHLINE_BIN=<the binary> node picture.mjs <file.png>');
  process.exit(2);
}

const folder = await mkdtemp(join(tmpdir(), 'touchline-picture-'));
const any = ['--stream', '--api', '--admin'].flatMap((port) => [port, '127.0.0.1:0']);
const demo = spawn(
  bin,
  ['demo', '--trouble', '--seed', '7', '--speed', '60', '--data-dir', folder, ...any],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
const ended = new Promise((done) => {
  demo.once('exit', done);
});
let browser = null;
try {
  let url = null;
  for await (const line of createInterface({ input: demo.stdout })) {
    url = line.match(/^The board: (\S+)/)?.[1];
    if (url) break;
  }
  if (!url) throw new Error('the demo did not say where its board is');
  demo.stdout.resume();
  browser = await launch();
  const page = await openPage(browser, url, { viewport: SIZE });
  await page.waitForTimeout(PLAY_MS);
  await page.waitForSelector('#call[data-kind="goal"]', { timeout: GOAL_MAX_MS });
  // The wall has turned its dots by then.
  await page.waitForTimeout(1_200);
  await page.screenshot({ path });
  if (page.faults.length > 0) throw new Error(page.faults.join('\n'));
} finally {
  await browser?.close();
  demo.kill('SIGINT');
  await ended;
  await rm(folder, { recursive: true, force: true });
}
const { size } = await stat(path);
if (size > BYTES_MAX) throw new Error(`${path} has ${size} bytes; ${BYTES_MAX} at most`);
console.log(`${path}: ${size} bytes`);
