/**
 * A client for Touchline's stream: follow teams, get each of their events once, also across
 * reconnects.
 *
 * No dependencies and no build step: `import { Touchline } from './touchline.js'` works in a
 * browser and in Node (hand it a WebSocket class there). The protocol is told in docs/protocol.md;
 * rules are cited by number (R4).
 *
 *     const stream = new Touchline({ url: 'ws://127.0.0.1:8080/v1/stream', teams: ['ars', 'che']
 * });
 *     stream.addEventListener('event', ({ detail }) => console.log(detail.type, detail.data));
 *     stream.connect();
 *
 * What it sees to:
 * - **Position.** It keeps the last mark, and the last position of each topic (R2, R10). Only these
 *   say what has arrived; the server doesn't know. They outlive a connection and, with `storage`, a
 *   reload of the page.
 * - **Coming back.** Full jitter under a ceiling that doubles from 1 to 30 s; after a close 1012
 *   the server's own hint, else 5 to 30 s. Codes 4500 to 4999 end it. A line that died without a
 *   close (1006) counts as 4008.
 * - **A dead line.** A browser can't see pings. `mark` comes with each heartbeat, so silence of two
 *   heartbeats is death.
 * - **Once.** The server repeats nothing. That is asserted: a position that comes twice is reported
 *   and dropped.
 *
 * Events it emits, each with a `detail` (types in touchline.d.ts): `state`, `hello`, `event`,
 * `gap`, `mark`, `status`, `error`.
 * @module
 */

/** Bounds of this client; those of the server come with `hello`. */
export const LIMITS = Object.freeze({
  /** Ceiling of the first wait, and of all waits. */
  backoffMinMs: 1_000,
  backoffMaxMs: 30_000,
  /** Waits after 1012 and 1013, where the server gave no hint. */
  restartMinMs: 5_000,
  restartMaxMs: 30_000,
  /** A connection that lived this long has earned a fresh backoff. */
  stableMs: 10_000,
  /** From the first packet to `subscribed`. */
  connectMaxMs: 15_000,
  /** A process that was suspended gets this long to read what piled up. */
  graceMs: 5_000,
  /** Topics named in a resume: the server's own bound, in at most 48 of the 64 KiB of a message. */
  afterTopicsMax: 1_024,
  afterBytesMax: 48 * 1_024,
  /** How long a changed position may wait to be stored. */
  saveMs: 1_000,
  /** Positions and revisions remembered. */
  seenMax: 4_096,
  /** A stored position older than this is forgotten: who was away for so long begins anew. */
  storedAgeMaxMs: 3_600_000,
});

/** RFC 6455 codes after which the same client would only be closed again. */
const FINAL_CODES = new Set([1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010]);

/**
 * What a close code asks for: `resume` (come back as you are) or `end` (don't come back unchanged).
 */
export function closeMeaning(code) {
  if (code >= 4500 && code <= 4999) return 'end';
  return FINAL_CODES.has(code) ? 'end' : 'resume';
}

/** How long to wait before the attempt number `attempt` (from 0). `random` is in [0, 1). */
export function backoffMs(attempt, code, hintMs, random) {
  if (hintMs !== null) return hintMs;
  const { restartMinMs, restartMaxMs, backoffMinMs, backoffMaxMs } = LIMITS;
  if (attempt === 0 && (code === 1012 || code === 1013)) {
    return Math.round(restartMinMs + random * (restartMaxMs - restartMinMs));
  }
  return Math.round(random * Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(attempt, 16)));
}

/** Puts into a map of bounded size: the oldest key gives way. */
function remember(map, key, value, max) {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value);
}

/**
 * What has arrived: the last mark, the last position of each topic, and what was seen lately. Pure
 * bookkeeping.
 *
 * Positions outlive the mark that follows them. A session that lags is given a mark below its
 * lowest unsent event (R3), which may lie below what another topic has already brought; forgetting
 * that topic's position would bring it twice.
 */
export class Ledger {
  #seen = new Map();
  #revs = new Map();

  constructor({ mark = null, after = {} } = {}) {
    this.mark = mark;
    this.after = new Map(Object.entries(after));
  }

  /** What a resume needs, as plain JSON. */
  get position() {
    return { mark: this.mark, after: Object.fromEntries(this.after) };
  }

