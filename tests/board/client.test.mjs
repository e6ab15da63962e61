/** The client keeps its position, comes back as its rules say, and tells what happened to it. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { LIMITS, Ledger, backoffMs, closeMeaning } from '../../clients/touchline.js';
import { FakeSocket, FakeStorage, client, event } from './fake.mjs';

const TOPIC = 'broadcast:ars+che';

test('it subscribes once the line is open, and is live once that is answered', () => {
  const { stream, of } = client({ streams: ['broadcast'], lang: 'es' });
  stream.connect();
  assert.equal(stream.state, 'connecting');
  const socket = FakeSocket.last;
  assert.deepEqual(socket.protocols, ['touchline.v1']);
  assert.deepEqual(socket.sent, []);
  socket.welcome('m7');
  assert.deepEqual(socket.sent, [
    { op: 'subscribe', teams: ['ars', 'che'], streams: ['broadcast'], lang: 'es', id: 1 },
  ]);
  assert.equal(stream.state, 'live');
  assert.deepEqual(
    of('state').map(({ state }) => state),
    ['connecting', 'live'],
  );
  assert.deepEqual(stream.position, { mark: 'm7', after: {} });
});

test('it resumes with the last mark and the last position of each topic', () => {
  const { stream, clock, of } = client();
  stream.connect();
  FakeSocket.last.welcome('m1');
  FakeSocket.last.say(event(TOPIC, 'p1'));
  FakeSocket.last.say(event(TOPIC, 'p2'));
  FakeSocket.last.say(event('broadcast:bar+che', 'p3'));
  FakeSocket.last.say({ op: 'mark', mark: 'm2' });
  FakeSocket.last.say(event(TOPIC, 'p4'));
  FakeSocket.last.die(1006);
  clock.pass(LIMITS.backoffMinMs);
  FakeSocket.last.open();
  const [{ mark, after }] = FakeSocket.last.sent;
  assert.equal(mark, 'm2');
  assert.deepEqual(after, { [TOPIC]: 'p4', 'broadcast:bar+che': 'p3' });
  FakeSocket.last.welcome('m2', { recovered: true });
  const { resumed, recovered } = of('state').at(-1);
  assert.deepEqual({ resumed, recovered }, { resumed: true, recovered: true });
  assert.equal(stream.position.after[TOPIC], 'p4', 'the answer to a resume forgets nothing');
  assert.deepEqual(
    of('event').map(({ pos }) => pos),
    ['p1', 'p2', 'p3', 'p4'],
  );
});

test('a first subscribe carries neither mark nor positions', () => {
  const { stream } = client();
  stream.connect();
  FakeSocket.last.welcome();
  assert.deepEqual(Object.keys(FakeSocket.last.sent[0]).sort(), ['id', 'op', 'teams']);
});

test('a position that comes twice is dropped and told', () => {
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.welcome();
  for (const pos of ['p1', 'p2', 'p1']) FakeSocket.last.say(event(TOPIC, pos));
  assert.deepEqual(
    of('event').map(({ pos }) => pos),
    ['p1', 'p2'],
  );
  assert.deepEqual(
    of('error').map(({ code }) => code),
    ['repeated_position'],
  );
  assert.deepEqual([stream.stats.events, stream.stats.repeated], [2, 1]);
});

test('the highest revision of an update wins', () => {
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.welcome();
  const update = (pos, rev) =>
    event('update:ars+che:es', pos, { supersedes: { source: 's', id: 'g1', rev } });
  for (const [pos, rev] of [
    ['u1', 1],
    ['u2', 3],
    ['u3', 2],
    ['u4', 3],
  ])
    FakeSocket.last.say(update(pos, rev));
  assert.deepEqual(
    of('event').map(({ pos }) => pos),
    ['u1', 'u2', 'u4'],
  );
  assert.equal(stream.stats.stale, 1);
  assert.equal(
    stream.position.after['update:ars+che:es'],
    'u4',
    'a stale update has arrived all the same',
  );
});

test('the snapshot of a subscribe is told as events', () => {
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.welcome('m1', { snapshot: [event('sensor:ars', 'p5', { key: 'wind' })] });
  assert.deepEqual(
    of('event').map(({ key }) => key),
    ['wind'],
  );
  assert.deepEqual(stream.position.after, { 'sensor:ars': 'p5' });
});

test('waits grow under full jitter from 1 to 30 s', () => {
  const ceilings = Array.from({ length: 8 }, (_, attempt) => backoffMs(attempt, 1006, null, 1));
  assert.deepEqual(ceilings, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(backoffMs(3, 1006, null, 0), 0);
  assert.equal(backoffMs(3, 4008, null, 0.5), 4_000);
  assert.equal(backoffMs(1_000_000, 1006, null, 1), 30_000);
});

test('after a restart of the server it waits 5 to 30 s, or as long as it was told', () => {
  for (const code of [1012, 1013]) {
    assert.deepEqual([backoffMs(0, code, null, 0), backoffMs(0, code, null, 1)], [5_000, 30_000]);
  }
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.welcome();
  FakeSocket.last.say({ op: 'reconnect', after_ms: 8_123, reason: 'drain' });
  FakeSocket.last.die(1012);
  assert.equal(of('state').at(-1).delay_ms, 8_123);
});

test('a line that is cut again and again is tried less and less often, until it has held', () => {
  const { stream, clock, of } = client();
  stream.connect();
  const delays = [];
  for (let cut = 0; cut < 3; cut += 1) {
    FakeSocket.last.welcome();
    clock.pass(LIMITS.stableMs / 10);
    FakeSocket.last.die(4008);
    delays.push(of('state').at(-1).delay_ms);
    clock.pass(delays.at(-1));
  }
  assert.deepEqual(delays, [500, 1_000, 2_000]);
  FakeSocket.last.welcome();
  clock.pass(LIMITS.stableMs);
  FakeSocket.last.die(4008);
  assert.equal(of('state').at(-1).delay_ms, 500);
});

test('codes say whether to come back', () => {
  for (const code of [1001, 1006, 1011, 1012, 1013, 4000, 4008, 4012, 4499])
    assert.equal(closeMeaning(code), 'resume', code);
  for (const code of [1000, 1002, 1007, 1008, 1009, 4500, 4501, 4503, 4999])
    assert.equal(closeMeaning(code), 'end', code);
});

test('codes say what the table of docs/protocol.md says', async (t) => {
  const text = await readFile(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
  const table = text.split('<!-- generated: close codes -->')[1]?.split('<!-- end -->')[0] ?? '';
  const rows = [...table.matchAll(/^\|\s*`?(\d{4})`?\s*\|(.*)\|\s*$/gm)];
  if (rows.length === 0) return t.skip('the table has not been generated');
  for (const [, code, rest] of rows) {
    const cells = rest.split('|').map((cell) => cell.trim());
    const comes = cells.some((cell) => /and resume$/.test(cell));
    assert.equal(closeMeaning(Number(code)), comes ? 'resume' : 'end', `${code}: ${rest}`);
  }
  return undefined;
});

test('a code that ends it ends it', () => {
  const { stream, clock, of } = client();
  stream.connect();
  FakeSocket.last.welcome();
  FakeSocket.last.die(4501, 'forbidden');
  clock.pass(600_000);
  assert.equal(FakeSocket.all.length, 1);
  const { state, code, reason } = of('state').at(-1);
  assert.deepEqual({ state, code, reason }, { state: 'closed', code: 4501, reason: 'forbidden' });
});

test('silence of two heartbeats is death', () => {
  const { stream, clock } = client();
  stream.connect();
  FakeSocket.last.welcome();
  clock.pass(49_000);
  FakeSocket.last.say({ op: 'mark', mark: 'm1' });
  clock.pass(49_000);
  assert.equal(stream.state, 'live');
  clock.pass(1_001);
  assert.equal(stream.state, 'waiting');
  assert.equal(FakeSocket.all[0].closedWith, 1000);
});

test('a process that slept reads what piled up before it gives up', () => {
  const { stream, clock } = client();
  stream.connect();
  FakeSocket.last.welcome();
  clock.sleep(300_000);
  assert.equal(stream.state, 'live');
  FakeSocket.last.say({ op: 'mark', mark: 'm9' });
  clock.pass(40_000);
  assert.equal(stream.state, 'live');
  clock.sleep(300_000);
  clock.pass(LIMITS.graceMs);
  assert.equal(stream.state, 'waiting');
});

test('a server that accepts and says nothing is left', () => {
  const { stream, clock } = client();
  stream.connect();
  FakeSocket.last.open();
  clock.pass(LIMITS.connectMaxMs);
  assert.equal(stream.state, 'waiting');
});

test('a socket that was given up can say no more', () => {
  const { stream, clock, of } = client();
  stream.connect();
  const [old] = FakeSocket.all;
  old.welcome();
  old.die(1006);
  clock.pass(1_000);
  old.say(event(TOPIC, 'p1'));
  old.die(4500);
  assert.equal(stream.state, 'connecting');
  assert.deepEqual(of('event'), []);
});

test('offline cuts at once, online tries at once', () => {
  const { stream, page } = client();
  stream.connect();
  FakeSocket.last.welcome();
  page.navigator.onLine = false;
  page.fire('offline');
  assert.equal(stream.state, 'offline');
  page.navigator.onLine = true;
  page.fire('online');
  assert.equal(stream.state, 'connecting');
  assert.equal(FakeSocket.all.length, 2);
});

test('while offline it goes on trying: the browser may be wrong', () => {
  const { stream, page, clock } = client();
  page.navigator.onLine = false;
  stream.connect();
  FakeSocket.last.die(1006);
  assert.equal(stream.state, 'offline');
  clock.pass(1_000);
  FakeSocket.last.welcome();
  assert.equal(stream.state, 'live');
});

test('the end of a gap becomes the position of its topic', () => {
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.welcome('m1');
  FakeSocket.last.say({ op: 'gap', topic: TOPIC, from: 'p1', to: 'p9', reason: 'slow' });
  assert.deepEqual(stream.position, { mark: 'm1', after: { [TOPIC]: 'p9' } });
  assert.equal(of('gap')[0].reason, 'slow');
});

test('a gap of everything that is followed moves the mark, one of a part does not', () => {
  const { stream } = client();
  stream.connect();
  FakeSocket.last.welcome('m1');
  FakeSocket.last.say(event(TOPIC, 'p5'));
  const gap = { op: 'gap', from: 'm1', to: 'm9', reason: 'retention' };
  FakeSocket.last.say({ ...gap, teams: ['ars'], streams: ['broadcast', 'update'] });
  assert.equal(stream.position.mark, 'm1');
  FakeSocket.last.say({ ...gap, teams: ['che', 'ars'], streams: ['update', 'broadcast'] });
  assert.deepEqual(stream.position, { mark: 'm9', after: { [TOPIC]: 'p5' } });
});

test('positions of another life of the log are forgotten, whatever comes first', () => {
  const epoch = {
    op: 'gap',
    teams: ['ars', 'che'],
    streams: ['broadcast', 'update'],
    from: 'm1',
    to: 'n3',
    reason: 'epoch',
  };
  for (const gapFirst of [true, false]) {
    const { stream, clock } = client();
    stream.connect();
    FakeSocket.last.welcome('m1');
    FakeSocket.last.say(event(TOPIC, 'p5'));
    FakeSocket.last.die(1006);
    clock.pass(1_000);
    if (gapFirst) FakeSocket.last.say(epoch);
    FakeSocket.last.welcome('n3', { recovered: false });
    if (!gapFirst) FakeSocket.last.say(epoch);
    FakeSocket.last.say(event('broadcast:bar+che', 'q1'));
    assert.deepEqual(
      stream.position,
      { mark: 'n3', after: { 'broadcast:bar+che': 'q1' } },
      `gap first: ${gapFirst}`,
    );
  }
});

test('a mark that the server does not know is given up, and that is a gap', () => {
  const { stream, of } = client({ position: { mark: 'odd', after: { [TOPIC]: 'odd' } } });
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say({
    op: 'error',
    id: 1,
    code: 'bad_token',
    message: 'no token of this server',
    retry_after_ms: 0,
  });
  const again = FakeSocket.last.sent[1];
  assert.deepEqual([again.op, again.mark, again.after], ['subscribe', undefined, undefined]);
  FakeSocket.last.say({ op: 'subscribed', id: again.id, teams: again.teams, mark: 'm1' });
  assert.equal(stream.state, 'live');
  assert.deepEqual(
    of('gap').map(({ reason }) => reason),
    ['epoch'],
  );
});

test('a subscribe that is refused for good ends it, one that came too soon is made again', () => {
  const refused = client();
  refused.stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say({
    op: 'error',
    id: 1,
    code: 'too_many_teams',
    message: '20 at most',
    retry_after_ms: 0,
  });
  assert.equal(refused.stream.state, 'closed');
  const soon = client();
  soon.stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say({
    op: 'error',
    id: 1,
    code: 'too_many_messages',
    message: 'wait',
    retry_after_ms: 700,
  });
  soon.clock.pass(700);
  assert.deepEqual(
    FakeSocket.last.sent.map(({ op }) => op),
    ['subscribe', 'subscribe'],
  );
});

test('teams can be followed and unfollowed on a line that lives', () => {
  const { stream } = client();
  stream.connect();
  FakeSocket.last.welcome('m1');
  FakeSocket.last.say(event('broadcast:ars+tot', 'p1', { teams: ['ars', 'tot'] }));
  FakeSocket.last.say(event('broadcast:bar+che', 'p2'));
  stream.follow(['che', 'liv']);
  stream.unfollow(['ars']);
  assert.deepEqual(FakeSocket.last.sent.slice(1), [
    { op: 'subscribe', teams: ['liv'], id: 2 },
    { op: 'unsubscribe', teams: ['ars'], id: 3 },
  ]);
  assert.deepEqual(stream.teams, ['che', 'liv']);
  assert.deepEqual(stream.position.after, { 'broadcast:bar+che': 'p2' });
});

test('a position outlives a reload, but not for ever', () => {
  const storage = new FakeStorage();
  const first = client({ storage });
  first.stream.connect();
  FakeSocket.last.welcome('m1');
  FakeSocket.last.say(event(TOPIC, 'p1'));
  first.clock.pass(LIMITS.saveMs);
  FakeSocket.last.say(event(TOPIC, 'p2'));
  first.page.fire('pagehide');
  assert.deepEqual(client({ storage }).stream.position, { mark: 'm1', after: { [TOPIC]: 'p2' } });
  const late = client({ storage, now: () => first.clock.time + LIMITS.storedAgeMaxMs });
  assert.deepEqual(late.stream.position, { mark: null, after: {} });
});

test('a storage that fails costs nothing else', () => {
  const storage = {
    getItem() {
      throw new Error('forbidden');
    },
    setItem() {
      throw new Error('full');
    },
  };
  const { stream, clock, of } = client({ storage });
  stream.connect();
  FakeSocket.last.welcome('m1');
  FakeSocket.last.say(event(TOPIC, 'p1'));
  clock.pass(5_000);
  assert.equal(of('event').length, 1);
});

test('ailing streams are told, also those of the hello', () => {
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say({ op: 'hello', heartbeat_s: 25, limits: {}, state: 'degraded' });
  FakeSocket.last.say({ op: 'status', state: 'live', streams: ['social'] });
  assert.deepEqual(of('status'), [
    { state: 'degraded', streams: [] },
    { state: 'live', streams: ['social'] },
  ]);
});

test('what it does not understand does no harm', () => {
  const { stream, of } = client();
  stream.connect();
  FakeSocket.last.welcome();
  FakeSocket.last.dispatchEvent(Object.assign(new Event('message'), { data: '{' }));
  for (const op of ['constructor', '__proto__', 'news', undefined]) FakeSocket.last.say({ op });
  assert.equal(stream.state, 'live');
  assert.deepEqual(
    of('error').map(({ code }) => code),
    ['bad_frame'],
  );
});

test('what is remembered is bounded, and the latest positions go into a resume', () => {
  const ledger = new Ledger();
  for (let n = 0; n < 3 * LIMITS.afterTopicsMax; n += 1)
    ledger.take(event(`broadcast:team-${n}`, `p${n}`));
  assert.equal(ledger.after.size, LIMITS.afterTopicsMax);
  const fits = ledger.afterThatFits();
  assert.ok(JSON.stringify(fits).length <= LIMITS.afterBytesMax);
  assert.equal(
    fits[`broadcast:team-${3 * LIMITS.afterTopicsMax - 1}`],
    `p${3 * LIMITS.afterTopicsMax - 1}`,
  );
});

test('close ends it for good', () => {
  const { stream, clock, page } = client();
  stream.connect();
  FakeSocket.last.welcome();
  stream.close();
  page.fire('online');
  stream.retryNow();
  clock.pass(60_000);
  assert.equal(stream.state, 'closed');
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(clock.timers.size, 0, 'no timer is left behind');
});
