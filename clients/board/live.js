/**
 * `GET /v1/live`: the state of the day in one answer, asked for once a second while somebody looks.
 *
 * It serves twice: the first answer is what the page begins with, and carries the mark to follow
 * from (R27); the others bring figures and running minutes. A server that doesn't answer is asked
 * less and less often.
 * @module
 */

import { backoffMs } from './touchline.js';

const POLL_MS = 1_000;
const TIMEOUT_MS = 4_000;

/** One answer, or an error. */
export async function fetchLive() {
  const answer = await fetch('/v1/live', {
    cache: 'no-cache',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!answer.ok) throw new Error(`/v1/live answered ${answer.status}`);
  return answer.json();
}

/** Where the stream is: a whole address, or a port of the host that this page came from. */
export function streamUrl({ stream }, place = location) {
  if (stream?.url) return new URL(stream.url, place.href).href.replace(/^http/, 'ws');
  const scheme = place.protocol === 'https:' ? 'wss' : 'ws';
  return `${scheme}://${place.hostname}:${Number(stream?.port)}/v1/stream`;
}

/** Asks again and again. `onLive(live)`, `onFailure(seconds)` until the next try. */
export class Poll {
  #onLive;
  #onFailure;
  #failures = 0;
  #timer = null;
  #busy = false;

  constructor({ onLive, onFailure }) {
    this.#onLive = onLive;
    this.#onFailure = onFailure;
    document.addEventListener('visibilitychange', () => this.now());
    addEventListener('online', () => this.now());
  }

  /** Asks at once, unless nobody looks. */
  async now() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#busy) return;
    this.#busy = true;
    let wait = POLL_MS;
    let live = null;
    try {
      live = await fetchLive();
      this.#failures = 0;
    } catch {
      wait = Math.max(POLL_MS, backoffMs(this.#failures, 1006, null, Math.random()));
      this.#failures += 1;
    }
    this.#busy = false;
    this.#timer = setTimeout(() => this.now(), wait);
    if (live) this.#onLive(live);
    else this.#onFailure(Math.ceil(wait / 1_000));
  }
}