  /**
   * Takes note of an event: `fresh`, `repeated` (never, by the rules) or `stale` (a lower revision,
   * R21).
   */
  take(event) {
    const key = `${event.topic} ${event.pos}`;
    if (this.#seen.has(key)) return 'repeated';
    remember(this.#seen, key, true, LIMITS.seenMax);
    remember(this.after, event.topic, event.pos, LIMITS.afterTopicsMax);
    return event.supersedes ? this.#revise(event.topic, event.supersedes) : 'fresh';
  }

  #revise(topic, { source, id, rev }) {
    const key = `${topic} ${source} ${id}`;
    const highest = this.#revs.get(key) ?? 0;
    remember(this.#revs, key, Math.max(highest, rev), LIMITS.seenMax);
    return rev < highest ? 'stale' : 'fresh';
  }

  /**
   * `to` becomes the position where something is missing (R9). A gap without a topic moves the mark
   * if it is ours whole.
   */
  skip(gap, whole) {
    if (gap.reason === 'epoch') this.after.clear();
    if (gap.topic) remember(this.after, gap.topic, gap.to, LIMITS.afterTopicsMax);
    else if (whole) this.mark = gap.to;
  }

  /** The answer to a resume: positions of another life of the log are of no further use (R8). */
  resumed(mark, sent, recovered) {
    if (recovered === false && mark !== sent.mark) {
      for (const [topic, pos] of Object.entries(sent.after ?? {})) {
        if (this.after.get(topic) === pos) this.after.delete(topic);
      }
    }
    this.mark = mark;
  }

  /** Forgets topics (`stream:team+team` or `stream:team+team:lang`) that no followed team is in. */
  prune(teams) {
    for (const topic of this.after.keys()) {
      const route = topic.split(':')[1] ?? '';
      if (!route.split('+').some((team) => teams.has(team))) this.after.delete(topic);
    }
  }

  /**
   * The latest positions, as many as fit a message. The others may be sent again, and are then
   * dropped by `take`.
   */
  afterThatFits() {
    const fits = [];
    let bytes = 0;
    for (const [topic, pos] of [...this.after].reverse()) {
      bytes += topic.length + pos.length + 6;
      if (bytes > LIMITS.afterBytesMax) break;
      fits.push([topic, pos]);
    }
    return Object.fromEntries(fits);
  }
}

class Told extends Event {
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

/** One session with the server, over as many connections as it takes. */
export class Touchline extends EventTarget {
  #options;
  #teams;
  #ledger;
  #state = 'idle';
  #socket = null;
  #sending = false;
  #requests = new Map();
  #nextId = 1;
  #attempt = 0;
  #hintMs = null;
  #heartbeatMs = 25_000;
  #retryTimer = null;
  #deadTimer = null;
  #stableTimer = null;
  #saveTimer = null;
  #unhook = () => {};

  /** @param {import('./touchline.d.ts').TouchlineOptions} options */
  constructor(options) {
    super();
    this.#options = {
      storage: null,
      storageKey: 'touchline',
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      now: () => Date.now(),
      setTimeout: (task, ms) => globalThis.setTimeout(task, ms),
      clearTimeout: (timer) => globalThis.clearTimeout(timer),
      page: typeof window === 'undefined' ? null : window,
      ...options,
    };
    this.#teams = new Set(options.teams);
    this.#ledger = new Ledger(options.position ?? this.#load() ?? {});
    /** What `hello` said, once there was one: session, node, heartbeat_s, limits. */
    this.hello = null;
    /** Counters since construction. */
    this.stats = { events: 0, repeated: 0, stale: 0, gaps: 0, connections: 0 };
  }

  /** `idle`, `connecting`, `live`, `waiting`, `offline` or `closed`. */
  get state() {
    return this.#state;
  }

  /** The teams followed, or to be followed once connected. */
  get teams() {
    return [...this.#teams];
  }

  /** What has arrived: enough to go on from, here or in another session. */
  get position() {
    return this.#ledger.position;
  }

  get #streams() {
    return this.#options.streams ?? ['broadcast', 'update'];
  }

  /** Connects, and stays connected until `close()` or a code that ends it. */
  connect() {
    if (this.#state !== 'idle') return;
    this.#hookPage();
    this.#open();
  }

  /** Ends the session. The position stays readable. */
  close() {
    if (this.#state !== 'closed') this.#end(1000, 'closed by the page');
  }

  /** Makes the next attempt now. */
  retryNow() {
    if (this.#state === 'waiting' || this.#state === 'offline') this.#open();
  }

  /** Follows more teams, from now on (R5). */
  follow(teams) {
    const added = teams.filter((team) => !this.#teams.has(team));
    for (const team of added) this.#teams.add(team);
    if (added.length > 0 && this.#sending) this.#subscribe(added, {});
  }

  /** Stops following teams. A topic that another followed team still wants stays (R5). */
  unfollow(teams) {
    const removed = teams.filter((team) => this.#teams.delete(team));
    this.#ledger.prune(this.#teams);
    if (removed.length > 0 && this.#sending) this.#request({ op: 'unsubscribe', teams: removed });
  }

  /**
   * Writes the position to `storage` now; otherwise that happens once a second, and when the page
   * is left.
   */
  persist() {
    const { storage, storageKey, now, clearTimeout } = this.#options;
    clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
    if (!storage || this.#ledger.mark === null) return;
    try {
      storage.setItem(storageKey, JSON.stringify({ ...this.position, saved_at: now() }));
    } catch {
      // A storage that is full or forbidden costs the resume after a reload, nothing else.
    }
  }

  #load() {
    const { storage, storageKey, now } = this.#options;
    try {
      const { mark, after, saved_at } = JSON.parse(storage.getItem(storageKey));
      return now() - saved_at < LIMITS.storedAgeMaxMs ? { mark, after } : null;
    } catch {
      return null;
    }
  }

  #persistSoon() {
    const { storage, setTimeout } = this.#options;
    if (storage) this.#saveTimer ??= setTimeout(() => this.persist(), LIMITS.saveMs);
  }

  // ---- one connection -------------------------------------------------------------------------

  #open() {
    const { WebSocket, clearTimeout, url } = this.#options;
    clearTimeout(this.#retryTimer);
    this.stats.connections += 1;
    this.#requests.clear();
    const socket = new WebSocket(String(url), ['touchline.v1']);
    this.#socket = socket;
    const ours = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.addEventListener(
      'open',
      ours(() => this.#opened()),
    );
    socket.addEventListener(
      'message',
      ours(({ data }) => this.#receive(data)),
    );
    socket.addEventListener(
      'close',
      ours(({ code, reason }) => this.#lost(code, reason)),
    );
    this.#watch(LIMITS.connectMaxMs);
    this.#become('connecting', { attempt: this.#attempt });
  }

  #opened() {
    this.#sending = true;
    const { mark } = this.#ledger;
    const resume = mark === null ? {} : { mark, after: this.#ledger.afterThatFits() };
    if (this.#teams.size > 0) this.#subscribe(this.teams, resume);
  }

  #subscribe(teams, resume) {
    const { streams, lang } = this.#options;
    this.#request({ op: 'subscribe', teams, streams, lang, ...resume });
  }

  #request(message) {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#requests.set(id, message);
    this.#socket.send(JSON.stringify({ ...message, id }));
  }

  /**
   * The line is gone: come back, or not. 1006 is what browsers say when no close frame came; it
   * counts as 4008 (R10).
   */
  #lost(code, reason) {
    if (closeMeaning(code) === 'end') return this.#end(code, reason);
    const { random, setTimeout, page } = this.#options;
    this.#drop();
    const delay_ms = backoffMs(this.#attempt, code, this.#hintMs, random());
    this.#hintMs = null;
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#open(), delay_ms);
    const state = page?.navigator.onLine === false ? 'offline' : 'waiting';
    return this.#become(state, { attempt: this.#attempt, delay_ms, code, reason });
  }

  #end(code, reason) {
    this.#options.clearTimeout(this.#retryTimer);
    this.#drop();
    this.#unhook();
    this.#become('closed', { code, reason });
  }

  #drop() {
    const { clearTimeout } = this.#options;
    const socket = this.#socket;
    this.#socket = null;
    this.#sending = false;
    clearTimeout(this.#deadTimer);
    clearTimeout(this.#stableTimer);
    this.persist();
    socket?.close(1000);
  }

  /**
   * Whatever arrives proves that the line lives. A timer that fires late was suspended with its
   * process: wait anew.
   */
  #watch(ms) {
    const { setTimeout, clearTimeout, now } = this.#options;
    clearTimeout(this.#deadTimer);
    const due = now() + ms;
    this.#deadTimer = setTimeout(() => {
      if (now() - due > LIMITS.graceMs) this.#watch(LIMITS.graceMs);
      else this.#lost(1006, 'nothing was heard');
    }, ms);
  }

  #hookPage() {
    const { page } = this.#options;
    const hooks = {
      online: () => this.retryNow(),
      offline: () => {
        if (this.#socket) this.#lost(1006, 'offline');
      },
      pagehide: () => this.persist(),
    };
    for (const [name, hook] of Object.entries(hooks)) page?.addEventListener(name, hook);
    this.#unhook = () => {
      for (const [name, hook] of Object.entries(hooks)) page?.removeEventListener(name, hook);
    };
  }

  // ---- what the server says -------------------------------------------------------------------

  #receive(text) {
    this.#watch(this.#heartbeatMs * 2);
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#tell('error', {
        code: 'bad_frame',
        message: 'the server sent a frame that is not JSON',
      });
    }
    switch (message.op) {
      case 'hello':
        return this.#onHello(message);
      case 'subscribed':
        return this.#onSubscribed(message);
      case 'unsubscribed':
        this.#requests.delete(message.id);
        return undefined;
      case 'event':
        return this.#onEvent(message);
      case 'mark':
        return this.#onMark(message.mark);
      case 'gap':
        return this.#onGap(message);
      case 'status':
        return this.#onStatus(message);
      case 'error':
        return this.#onError(message);
      case 'reconnect':
        this.#hintMs = message.after_ms;
        return undefined;
      default:
        return undefined; // `pong`, or an op of a later version.
    }
  }

  #onHello(hello) {
    this.hello = hello;
    this.#heartbeatMs = hello.heartbeat_s * 1_000;
    this.#watch(this.#heartbeatMs * 2);
    this.#tell('hello', hello);
    if (this.#socket === null) return; // A listener has closed us.
    if (hello.state) this.#onStatus(hello);
    if (this.#teams.size === 0) this.#live({});
  }

  #onSubscribed(answer) {
    const asked = this.#requests.get(answer.id) ?? {};
    this.#requests.delete(answer.id);
    this.#ledger.resumed(answer.mark, asked, answer.recovered);
    if (this.#state === 'connecting') {
      this.#live({ resumed: asked.mark !== undefined, recovered: answer.recovered ?? null });
    }
    for (const event of answer.snapshot ?? []) this.#onEvent(event);
    this.#onMark(answer.mark);
  }

  #live(detail) {
    this.#stableTimer = this.#options.setTimeout(() => {
      this.#attempt = 0;
    }, LIMITS.stableMs);
    this.#become('live', { resumed: false, recovered: null, ...detail });
  }

