/** Match days for tests: events as a partner would send them, made by hand or played by a seed. */

const CLUBS = [
  ['har', 'Harbour City'],
  ['nor', 'Northgate United'],
  ['eas', 'Eastmere Rovers'],
  ['old', 'Old Quay'],
  ['vic', 'Victoria Park'],
  ['mil', 'Millbrook Town'],
  ['sta', 'Stanmoor Athletic'],
  ['riv', 'Riverside'],
  ['hil', 'Hillcrest Wanderers'],
  ['cas', 'Castleford Vale'],
  ['wes', 'Westhaven'],
  ['lak', 'Lakeside Albion'],
  ['gra', 'Granite Hill'],
  ['oak', 'Oakfield Rangers'],
  ['bay', 'Bayview'],
  ['tow', 'Tower Hamlet'],
  ['mar', 'Marlow Bridge'],
  ['pin', 'Pinewood'],
  ['fer', 'Ferry Lane'],
  ['sol', 'Solent Star'],
];
const PLAYERS = [
  'A. Okafor',
  'J. Lindqvist',
  'M. Duarte',
  'T. Nakamura',
  'R. Silva',
  'K. Brandt',
  'D. Moreau',
  'S. Iyer',
  'P. Novák',
  'É. Tremblay',
];
const GROUNDS = [
  'Dockside Arena',
  'The Terrace',
  'Mill Lane',
  'Northern Road',
  'Quay Park',
  'Garden Street',
  'The Bowl',
  'Station Field',
  'Old Mint',
  'Lakeshore',
];

let counter = 0;

/** A match whose methods make its events. */
export class Fixture {
  constructor(number = 0) {
    const [home, away] = [CLUBS[(number * 2) % 20], CLUBS[(number * 2 + 1) % 20]];
    this.home = home[0];
    this.away = away[0];
    this.base = {
      match: `m${number}`,
      competition: 'Premier Test League',
      round: 'Matchday 14',
      date: '2026-11-22',
      ground: GROUNDS[number % 10],
      home: this.home,
      away: this.away,
      home_name: home[1],
      away_name: away[1],
      generated: true,
    };
    this.score = { home: 0, away: 0 };
    this.status = 'scheduled';
    this.minute = 0;
  }

  event(type, extra = {}) {
    counter += 1;
    return {
      id: `e${process.pid}-${counter}`,
      teams: [this.home, this.away],
      type,
      occurred_at: new Date().toISOString(),
      data: {
        ...this.base,
        status: this.status,
        minute: this.minute,
        score: { ...this.score },
        ...extra,
      },
    };
  }

  scheduled() {
    return this.event('match.scheduled');
  }

  kickoff() {
    Object.assign(this, { status: 'live', minute: 1 });
    return this.event('match.kickoff');
  }

  goal(side, minute, player = PLAYERS[minute % 10], extra = {}) {
    this.score[side] += 1;
    this.minute = minute;
    return this.event('goal', { team: this[side], player, ...extra });
  }

  overturned(goal, side, minute) {
    this.score[side] -= 1;
    this.minute = minute;
    return this.event('var.overturned', {
      team: this[side],
      overturns: goal.id,
      player: goal.data.player,
    });
  }

  card(side, minute, colour = 'yellow') {
    this.minute = minute;
    return this.event(`card.${colour}`, { team: this[side], player: PLAYERS[(minute + 3) % 10] });
  }

  swap(side, minute) {
    this.minute = minute;
    return this.event('substitution', {
      team: this[side],
      player: PLAYERS[minute % 10],
      player_in: PLAYERS[(minute + 5) % 10],
    });
  }

  turn(status, type, minute) {
    Object.assign(this, { status, minute });
    return this.event(type);
  }
}

/** A day in full swing: ten matches, some over, some to come, for looks. */
export function afternoon() {
  const fixtures = Array.from({ length: 10 }, (_, number) => new Fixture(number));
  const events = fixtures.map((fixture) => fixture.scheduled());
  const playing = fixtures.slice(0, 8);
  events.push(...playing.map((fixture) => fixture.kickoff()));
  playing.forEach((fixture, index) => {
    for (let goal = 0; goal < (index * 5 + 3) % 5; goal += 1) {
      const minute = 4 + ((index * 13 + goal * 17) % 40);
      const note = goal === 1 ? { note: 'penalty' } : {};
      events.push(
        fixture.goal((index + goal) % 3 === 0 ? 'away' : 'home', minute, undefined, note),
      );
    }
    if (index % 2 === 0) events.push(fixture.card('away', 30 + index));
    if (index === 5) events.push(fixture.card('home', 41, 'red'));
    if (index > 1) events.push(fixture.turn('half_time', 'match.half_time', 45));
    if (index > 2)
      events.push(fixture.turn('live', 'match.second_half', 46), fixture.swap('home', 58 + index));
    if (index === 7) events.push(fixture.turn('full_time', 'match.full_time', 90));
  });
  return { fixtures, events };
}

/** Plays on for ever: something happens somewhere every `delayMs`. */
export async function* play({ delayMs }) {
  const { fixtures, events } = afternoon();
  yield* events;
  for (let turn = 0; ; turn += 1) {
    await new Promise((done) => {
      setTimeout(done, delayMs);
    });
    const fixture = fixtures[turn % 7];
    const minute = Math.min(fixture.minute + 1, 90);
    const side = turn % 3 ? 'home' : 'away';
    yield turn % 4 === 0 ? fixture.goal(side, minute) : fixture.swap(side, minute);
  }
}
