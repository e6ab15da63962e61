/**
 * What the page says about its line: a pill that is always there, and notices for what a reader
 * should know.
 *
 * Three notices, since they have different ends: the connection's (ends when it is back), a hole in
 * what was received (ends when the reader has seen it), and ailing streams (ends when the server
 * says so, see `intake.js`).
 * @module
 */

import { Intake } from './intake.js';

const PILL = {
  idle: 'No matches yet',
  connecting: 'Connecting',
  live: 'Live',
  waiting: 'Reconnecting',
  offline: 'Offline',
  closed: 'Ended',
  resumed: 'Live',
  degraded: 'Degraded',
};
const HOLES = {
  slow: 'this page read more slowly than events came',
  retention: 'they are older than what the server keeps',
  epoch: 'the server began a new log',
  damaged: 'the server’s disk lost them',
};
const RESUMED_MS = 8_000;
/** A connection that comes back within this time isn't worth a notice. */
const QUIET_MS = 400;

export class Status {
  #at;
  #line = 'idle';
  #intake;
  #quiet = null;
  #clock = null;
  #calm = null;
  #wasCut = false;

  /**
   * `elements`: pill, pillText, notice, noticeText, noticeAct, hole, holeText, holeAct, degraded.
   */
  constructor(elements, { retry }) {
    this.#at = elements;
    this.#intake = new Intake(elements.degraded, () => this.#pill());
    elements.noticeAct.addEventListener('click', retry);
    elements.holeAct.addEventListener('click', () => {
      elements.hole.hidden = true;
    });
  }

  /** A new state of the sessions, with the `detail` of their event. */
  line(state, detail = {}) {
    this.#line = state;
    for (const timer of [this.#quiet, this.#calm]) clearTimeout(timer);
    clearInterval(this.#clock);
    if (state === 'live') this.#back(detail);
    else if (state === 'closed') this.#ended(detail);
    else if (state === 'waiting' || state === 'offline') this.#cut(state, detail);
    else this.#quiet = setTimeout(() => this.#pill(), QUIET_MS);
  }

  /** Events are missing, and will not come. */
  gap({ reason, teams, topic }) {
    const whose = topic ? topic.split(':')[1].split('+').join(' and ') : (teams ?? []).join(', ');
    const why = Object.hasOwn(HOLES, reason) ? HOLES[reason] : 'the server can’t say why';
    this.#at.holeText.textContent =
      `Some events${whose ? ` of ${whose}` : ''} are missing: ${why}. ` +
      'Scores and minutes have been brought up to date.';
    this.#at.hole.hidden = false;
  }

  /** Streams fall ill and recover. */
  streams(state, streams) {
    this.#intake.streams(state, streams);
  }

  /** What `/v1/live` says of the log. */
  log(log) {
    this.#intake.log(log);
  }

  /** The server can't be asked either; `seconds` until the next try. */
  unreachable(seconds, cached) {
    this.#notice(
      'waiting',
      cached
        ? `The server can’t be reached; this is what was known last. Next try in ${seconds} s.`
        : `The server can’t be reached. Next try in ${seconds} s.`,
    );
    this.#pill('waiting');
  }

  #back({ resumed, recovered, previous }) {
    this.#pill();
    this.#at.notice.hidden = true;
    if (!resumed || previous !== 'connecting' || !this.#wasCut) return;
    this.#wasCut = false;
    this.#notice(
      'resumed',
      recovered === false
        ? 'Back. Not everything could be recovered.'
        : 'Back. Everything that happened meanwhile is here.',
    );
    this.#calm = setTimeout(() => {
      this.#at.notice.hidden = true;
    }, RESUMED_MS);
  }

  #cut(state, { delay_ms }) {
    this.#wasCut = true;
    this.#pill();
    let left = Math.ceil((delay_ms ?? 0) / 1_000);
    const say = () => {
      const when = left > 0 ? `Next try in ${left} s.` : 'Trying now.';
      const what = state === 'offline' ? 'This device is offline.' : 'The line was cut.';
      this.#notice(state, `${what} ${when}`, 'Try now');
      left -= 1;
    };
    say();
    this.#clock = setInterval(say, 1_000);
  }

  #ended({ code, reason }) {
    this.#pill();
    this.#notice(
      'closed',
      `The server ended the connection (${code}${reason ? `: ${reason}` : ''}). ` +
        'Reload the page to begin anew.',
    );
  }

  #notice(state, text, act = '') {
    const { notice, noticeText, noticeAct } = this.#at;
    notice.dataset.state = state;
    noticeText.textContent = text;
    noticeAct.hidden = act === '';
    noticeAct.textContent = act;
    notice.hidden = false;
  }

  #pill(state = this.#line === 'live' && this.#intake.ails ? 'degraded' : this.#line) {
    this.#at.pill.dataset.state = state;
    this.#at.pillText.textContent = PILL[state] ?? state;
  }
}