  #onMark(mark) {
    this.#ledger.mark = mark;
    this.#persistSoon();
    this.#tell('mark', { mark });
  }

  #onEvent(event) {
    const verdict = this.#ledger.take(event);
    this.#persistSoon();
    if (verdict === 'fresh') {
      this.stats.events += 1;
      return this.#tell('event', event);
    }
    this.stats[verdict] += 1;
    if (verdict === 'stale') return undefined;
    return this.#tell('error', {
      code: 'repeated_position',
      message: `${event.topic} ${event.pos} came twice`,
    });
  }

  #onGap(gap) {
    this.stats.gaps += 1;
    const covers = (named, ours) => ours.every((name) => named?.includes(name));
    this.#ledger.skip(gap, covers(gap.teams, this.teams) && covers(gap.streams, this.#streams));
    this.#persistSoon();
    this.#tell('gap', gap);
  }

  #onStatus({ state, streams }) {
    this.#tell('status', { state, streams: streams ?? [] });
  }

  /**
   * A refused request. A subscribe that is refused for its tokens is made again without them: that
   * is a hole, and told.
   */
  #onError(error) {
    const request = this.#requests.get(error.id);
    this.#requests.delete(error.id);
    this.#tell('error', { ...error, request: request ?? null });
    if (request?.op !== 'subscribe') return;
    if (error.code === 'too_many_messages') {
      this.#options.setTimeout(() => {
        if (this.#sending) this.#request(request);
      }, error.retry_after_ms);
    } else if (request.mark !== undefined && error.code === 'bad_token') {
      this.#ledger = new Ledger();
      this.#subscribe(this.teams, {});
      const { teams, mark: from } = request;
      this.#onGap({ teams, streams: this.#streams, from, to: null, reason: 'epoch' });
    } else if (this.#state === 'connecting') {
      this.#end(4500, error.message);
    }
  }

  #become(state, detail) {
    const previous = this.#state;
    this.#state = state;
    this.#tell('state', { state, previous, ...detail });
  }

  #tell(type, detail) {
    this.dispatchEvent(new Told(type, detail));
  }
}
