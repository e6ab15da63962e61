/**
 * A stand-in for `touchline serve`: the stream of protocol version 1, `/v1/live`, and the board's
 * files.
 *
 * It is small and obedient, so that the board can be tested without a build, and it can be told to
 * misbehave in ways that are hard to ask of the real server: gaps, ailing streams, close codes,
 * frames sent twice, silence. Its log lives as long as the object; `kill` cuts every line and port,
 * `listen` comes back on the same ports with the same log.
 *
 * Run by hand, `node mock-server.mjs`, it plays an endless match day on port 8081.
 */

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

const BOARD = fileURLToPath(new URL('../../clients/board/', import.meta.url));
const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

export class Mock {
  constructor({ heartbeatS = 25, teamsMax = 20 } = {}) {
    this.epoch = 'e1';
    this.log = [];
    this.first = 0;
    this.heartbeatS = heartbeatS;
    this.teamsMax = teamsMax;
    this.sessions = new Set();
    this.ports = { api: 0, stream: 0 };
    this.panel = {
      sockets: 1000,
      events_per_s: 2,
      deliveries_per_s: 840,
      p99_ms: 1.8,
      spread_ms: 3.1,
      last_event_age_ms: 400,
      dead_letters: 0,
    };
    this.sources = [];
    this.keeps = { state: 'open', waiting: 0, handed_on: 0 };
    this.requests = [];
    this.deaf = false;
  }

  async listen() {
    this.api = createServer((request, response) => this.answer(request, response));
    this.stream = createServer((_, response) => response.writeHead(404).end());
    this.sockets = new WebSocketServer({
      server: this.stream,
      path: '/v1/stream',
      handleProtocols: () => 'touchline.v1',
    });
    this.sockets.on('connection', (socket) => this.open(socket));
    this.ports.api = await listen(this.api, this.ports.api);
    this.ports.stream = await listen(this.stream, this.ports.stream);
    this.beat = setInterval(() => this.heartbeat(), this.heartbeatS * 1000);
  }

  /** As `kill -9`: nobody is told. */
  async kill() {
    clearInterval(this.beat);
    for (const { socket } of this.sessions) socket.terminate();
    this.sessions.clear();
    for (const server of [this.api, this.stream]) server.closeAllConnections();
    await Promise.all(
      [this.api, this.stream].map(
        (server) =>
          new Promise((done) => {
            server.close(done);
          }),
      ),
    );
  }

  get boardUrl() {
    return `http://127.0.0.1:${this.ports.api}/`;
  }
  get mark() {
    return this.markAt(this.log.length);
  }
  markAt(seq) {
    return `m.${this.epoch}.${seq}`;
  }

  /** Makes events durable and sends them to whoever follows; `stream` is broadcast where unsaid. */
  publish(events) {
    for (const { stream = 'broadcast', ...event } of events) {
      const seq = this.log.length;
      const teams = [...event.teams].sort();
      const frame = {
        op: 'event',
        topic: `${stream}:${teams.join('+')}`,
        pos: `p.${this.epoch}.${seq}`,
        source: 'skyline',
        ...event,
        teams,
      };
      this.log.push(frame);
      for (const session of this.sessions) if (follows(session, frame)) send(session, frame);
    }
  }

  broadcast(frame) {
    for (const session of this.sessions) send(session, frame);
  }

  closeAll(code, reason = '') {
    for (const { socket } of this.sessions) socket.close(code, reason);
  }

  heartbeat() {
    if (!this.deaf) this.broadcast({ op: 'mark', mark: this.mark });
  }

  open(socket) {
    const session = { socket, teams: new Set(), subscribed: false };
    this.sessions.add(session);
    socket.on('close', () => this.sessions.delete(session));
    socket.on('error', () => {});
    socket.on('message', (raw) => this.take(session, JSON.parse(String(raw))));
    const limits = { teams: this.teamsMax, message_bytes: 65536, messages_per_s: 20 };
    send(session, {
      op: 'hello',
      session: 's1',
      node: 'mock',
      heartbeat_s: this.heartbeatS,
      limits,
    });
  }

