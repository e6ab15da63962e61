-- Dead letters, schema 1. Times are microseconds since 1970.
create table letters (
    id text primary key not null,       -- UUIDv7: ascends with the time of parking
    twin blob not null unique,          -- hash of desk, source, reason and raw: the same letter again
    desk text not null,
    stream text not null,
    source text not null,
    reason text not null,
    detail text not null,
    attempts integer not null,
    times integer not null,             -- how often the same letter came
    correlation text not null,
    received_at integer not null,
    parked_at integer not null,
    last_at integer not null,           -- when the same letter came last
    state text not null,                -- parked, replaying, replayed
    state_at integer not null,          -- since when it is in that state
    history text not null,              -- JSON: [{"at":...,"what":"..."}]
    raw_bytes integer not null,         -- the length of what came
    size integer not null,              -- what the row is counted for
    raw blob not null                   -- what came, cut where it was too long
) strict;
create index letters_by_state on letters (state, id);
create index letters_by_last on letters (last_at);
create index letters_waiting on letters (stream, parked_at) where state <> 'replayed';

-- What all rows come to, so that nobody has to count them.
create table totals (
    one integer primary key not null check (one = 1),
    letters integer not null,
    bytes integer not null
) strict;
insert into totals values (1, 0, 0);
create trigger letters_come after insert on letters begin
    update totals set letters = letters + 1, bytes = bytes + new.size;
end;
create trigger letters_go after delete on letters begin
    update totals set letters = letters - 1, bytes = bytes - old.size;
end;
pragma user_version = 1;
