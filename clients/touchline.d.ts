/** Types of touchline.js, written by hand. The protocol is told in docs/protocol.md. */

export type Stream = 'broadcast' | 'update' | 'social' | 'sensor';
export type State = 'idle' | 'connecting' | 'live' | 'waiting' | 'offline' | 'closed';
export type GapReason = 'slow' | 'retention' | 'epoch' | 'damaged';

/** What has arrived. Opaque: hand it back as it is. */
export interface Position {
  mark: string | null;
  after: Record<string, string>;
}

export interface TouchlineOptions {
  /** `ws://host:port/v1/stream` */
  url: string | URL;
  /** Up to `limits.teams` of the server, 20 by default. */
  teams: string[];
  /** The server's default: broadcast and update. */
  streams?: Stream[];
  /** Language of translated updates. */
  lang?: string;
  /** Where to go on; goes before what `storage` holds. */
  position?: Position;
  /** Keeps the position over a reload: `sessionStorage`, since each tab has its own. */
  storage?: Pick<Storage, 'getItem' | 'setItem'> | null;
  storageKey?: string;
  /** For Node and for tests. */
  WebSocket?: typeof WebSocket;
  random?: () => number;
  now?: () => number;
  setTimeout?: (task: () => void, ms: number) => unknown;
  clearTimeout?: (timer: unknown) => void;
  page?: (EventTarget & { navigator: { onLine: boolean } }) | null;
}

/** An event as the server sent it. `data` is what its source wrote: show it as text only. */
export interface TouchlineEvent {
  topic: string;
  pos: string;
  source: string;
  id: string;
  teams: string[];
  type: string;
  occurred_at: string;
  data: Record<string, unknown>;
  /** Of sensor values. */
  key?: string;
  /** Of updates. */
  supersedes?: { source: string; id: string; rev: number };
}

/** What a server says first on each connection. */
export interface Hello {
  session: string;
  node: string;
  heartbeat_s: number;
  /** `teams`, `message_bytes`, `messages_per_s` of one session. */
  limits: Record<string, number>;
  state?: 'degraded';
}

export interface StateDetail {
  state: State;
  previous: State;
  /**
   * `live`: whether this connection resumed, and whether the server could make it whole (`null`:
   * nothing to resume).
   */
  resumed?: boolean;
  recovered?: boolean | null;
  /** `waiting`, `offline`: until the next attempt. */
  delay_ms?: number;
  attempt?: number;
  /** `waiting`, `offline`, `closed`: how the connection ended. */
  code?: number;
  reason?: string;
}

export interface GapDetail {
  /** Either a topic, with positions, or teams and streams, with marks. */
  topic?: string;
  teams?: string[];
  streams?: Stream[];
  from: string;
  to: string | null;
  reason: GapReason;
}

export interface ErrorDetail {
  /** A code of the server, or `repeated_position` or `bad_frame` of the client. */
  code: string;
  message: string;
  id?: number;
  retry_after_ms?: number;
  request?: Record<string, unknown> | null;
}

export interface TouchlineEvents {
  state: CustomEvent<StateDetail>;
  hello: CustomEvent<Hello>;
  event: CustomEvent<TouchlineEvent>;
  gap: CustomEvent<GapDetail>;
  mark: CustomEvent<{ mark: string }>;
  status: CustomEvent<{ state: 'degraded' | 'live'; streams: Stream[] }>;
  error: CustomEvent<ErrorDetail>;
}

export class Touchline extends EventTarget {
  constructor(options: TouchlineOptions);
  readonly state: State;
  readonly teams: string[];
  readonly position: Position;
  readonly hello: Hello | null;
  readonly stats: {
    events: number;
    repeated: number;
    stale: number;
    gaps: number;
    connections: number;
  };
  connect(): void;
  close(): void;
  retryNow(): void;
  follow(teams: string[]): void;
  unfollow(teams: string[]): void;
  persist(): void;
  addEventListener<K extends keyof TouchlineEvents>(
    type: K,
    listener: (event: TouchlineEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export class Ledger {
  constructor(position?: Partial<Position>);
  mark: string | null;
  after: Map<string, string>;
  readonly position: Position;
  take(event: TouchlineEvent): 'fresh' | 'repeated' | 'stale';
  skip(gap: GapDetail, whole: boolean): void;
  resumed(mark: string, sent: Partial<Position>, recovered?: boolean): void;
  prune(teams: Set<string>): void;
  afterThatFits(): Record<string, string>;
}

export const LIMITS: Readonly<Record<string, number>>;
export function closeMeaning(code: number): 'resume' | 'end';
export function backoffMs(
  attempt: number,
  code: number,
  hintMs: number | null,
  random: number,
): number;
