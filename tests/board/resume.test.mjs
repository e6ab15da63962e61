/**
 * Whatever is cut, and whenever: every event reaches the client once, in the order of its topic.
 *
 * By seed: a server with several topics sends them at different paces, so that a session lags in
 * some while it is ahead in others, and gives marks as R3 says: below the lowest event that is
 * still unsent. Lines are cut at random.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeSocket, client, event } from './fake.mjs';

const TOPICS = ['broadcast:ars+che', 'broadcast:ars', 'update:ars+che:es', 'social:che'];
const ROUNDS = 400;
const SEEDS = Array.from({ length: 40 }, (_, seed) => seed + 1);

/** Mulberry32: small, seeded, good enough to shuffle with. */
function dice(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** The log and one session's cursors, by the rules: R3 for marks, R4 for resume. */
class Server {
  log = [];
  cursors = null;

  append(topic) {
    this.log.push(topic);
  }

  /** Answers a subscribe: each topic goes on at the later of mark and position. */
  subscribe({ mark, after = {} }) {
    const from = mark === undefined ? this.log.length : Number(mark.slice(1));
    const next = (topic) =>
      Math.max(from, after[topic] === undefined ? 0 : Number(after[topic].slice(1)) + 1);
    this.cursors = new Map(TOPICS.map((topic) => [topic, next(topic)]));
    return mark ?? this.mark();
  }

  /** The next unsent event of a topic, if any. */
  unsent(topic) {
    const at = this.log.indexOf(topic, this.cursors.get(topic));
    return at < 0 ? null : at;
  }

  send(topic) {
    const at = this.unsent(topic);
    if (at === null) return;
    this.cursors.set(topic, at + 1);
    FakeSocket.last.say(event(topic, `p${at}`));
  }

  mark() {
    const lowest =
      this.cursors === null
        ? []
        : TOPICS.map((topic) => this.unsent(topic)).filter((at) => at !== null);
    return `m${Math.min(this.log.length, ...lowest)}`;
  }
}

function play(seed) {
  const roll = dice(seed);
  const server = new Server();
  const world = client({ random: () => roll(1_000) / 1_000 });
  const welcome = () => {
    FakeSocket.last.open();
    const { id, teams, mark, after } = FakeSocket.last.sent[0];
    FakeSocket.last.say({
      op: 'subscribed',
      id,
      teams,
      mark: server.subscribe({ mark, after }),
      recovered: true,
    });
  };
  world.stream.connect();
  welcome();
  let cuts = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const action = roll(20);
    if (action < 8) server.append(TOPICS[roll(TOPICS.length)]);
    else if (action < 16) server.send(TOPICS[Math.min(roll(TOPICS.length), roll(TOPICS.length))]);
    else if (action < 19) FakeSocket.last.say({ op: 'mark', mark: server.mark() });
    else {
      cuts += 1;
      FakeSocket.last.die(1006);
      for (let away = roll(6); away > 0; away -= 1) server.append(TOPICS[roll(TOPICS.length)]);
      world.clock.pass(world.of('state').at(-1).delay_ms);
      welcome();
    }
  }
  for (const topic of TOPICS) while (server.unsent(topic) !== null) server.send(topic);
  return { ...world, server, cuts };
}

for (const seed of SEEDS) {
  test(`no event is lost or repeated over cuts (seed ${seed})`, () => {
    const { stream, server, cuts, of } = play(seed);
    assert.ok(cuts > 5, `${cuts} cuts`);
    for (const topic of TOPICS) {
      const sent = server.log.flatMap((name, at) => (name === topic ? [`p${at}`] : []));
      const got = of('event')
        .filter((told) => told.topic === topic)
        .map(({ pos }) => pos);
      assert.deepEqual(got, sent, topic);
    }
    assert.equal(stream.stats.repeated, 0, 'nor did the client have to drop any');
  });
}
