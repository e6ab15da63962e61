/**
 * A world for the client without network or time: sockets that a test drives, and a clock that
 * moves when told.
 */

import { Touchline } from '../../clients/touchline.js';

export class FakeSocket extends EventTarget {
  static OPEN = 1;
  sent = [];
  closedWith = null;

  constructor(url, protocols) {
    super();
    Object.assign(this, { url, protocols });
    FakeSocket.all.push(this);
  }

  static all = [];
  static get last() {
    return FakeSocket.all.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close(code) {
    this.closedWith = code;
  }

  // ---- the server's side
  open() {
    this.dispatchEvent(new Event('open'));
  }
  say(message) {
    this.dispatchEvent(Object.assign(new Event('message'), { data: JSON.stringify(message) }));
  }
  die(code = 1006, reason = '') {
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason }));
  }

  /** Opens, says hello and answers the subscribe. */
  welcome(mark = 'm0', more = {}) {
    this.open();
    this.say({ op: 'hello', session: 's', node: 'n', heartbeat_s: 25, limits: { teams: 20 } });
    const { id, teams } = this.sent[0];
    this.say({ op: 'subscribed', id, teams, mark, ...more });
  }
}

export class FakeClock {
  time = 0;
  timers = new Map();
  next = 1;

  setTimeout = (task, ms) => {
    const id = this.next;
    this.next += 1;
    this.timers.set(id, { task, due: this.time + ms });
    return id;
  };

  clearTimeout = (id) => {
    this.timers.delete(id);
  };
  now = () => this.time;

  /** Lets time pass; timers fire when they are due. */
  pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.due <= end);
      if (due.length === 0) break;
      const [id, { task, due: at }] = due.sort(([, one], [, other]) => one.due - other.due)[0];
      this.timers.delete(id);
      this.time = Math.max(this.time, at);
      task();
    }
    this.time = end;
  }

  /** The process sleeps: time passes, and timers fire only at its end. */
  sleep(ms) {
    this.time += ms;
    this.pass(0);
  }
}

export class FakePage extends EventTarget {
  navigator = { onLine: true };
  fire(name) {
    this.dispatchEvent(new Event(name));
  }
}

export class FakeStorage {
  items = new Map();
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, value);
  }
}

/** A client in such a world, with everything it told in `told`. */
export function client(options = {}) {
  FakeSocket.all = [];
  const clock = new FakeClock();
  const page = new FakePage();
  const stream = new Touchline({
    url: 'ws://test/v1/stream',
    teams: ['ars', 'che'],
    WebSocket: FakeSocket,
    random: () => 0.5,
    now: clock.now,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    page,
    ...options,
  });
  const told = [];
  for (const type of ['state', 'event', 'gap', 'mark', 'status', 'error']) {
    stream.addEventListener(type, ({ detail }) => told.push([type, detail]));
  }
  const of = (type) => told.filter(([name]) => name === type).map(([, detail]) => detail);
  return { stream, clock, page, told, of };
}

export const event = (topic, pos, more = {}) => ({
  op: 'event',
  topic,
  pos,
  source: 's',
  id: pos,
  teams: ['ars', 'che'],
  type: 'goal',
  occurred_at: '2026-11-22T15:00:00Z',
  data: {},
  ...more,
});
