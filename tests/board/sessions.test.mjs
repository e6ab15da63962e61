/** Teams are dealt to sessions as the server's `hello` allows; a new deal misses nothing. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Sessions } from '../../clients/board/sessions.js';
import { Touchline } from '../../clients/touchline.js';
import { FakeClock, FakePage, FakeSocket, event } from './fake.mjs';

const MATCHES = Array.from({ length: 15 }, (_, n) => ({ home: `h${n}`, away: `a${n}` }));
const teamsOf = (count) => MATCHES.slice(0, count).flatMap(({ home, away }) => [home, away]);
const START = { mark: 'm0', after: {} };

beforeEach(() => {
  FakeSocket.all = [];
});

function sessions() {
  const clock = new FakeClock();
  const { setTimeout, clearTimeout, now } = clock;
  const world = { WebSocket: FakeSocket, page: new FakePage(), setTimeout, clearTimeout, now };
  const all = new Sessions((options) => new Touchline({ ...options, ...world, random: () => 0.5 }));
  const told = [];
  for (const type of ['room', 'state', 'error', 'event'])
    all.addEventListener(type, ({ detail }) => told.push([type, detail]));
  const of = (type) => told.filter(([name]) => name === type).map(([, detail]) => detail);
  return { all, clock, of };
}

const open = () => FakeSocket.all.filter(({ closedWith }) => closedWith === null);
const hello = (socket, teams) =>
  socket.say({ op: 'hello', session: 's', node: 'n', heartbeat_s: 25, limits: { teams } });

/** Opens a connection as a server does that allows `teamsMax` teams. */
function serve(socket, teamsMax, mark = 'm0') {
  socket.open();
  hello(socket, teamsMax);
  const { id, teams } = socket.sent[0];
  if (teams.length > teamsMax)
    return socket.say({ op: 'error', id, code: 'too_many_teams', message: `${teamsMax} at most` });
  return socket.say({ op: 'subscribed', id, teams, mark, recovered: true });
}

function assertPairsTogether(hands) {
  for (const { home, away } of MATCHES)
    assert.equal(
      hands.findIndex((hand) => hand.includes(home)),
      hands.findIndex((hand) => hand.includes(away)),
      home,
    );
}

test('a server that allows 10 teams is followed by sessions of 10, from the same mark', () => {
  const { all, of } = sessions();
  all.follow('ws://test/', [{ teams: teamsOf(15), position: START }], MATCHES);
  assert.deepEqual(
    FakeSocket.all.map(({ closedWith }) => closedWith),
    [null, null],
  );
  serve(FakeSocket.all[0], 10);
  for (const socket of open()) serve(socket, 10);
  const asked = open().map(({ sent: [{ teams, mark }] }) => ({ teams, mark }));
  assert.deepEqual(
    asked.map(({ teams, mark }) => [teams.length, mark]),
    [
      [10, 'm0'],
      [10, 'm0'],
      [10, 'm0'],
    ],
  );
  assertPairsTogether(asked.map(({ teams }) => teams));
  assert.deepEqual(asked.flatMap(({ teams }) => teams).sort(), teamsOf(15).sort());
  assert.equal(all.state, 'live');
  assert.deepEqual(of('error'), [], 'the refusal of the first deal is nobody’s news');
});

test('a server that came back allowing fewer is resumed in parts, each from where it stood', () => {
  const { all, clock, of } = sessions();
  all.follow('ws://test/', [{ teams: teamsOf(10), position: START }], MATCHES);
  const [first] = FakeSocket.all;
  serve(first, 20);
  first.say(event('broadcast:a0+h0', 'p7', { teams: ['a0', 'h0'] }));
  first.say({ op: 'mark', mark: 'm8' });
  first.die(1006);
  clock.pass(1_000);
  serve(FakeSocket.last, 10);
  const asked = open().map((socket) => {
    serve(socket, 10, 'm8');
    return socket.sent[0];
  });
  assert.deepEqual(
    asked.map(({ teams, mark, after }) => [teams.length, mark, after]),
    [
      [10, 'm8', { 'broadcast:a0+h0': 'p7' }],
      [10, 'm8', { 'broadcast:a0+h0': 'p7' }],
    ],
  );
  assert.equal(all.state, 'live');
  assert.equal(of('event').length, 1);
});

test('more room is told of once all sessions have heard of it, and used by the next deal', () => {
  const { all, of } = sessions();
  const day = [{ teams: teamsOf(15), position: START }];
  all.follow('ws://test/', day, MATCHES);
  const [one, other] = open();
  serve(one, 40);
  assert.deepEqual(of('room'), []);
  serve(other, 40);
  assert.deepEqual(of('room'), [{ teams: 40 }]);
  all.follow('ws://test/', day, MATCHES);
  assert.equal(open().length, 1);
  serve(open()[0], 40);
  assert.equal(all.state, 'live');
  assert.equal(of('room').length, 1);
});

test('nodes that differ do not make it deal for ever: the least counts', () => {
  const { all, of } = sessions();
  all.follow('ws://test/', [{ teams: teamsOf(10), position: START }], MATCHES);
  serve(open()[0], 10);
  const [one, other] = open();
  serve(one, 10);
  serve(other, 20);
  hello(one, 10);
  assert.deepEqual(open(), [one, other]);
  assert.deepEqual(of('room'), []);
});

test('a hello without a limit, or with one that makes no sense, changes nothing', () => {
  const { all } = sessions();
  all.follow('ws://test/', [{ teams: teamsOf(10), position: START }], MATCHES);
  const [only] = open();
  only.open();
  for (const teams of [undefined, 0, -3, 'many', null]) hello(only, teams);
  only.say({ op: 'hello', heartbeat_s: 25 });
  assert.deepEqual(open(), [only]);
});
