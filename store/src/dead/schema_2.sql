-- Dead letters, schema 2: what others have been told of a letter.
alter table letters add column change integer not null default 1;   -- counts what became of it
alter table letters add column told integer not null default 0;     -- the change that others know;
                                        -- below 0: that is being told; 0: they know nothing of it
create index letters_news on letters (id) where change <> told;
create trigger letters_change after update of attempts, times, state on letters begin
    update letters set change = change + 1 where id = new.id;
end;

-- Letters that are gone, and others may still know.
create table buried (
    id text primary key not null,
    stream text not null
) strict;
create trigger letters_buried after delete on letters when old.told <> 0 begin
    insert or ignore into buried values (old.id, old.stream);
end;
pragma user_version = 2;
