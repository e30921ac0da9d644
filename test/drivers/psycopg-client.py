# What psycopg 3 sees of a server: runs one scenario and prints its answers as JSON, so that the
# test has one expectation for a Postgres and for the gateway.
import json
import sys
import threading
import time

import psycopg

LOGIN = json.loads(sys.argv[2])


def connect(**options):
    return psycopg.connect(**{**LOGIN, **options})


def state_of(error):
    return error.sqlstate


def prepared():
    """A statement prepared by the server from its first run on, in text and binary."""
    with connect(autocommit=True, prepare_threshold=0) as conn:
        answers = []
        for i in range(5):
            row = conn.execute("select %s::int + 1, %b::bytea", (i, bytes([i, 0, 255]))).fetchone()
            answers.append([row[0], row[1].hex()])
        binary = conn.cursor(binary=True).execute("select 1.5::float8, now() > %s", ("2000-01-01",))
        answers.append(list(binary.fetchone()))
        names = "select count(*) from pg_prepared_statements where statement like '%%::bytea%%'"
        answers.append(conn.execute(names, prepare=False).fetchone()[0])
        return answers


def deallocated():
    """psycopg throws statements away by DEALLOCATE once it holds more than it may."""
    with connect(autocommit=True, prepare_threshold=0) as conn:
        conn.prepared_max = 3
        rows = [conn.execute(f"select %s::int + {i}", (1,)).fetchone()[0] for i in range(12)]
        return [rows, conn.execute("select 7").fetchone()[0]]


def pipeline():
    """Many statements in flight; one that fails takes those up to the Sync with it."""
    with connect(autocommit=True) as conn:
        conn.execute("create temp table pipe (n int primary key)")
        with conn.pipeline():
            cursors = [conn.execute("insert into pipe values (%s) returning n", (i,))
                       for i in range(20)]
            got = [cursor.fetchone()[0] for cursor in cursors]
        try:
            with conn.pipeline() as pipe:
                conn.execute("insert into pipe values (100)")
                conn.execute("insert into pipe values (5)")
                conn.execute("insert into pipe values (101)")
                pipe.sync()
            failed = None
        except psycopg.Error as error:
            failed = state_of(error)
        count = conn.execute("select count(*), max(n) from pipe").fetchone()
        return [got, failed, list(count)]


def copy():
    """COPY in by rows, out by rows, binary, and one that the client gives up."""
    with connect() as conn:
        cur = conn.cursor()
        cur.execute("create temp table copied (n int, body text)")
        with cur.copy("copy copied from stdin") as into:
            for i in range(20000):
                into.write_row((i, f"row {i}\tä\\"))
        total = 0
        with cur.copy("copy copied to stdout") as out:
            for row in out.rows():
                total += int(row[0]) if row[1] == f"row {row[0]}\tä\\" else 10**9
        with cur.copy("copy copied from stdin (format binary)") as into:
            into.set_types(["int4", "text"])
            into.write_row((20000, None))
        cur.execute("savepoint s")
        try:
            with cur.copy("copy copied from stdin") as into:
                into.write_row((1, "x"))
                raise ValueError("given up")
        except psycopg.errors.QueryCanceled as error:
            said = state_of(error)
        cur.execute("rollback to s")
        cur.execute("select count(*), max(n) from copied")
        return [total, said, list(cur.fetchone())]


def notify():
    """LISTEN and NOTIFY between two connections; the notifier's pid is the one it was told."""
    with connect(autocommit=True) as listener, connect(autocommit=True) as other:
        heard = []
        listener.add_notify_handler(lambda told: heard.append([told.channel, told.payload]))
        listener.execute("listen psycopg_channel")
        listener.execute("notify psycopg_channel, 'own'")
        other.execute("select pg_notify('psycopg_channel', n::text) from generate_series(1, 3) n")
        for notification in listener.notifies():
            heard.append([notification.channel, notification.payload])
            if notification.payload == "3":
                break
        return [row for i, row in enumerate(heard) if row not in heard[:i]]


def notices():
    """Notices reach their handler, with severity and text."""
    with connect(autocommit=True) as conn:
        heard = []
        conn.add_notice_handler(lambda notice: heard.append([notice.severity_nonlocalized,
                                                             notice.message_primary]))
        conn.execute("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
        return heard


def two_phase():
    """A transaction prepared on one connection and committed from another."""
    with connect(autocommit=True) as conn:
        conn.execute("drop table if exists two_phase")
        conn.execute("create table two_phase (n int)")
    with connect() as conn, connect() as other:
        conn.tpc_begin(conn.xid(7, "multigres", conn.info.dbname))
        conn.execute("insert into two_phase values (1)")
        conn.tpc_prepare()
        before = other.execute("select count(*) from two_phase").fetchone()[0]
        waiting = [x.gtrid for x in other.tpc_recover() if x.gtrid == "multigres"]
        other.rollback()
        conn.tpc_commit()
        after = other.execute("select count(*) from two_phase").fetchone()[0]
        other.rollback()
        conn.tpc_begin(conn.xid(8, "multigres", conn.info.dbname))
        conn.execute("insert into two_phase values (2)")
        conn.tpc_rollback()
        last = other.execute("select count(*) from two_phase").fetchone()[0]
        return [before, waiting, after, last]


def cancel():
    """A cancel by the driver's own request ends the statement, not the session."""
    with connect(autocommit=True) as conn:
        timer = threading.Thread(target=lambda: (time.sleep(0.3), conn.cancel()))
        timer.start()
        try:
            conn.execute("select pg_sleep(30)")
            said = None
        except psycopg.errors.QueryCanceled as error:
            said = state_of(error)
        timer.join()
        return [said, conn.execute("select 1").fetchone()[0]]


def cursors():
    """A cursor of the server's, WITH HOLD and without, scrolled."""
    with connect() as conn:
        with conn.cursor("plain") as cur:
            cur.itersize = 2
            cur.execute("select generate_series(1, 5)")
            plain = [row[0] for row in cur]
        with conn.cursor("held", withhold=True, scrollable=True) as cur:
            cur.execute("select generate_series(1, 9)")
            conn.commit()
            cur.scroll(4)
            held = [row[0] for row in cur.fetchmany(2)]
            cur.scroll(0, mode="absolute")
            held.append(cur.fetchone()[0])
        return [plain, held]


def transactions():
    """Savepoints, isolation levels and read-only sessions as the driver sets them."""
    with connect() as conn:
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = True
        level = conn.execute("show transaction_isolation").fetchone()[0]
        try:
            conn.execute("create table never (n int)")
            said = None
        except psycopg.Error as error:
            said = state_of(error)
        conn.rollback()
        conn.read_only = False
        conn.execute("create temp table saved (n int) on commit drop")
        try:
            with conn.transaction():
                conn.execute("insert into saved values (1)")
                conn.execute("insert into saved values (1 / 0)")
        except psycopg.errors.DivisionByZero:
            pass
        conn.execute("insert into saved values (2)")
        rows = [row[0] for row in conn.execute("select n from saved")]
        return [level, said, rows]


def encodings():
    """What the driver decodes by is what the server says."""
    with connect(autocommit=True, client_encoding="latin1") as conn:
        first = [conn.info.encoding, conn.execute("select 'ä', length('ä')").fetchone()]
        conn.execute("set client_encoding to utf8")
        second = [conn.info.encoding, conn.execute("select '漢', length('漢')").fetchone()]
        return [first, second]


print(json.dumps(globals()[sys.argv[1]]()))
