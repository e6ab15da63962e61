/** What sensors, people and sources say is read with care: bounded, and nothing but figures and text. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Senses, say } from '../../clients/board/senses.js';
import { age, readSource } from '../../clients/board/sources.js';
import { readPost } from '../../clients/board/posts.js';

const MATCH = { home: 'ars', away: 'che' };
const sensor = (type, data, teams = ['che', 'ars']) => ({ type, data, teams });

test('a value reads as a figure with its unit, or not at all', () => {
  for (const [data, said] of [
    [{ value: 3.5, unit: 'm/s' }, '3.5 m/s'],
    [{ value: 96 }, '96'],
    [{ home: 55, away: 45, unit: '%' }, '55–45 %'],
    [{ value: '<b>' }, ''],
    [{ value: NaN }, ''],
    [{}, ''],
    [undefined, ''],
    [{ value: 1, unit: 'x'.repeat(100) }, `1 ${'x'.repeat(12)}`],
  ])
    assert.equal(say(data), said, JSON.stringify(data));
});

test('a match has the latest of each kind in a fixed order, until it is old', () => {
  const senses = new Senses();
  senses.take(sensor('noise', { value: 80, unit: 'dB' }), 0);
  senses.take(sensor('zeal', { value: 1 }), 0);
  senses.take(sensor('wind', { value: 3, unit: 'm/s' }), 0);
  senses.take(sensor('noise', { value: 110, unit: 'dB' }), 9_000);
  senses.take(sensor('wind', { value: 9 }, ['ars']), 9_000);
  const said = (nowMs) =>
    senses.of(MATCH, nowMs).map(({ name, said: value, old }) => [name, value, old]);
  assert.deepEqual(said(9_000), [
    ['Wind', '3 m/s', false],
    ['Crowd', '110 dB', false],
    ['zeal', '1', false],
  ]);
  assert.deepEqual(said(13_000).at(0), ['Wind', '3 m/s', true]);
  assert.deepEqual(said(65_000), [['Crowd', '110 dB', true]]);
  const [{ level }] = senses.of(MATCH, 65_000);
  assert.ok(level > 0.9 && level <= 1, String(level));
});

test('kinds and matches are bounded', () => {
  const senses = new Senses();
  for (let n = 0; n < 100; n += 1) senses.take(sensor(`kind${n}`, { value: n }), 0);
  assert.equal(senses.of(MATCH, 0).length, 8);
  for (let n = 0; n < 1_000; n += 1) senses.take(sensor('wind', { value: n }, [`t${n}`, 'x']), 0);
  assert.deepEqual(senses.of(MATCH, 0), [], 'the longest silent gave way');
  assert.equal(senses.of({ home: 't999', away: 'x' }, 0).length, 1);
});

test('a post is its text, cut to a length, or nothing', () => {
  const post = (data) => readPost({ source: 'plaza', id: '1', teams: ['ars'], data });
  assert.equal(post({ text: '  ' }), null);
  assert.equal(post({ text: 7 }), null);
  assert.equal(post(undefined), null);
  assert.equal(post({ text: '<b>hi</b>', author: {} }).said, '<b>hi</b>');
  const long = post({ text: '⚽'.repeat(1_000) }).said;
  assert.equal([...long].length, 281, 'whole letters, and a mark that some are left out');
});

test('a source is read as words, whatever it says', () => {
  assert.deepEqual(
    readSource({
      name: 'venue-4',
      kind: 'sensor',
      state: 'failing',
      staleness_ms: 4_818,
      events_per_s: 0,
      breaker: 'open',
    }),
    {
      name: 'venue-4',
      kind: 'sensors',
      state: 'failing',
      said: 'failing, paused',
      age: '4.8 s',
      rate: '0/s',
    },
  );
  const odd = readSource({ name: 4, kind: 'constructor', state: '__proto__', breaker: 'toString' });
  assert.deepEqual(
    [odd.name, odd.kind, odd.state, odd.said, odd.age, odd.rate],
    ['', '', 'silent', 'silent', '–', '–/s'],
  );
  for (const [ms, said] of [
    [400, '0.4 s'],
    [48_000, '48 s'],
    [300_000, '5 min'],
    [1e7, '3 h'],
  ])
    assert.equal(age(ms), said);
});
