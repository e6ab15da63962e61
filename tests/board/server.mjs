/**
 * The server under test: the mock, or the real binary where TOUCHLINE_BIN names it. Both do the
 * same for a test: `publish` events, `kill` it as `kill -9` does, `restart` it on the same ports,
 * `forget` all it knew.
 */

import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Mock } from './mock-server.mjs';

const BIN = process.env.TOUCHLINE_BIN;
const READY_MS = 20_000;

/** Whether tests run against the real binary. */
export const REAL = Boolean(BIN);

/**
 * A fresh server that is stopped when the test `t` ends. Both kinds take `teamsMax`, the teams of a
 * session; for the others see the mock.
 */
export async function serve(t, options) {
  const server = REAL ? new Real(options) : new Mocked(options);
  t.after(() => server.stop());
  await server.start();
  return server;
}

class Mocked {
  constructor(options) {
    this.mock = new Mock(options);
  }
  get url() {
    return this.mock.boardUrl;
  }
  start() {
    return this.mock.listen();
  }
  async publish(...events) {
    this.mock.publish(events);
  }
  kill() {
    return this.mock.kill();
  }
  restart() {
    return this.mock.listen();
  }
  async stop() {
    await this.mock.kill().catch(() => {});
  }

  forget() {
    this.mock.log = [];
    this.mock.epoch = `e${Math.random()}`.replace('.', '');
  }
}

class Real {
  mock = null;
  #teamsMax;
  #child = null;
  #ports = [];
  #folder = '';
  #secret = randomBytes(32);
  #log = '';

  constructor({ teamsMax = 20 } = {}) {
    this.#teamsMax = teamsMax;
  }

  get url() {
    return `http://127.0.0.1:${this.#ports[1]}/`;
  }

  async start() {
    this.#folder = await mkdtemp(join(tmpdir(), 'touchline-board-'));
    this.#ports = await freePorts(3);
    const [stream, api, admin] = this.#ports.map((port) => `"127.0.0.1:${port}"`);
    const lines = [
      '[node]',
      `data_dir = "${this.#folder}/data"`,
      'connections_max = 1000',
      'shards = 1',
      '[listen]',
      `stream = ${stream}`,
      `api = ${api}`,
      `admin = ${admin}`,
      '[sources.broadcast.skyline]',
      'secrets_file = "skyline.secrets"',
      '[sessions]',
      `teams_max = ${this.#teamsMax}`,
      '',
    ];
    await writeFile(join(this.#folder, 'touchline.toml'), lines.join('\n'));
    await writeFile(
      join(this.#folder, 'skyline.secrets'),
      `whsec_${this.#secret.toString('base64')}\n`,
      { mode: 0o600 },
    );
    await this.restart();
  }

  async restart() {
    const child = spawn(BIN, ['serve', '--config', join(this.#folder, 'touchline.toml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        this.#log = (this.#log + chunk).slice(-20_000);
      });
    }
    for (const end = Date.now() + READY_MS; Date.now() < end; await sleep(50)) {
      if (child.exitCode !== null) break;
      const answer = await fetch(`${this.url}v1/live`).catch(() => null);
      if (answer?.ok) return;
    }
    throw new Error(`the server did not become ready:\n${this.#log}`);
  }

  async publish(...events) {
    for (let start = 0; start < events.length; start += 100)
      await this.#post(events.slice(start, start + 100));
  }

  async #post(events) {
    const body = JSON.stringify(events);
    const id = `msg_${randomBytes(8).toString('hex')}`;
    const seconds = String(Math.floor(Date.now() / 1000));
    const signature = createHmac('sha256', this.#secret)
      .update(`${id}.${seconds}.${body}`)
      .digest('base64');
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': seconds,
      'webhook-signature': `v1,${signature}`,
    };
    const answer = await fetch(`${this.url}v1/ingest/broadcast/skyline`, {
      method: 'POST',
      headers,
      body,
    });
    if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
  }

  async kill() {
    const gone = new Promise((done) => {
      this.#child.once('exit', done);
    });
    this.#child.kill('SIGKILL');
    await gone;
  }

  async forget() {
    await rm(join(this.#folder, 'data'), { recursive: true, force: true });
  }

  async stop() {
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null)
      await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((done) => {
          const server = createServer().listen(0, '127.0.0.1', () => done(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(
    servers.map(
      (server) =>
        new Promise((done) => {
          server.close(done);
        }),
    ),
  );
  return ports;
}
