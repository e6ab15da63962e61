/**
 * The running minute of a match between two of its events. Pure: `now` is an argument.
 *
 * Events say the minute they happened in; nobody sends minutes as such. In between, the board lets
 * the minute run at the pace at which this day runs: a real day at one minute a minute, a replayed
 * one faster. The pace is learnt from pairs of events of one half of one match, and is real time
 * until there are enough of them. A guess never passes the end of a half, nor runs far beyond the
 * day's newest event: while the server is away the matches stand still for all we know. The next
 * event puts it right.
 * @module
 */

const SAMPLES_MIN = 3;
const SAMPLES_MAX = 31;
/** Events closer together say little of the pace, since minutes are whole. */
const MINUTES_MIN = 4;
const PACE_MAX = 1_000;
const MINUTE_MS = 60_000;
/** Minutes of a match that may pass without news of any match before the guess stops. */
const SILENCE_MINUTES_MAX = 10;

const halfOf = (minute) => (minute <= 45 ? 45 : 90);

export class Pace {
  #last = new Map();
  #samples = [];
  #newestMs = 0;

  /** Learns from an event of `match` in `minute` at `atMs`. */
  learn(match, minute, atMs) {
    if (!Number.isFinite(atMs)) return;
    this.#newestMs = Math.max(this.#newestMs, atMs);
    if (!(minute >= 1 && minute <= 90)) return;
    const last = this.#last.get(match);
    const since = last && halfOf(last.minute) === halfOf(minute) ? minute - last.minute : null;
    if (since !== null && since >= 0 && since < MINUTES_MIN) return;
    this.#last.set(match, { minute, atMs });
    if (this.#last.size > 500) this.#last.delete(this.#last.keys().next().value);
    if (since === null || since < 0 || atMs <= last.atMs) return;
    const pace = (since * MINUTE_MS) / (atMs - last.atMs);
    if (pace <= PACE_MAX) this.#samples = [...this.#samples, pace].slice(-SAMPLES_MAX);
  }

  /**
   * Minutes of the match in a minute of the clock: the median of what was seen, real time where
   * that is near.
   */
  get value() {
    if (this.#samples.length < SAMPLES_MIN) return 1;
    const sorted = [...this.#samples].sort((one, other) => one - other);
    const median = sorted[sorted.length >> 1];
    return median > 0.5 && median < 2 ? 1 : median;
  }

  /** The minute of a match whose last event was in `minute` at `atMs`. */
  minuteAt({ minute, status, atMs }, nowMs) {
    if (status !== 'live' || minute < 1 || minute > 90 || !(nowMs > atMs)) return minute;
    const silenceMs = (SILENCE_MINUTES_MAX * MINUTE_MS) / this.value;
    const untilMs = Math.min(nowMs, Math.max(atMs, this.#newestMs) + silenceMs);
    const passed = Math.floor(((untilMs - atMs) / MINUTE_MS) * this.value);
    return Math.max(minute, Math.min(minute + passed, halfOf(minute)));
  }
}
