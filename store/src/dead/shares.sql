-- Who holds how much, so that room is made where most of it is taken. Builds that don't know this
-- table keep it all the same: the triggers are the file's. Part of schema 1.
create table shares (
    state text not null,
    goes_last integer not null,         -- 1: of desk `log`, acknowledged and nowhere else
    source text not null,
    letters integer not null,
    bytes integer not null,
    primary key (state, goes_last, source)
) strict, without rowid;
insert into shares
    select state, desk = 'log', source, count(*), sum(size) from letters group by 1, 2, 3;
create index shares_by_letters on shares (state, goes_last, letters);
create index shares_by_bytes on shares (state, goes_last, bytes);
create index letters_by_share on letters (state, (desk = 'log'), source, id);
create trigger share_comes after insert on letters begin
    insert into shares values (new.state, new.desk = 'log', new.source, 1, new.size)
        on conflict (state, goes_last, source)
        do update set letters = letters + 1, bytes = bytes + excluded.bytes;
end;
create trigger share_goes after delete on letters begin
    update shares set letters = letters - 1, bytes = bytes - old.size
        where state = old.state and goes_last = (old.desk = 'log') and source = old.source;
    delete from shares
        where state = old.state and goes_last = (old.desk = 'log') and source = old.source
        and letters <= 0;
end;
create trigger share_moves after update of state on letters when old.state <> new.state begin
    insert into shares values (new.state, new.desk = 'log', new.source, 1, new.size)
        on conflict (state, goes_last, source)
        do update set letters = letters + 1, bytes = bytes + excluded.bytes;
    update shares set letters = letters - 1, bytes = bytes - old.size
        where state = old.state and goes_last = (old.desk = 'log') and source = old.source;
    delete from shares
        where state = old.state and goes_last = (old.desk = 'log') and source = old.source
        and letters <= 0;
end;
