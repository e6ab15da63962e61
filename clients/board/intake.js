/**
 * Whether new events come in, and what becomes of those that can't: the notice about ailing
 * streams.
 *
 * The stream says which streams ail (`degraded`, `live`); `/v1/live` says what the log does
 * meanwhile. The notice is read aloud, so it changes with the state, never with a figure: figures
 * are the panel's.
 * @module
 */

const RESUMED_MS = 8_000;
/** If so many ail, all do. */
const STREAMS = 4;

const STATES = ['open', 'spooling', 'handing_on', 'closed'];
const count = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);

/** What `/v1/live` says of the log; a server that says nothing has one that is open. */
export function readLog(raw) {
  return {
    state: STATES.includes(raw?.state) ? raw.state : 'open',
    waiting: count(raw?.waiting),
    handedOn: count(raw?.handed_on),
  };
}

/** What a reader is told of streams that ail (`names`) and a log in `state`; '' if all is well. */
export function explain(state, names) {
  if (state === 'spooling')
    return (
      'The shared log is away. What is shown stands; what happens meanwhile is kept on this ' +
      'server’s disk, and comes in its order once the log is back.'
    );
  if (state === 'handing_on')
    return 'The shared log is back: what was kept meanwhile is coming in, in its order.';
  if (names.length === 0 && state === 'open') return '';
  const which = names.length > 0 && names.length < STREAMS ? ` (${names.join(', ')})` : '';
  return (
    `Nothing new comes in now${which}: the server’s log is in trouble. What is shown stands; ` +
    'what happens meanwhile comes when it can.'
  );
}

function recovered(handedOn) {
  if (handedOn === 0) return 'New events are taken in again.';
  const which = handedOn === 1 ? 'The one' : `All ${handedOn}`;
  return `New events are taken in again. ${which} that had to wait came in.`;
}

export class Intake {
  #notice;
  #changed;
  #ailing = new Set();
  #log = readLog();
  /** Events that the log had been handed when the trouble began. */
  #before = 0;
  #clock = null;
  #ailed = false;

  /** `changed` is called when `ails` has changed. */
  constructor(notice, changed) {
    this.#notice = notice;
    this.#changed = changed;
  }

  /** Whether nothing new is shown for now. */
  get ails() {
    return this.#ailing.size > 0 || this.#log.state === 'spooling' || this.#log.state === 'closed';
  }

  /** Streams fall ill and recover. */
  streams(state, streams) {
    if (state === 'live' && streams.length === 0) this.#ailing.clear();
    for (const stream of state === 'degraded' && streams.length === 0 ? ['all'] : streams) {
      if (state === 'degraded') this.#ailing.add(stream);
      else this.#ailing.delete(stream);
    }
    this.#show();
  }

  /** The log as `/v1/live` tells of it. */
  log(raw) {
    this.#log = readLog(raw);
    this.#show();
  }

  #show() {
    const { dataset } = this.#notice;
    const text = explain(this.#log.state, [...this.#ailing]);
    const wasIll = !this.#notice.hidden && dataset.state !== 'resumed';
    if (text !== '') {
      if (!wasIll) this.#before = this.#log.handedOn;
      this.#say(this.#log.state === 'handing_on' ? 'handing' : 'degraded', text);
    } else if (wasIll) {
      this.#say('resumed', recovered(this.#log.handedOn - this.#before));
      this.#clock = setTimeout(() => {
        this.#notice.hidden = true;
      }, RESUMED_MS);
    }
    if (this.#ailed === this.ails) return;
    this.#ailed = this.ails;
    this.#changed();
  }

  #say(state, text) {
    clearTimeout(this.#clock);
    this.#notice.dataset.state = state;
    // The same words again would be read aloud again.
    if (this.#notice.textContent !== text) this.#notice.textContent = text;
    this.#notice.hidden = false;
  }
}