  take(session, message) {
    this.requests.push(message);
    const { op, id, teams } = message;
    if (op === 'ping') return send(session, { op: 'pong', id });
    if (op === 'unsubscribe') {
      for (const team of teams) session.teams.delete(team);
      return send(session, { op: 'unsubscribed', id, teams });
    }
    if (new Set([...session.teams, ...teams]).size > this.teamsMax) {
      return send(session, {
        op: 'error',
        id,
        code: 'too_many_teams',
        message: `${this.teamsMax} at most`,
        retry_after_ms: 0,
      });
    }
    for (const team of teams) session.teams.add(team);
    return this.subscribe(session, message);
  }

  subscribe(session, { id, teams, streams, mark, after = {} }) {
    const resumes = mark !== undefined && !session.subscribed;
    session.subscribed = true;
    if (!resumes) return send(session, { op: 'subscribed', id, teams, mark: this.mark });
    const [, epoch, next] = mark.split('.');
    const other = epoch !== this.epoch;
    const from = other ? this.log.length : Math.max(Number(next), this.first);
    const recovered = !other && Number(next) >= this.first;
    send(session, {
      op: 'subscribed',
      id,
      teams,
      mark: recovered ? mark : this.markAt(from),
      recovered,
    });
    if (!recovered) {
      const reason = other ? 'epoch' : 'retention';
      send(session, {
        op: 'gap',
        teams,
        streams,
        from: mark,
        to: this.markAt(from),
        reason,
      });
    }
    for (const frame of this.log.slice(from)) {
      const seen = after[frame.topic];
      const known =
        seen?.startsWith(`p.${this.epoch}.`) &&
        Number(frame.pos.split('.')[2]) <= Number(seen.split('.')[2]);
      if (follows(session, frame) && !known) send(session, frame);
    }
    return undefined;
  }

  /** What of the log is about matches. */
  get told() {
    return this.log.filter(({ topic }) => topic.startsWith('broadcast:'));
  }

  /** What `/v1/live` says: by its own reckoning, not the board's. */
  live() {
    const matches = new Map();
    for (const { id, type, data, occurred_at: updated_at } of this.told) {
      const match = matches.get(data.match) ?? { scorers: [], cards: [] };
      const {
        match: name,
        team,
        player,
        note,
        minute,
        stoppage,
        overturns,
        player_in: _,
        ...rest
      } = data;
      Object.assign(match, { id: name, minute, stoppage, updated_at }, rest);
      if (type === 'goal') match.scorers.push({ id, team, player, note, minute, stoppage });
      if (type === 'var.overturned')
        match.scorers = match.scorers.filter((goal) => goal.id !== overturns);
      if (type.startsWith('card.'))
        match.cards.push({ id, card: type.slice(5), team, player, minute });
      matches.set(name, match);
    }
    const teams = [...matches.values()].flatMap((m) => [
      { id: m.home, name: m.home_name },
      { id: m.away, name: m.away_name },
    ]);
    return {
      mark: this.mark,
      stream: { port: this.ports.stream },
      teams,
      matches: [...matches.values()],
      events: this.told.slice(-50),
      panel: this.panel,
      sources: this.sources,
      sources_total: this.sources.length,
      log: this.keeps,
    };
  }

  async answer(request, response) {
    const { pathname } = new URL(request.url, 'http://x');
    if (pathname === '/v1/live') {
      return response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(this.live()));
    }
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    try {
      if (!/^[a-z]+\.[a-z]+$/.test(name)) throw new Error('no such file');
      const body = await readFile(BOARD + name);
      const policy = "default-src 'self'; connect-src 'self' ws: wss:";
      return response
        .writeHead(200, {
          'content-type': TYPES[name.split('.')[1]],
          'content-security-policy': policy,
        })
        .end(body);
    } catch {
      return response.writeHead(404).end();
    }
  }
}

const follows = ({ teams }, frame) => frame.teams.some((team) => teams.has(team));

function send({ socket }, frame) {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(frame));
}

function listen(server, port) {
  return new Promise((done, fail) => {
    server.once('error', fail).listen(port, '127.0.0.1', () => done(server.address().port));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { play } = await import('./day.mjs');
  const mock = new Mock();
  mock.ports = { api: Number(process.env.PORT ?? 8081), stream: 0 };
  await mock.listen();
  console.log(mock.boardUrl);
  for await (const event of play({ delayMs: 900 })) mock.publish([event]);
}
