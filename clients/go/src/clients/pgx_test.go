// Package clients runs pgx, and database/sql on pgx and lib/pq, against the server of `pglite run`.
package clients

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	_ "github.com/jackc/pgx/v4/stdlib"
	_ "github.com/lib/pq"
)

var url = os.Getenv("DATABASE_URL")
var unix = strings.Contains(url, "host=%2F")
var ctx = context.Background()

func connect(t *testing.T) *pgx.Conn {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(ctx) })
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, code string) {
	t.Helper()
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != code {
		t.Fatalf("wanted SQLSTATE %s, got %v", code, err)
	}
}

func TestTypes(t *testing.T) {
	db := connect(t)
	_, err := db.Exec(ctx, "DROP TYPE IF EXISTS go_mood; CREATE TYPE go_mood AS ENUM ('sad', 'happy')")
	must(t, err)
	moment := time.Date(2024, 2, 29, 12, 30, 45, 123456000, time.UTC)
	day := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
	raw := make([]byte, 256)
	for i := range raw {
		raw[i] = byte(i)
	}
	type values struct {
		Small   int16
		Normal  int32
		Big     int64
		Ratio   float64
		Amount  string
		Label   string
		Raw     []byte
		Flag    bool
		Key     [16]byte
		Day     time.Time
		Moment  time.Time
		Span    time.Duration
		Doc     map[string]any
		Numbers []int32
		Words   []string
		Address net.IP
		Feeling string
	}
	want := values{-7, 2000000000, 9000000000000000000, 0.1, "12345678.9012", "naïve 'quoted' \\ text \U0001F418", raw, true, [16]byte{1, 2, 3}, day, moment,
		90 * time.Minute, map[string]any{"a": []any{1.0, nil}, "ü": "yes"}, []int32{1, 2}, []string{"a", "{b,c}"}, net.ParseIP("192.168.0.1"), "happy"}
	var got values
	var arguments, places []any
	for i, w, g := 0, reflect.ValueOf(want), reflect.ValueOf(&got).Elem(); i < w.NumField(); i++ {
		arguments = append(arguments, w.Field(i).Interface())
		places = append(places, g.Field(i).Addr().Interface())
	}
	row := db.QueryRow(ctx, `SELECT $1::int2, $2::int4, $3::int8, $4::float8, $5::numeric::text, $6::text, $7::bytea, $8::bool, $9::uuid, $10::date, $11::timestamptz,
		$12::interval, $13::jsonb, $14::int[], $15::text[], $16::inet, $17::go_mood`, arguments...)
	must(t, row.Scan(places...))
	got.Moment, got.Address = got.Moment.UTC(), got.Address.To16()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("wanted %v, got %v", want, got)
	}
	var none *string
	must(t, db.QueryRow(ctx, "SELECT $1::text", nil).Scan(&none))
	if none != nil {
		t.Fatal(*none)
	}
}

func TestTransactionsSavepointsBatchesAndSQLSTATE(t *testing.T) {
	db := connect(t)
	_, err := db.Exec(ctx, "CREATE TEMP TABLE t (i int PRIMARY KEY)")
	must(t, err)
	err = db.BeginTxFunc(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(outer pgx.Tx) error {
		_, err := outer.Exec(ctx, "INSERT INTO t VALUES (1)")
		must(t, err)
		wants(t, outer.BeginFunc(ctx, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "INSERT INTO t VALUES ($1)", 1)
			return err
		}), "23505")
		return errors.New("roll back")
	})
	if err == nil || err.Error() != "roll back" {
		t.Fatal(err)
	}
	batch := &pgx.Batch{}
	for i := 0; i < 500; i++ {
		batch.Queue("INSERT INTO t VALUES ($1)", i)
	}
	must(t, db.SendBatch(ctx, batch).Close())
	var count int
	must(t, db.QueryRow(ctx, "SELECT count(*) FROM t").Scan(&count))
	if count != 500 {
		t.Fatal(count)
	}
}

func TestCopyBothWaysAndRows(t *testing.T) {
	db := connect(t)
	_, err := db.Exec(ctx, "CREATE TEMP TABLE t (i int, label text)")
	must(t, err)
	copied, err := db.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"i", "label"}, pgx.CopyFromSlice(20000, func(i int) ([]any, error) {
		return []any{i, fmt.Sprint("row ", i)}, nil
	}))
	must(t, err)
	var out strings.Builder
	_, err = db.PgConn().CopyTo(ctx, &out, "COPY t TO STDOUT")
	must(t, err)
	if copied != 20000 || strings.Count(out.String(), "\n") != 20000 {
		t.Fatal(copied)
	}
	rows, err := db.Query(ctx, "SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
	must(t, err)
	bytes := 0
	for rows.Next() {
		var text string
		must(t, rows.Scan(&text))
		bytes += len(text)
	}
	must(t, rows.Err())
	if bytes != 20000000 {
		t.Fatal(bytes)
	}
}

func TestNotificationsAndCancel(t *testing.T) {
	db, other := connect(t), connect(t)
	_, err := db.Exec(ctx, "LISTEN events")
	must(t, err)
	_, err = other.Exec(ctx, "SELECT pg_notify('events', 'hello')")
	must(t, err)
	note, err := db.WaitForNotification(ctx)
	must(t, err)
	if note.Payload != "hello" {
		t.Fatal(note)
	}
	time.AfterFunc(200*time.Millisecond, func() { db.PgConn().CancelRequest(ctx) })
	_, err = db.Exec(ctx, "SELECT pg_sleep(60)")
	wants(t, err, "57014")
	short, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	if _, err = other.Exec(short, "SELECT pg_sleep(60)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestPoolReconnects(t *testing.T) {
	config, err := pgxpool.ParseConfig(url)
	must(t, err)
	config.MaxConns, config.MinConns = 16, 8
	pool, err := pgxpool.ConnectConfig(ctx, config)
	must(t, err)
	defer pool.Close()
	for round := 0; round < 3; round++ {
		var all sync.WaitGroup
		for i := 0; i < 100; i++ {
			all.Add(1)
			go func(i int) {
				defer all.Done()
				var got int
				if err := pool.QueryRow(ctx, "SELECT $1::int FROM pg_sleep(0.005)", i).Scan(&got); (err != nil || got != i) && round != 1 {
					t.Error(i, got, err)
				}
			}(i)
		}
		all.Wait()
		if round == 0 {
			_, err = connect(t).Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
			must(t, err)
			// The pool learns of it when it next uses each: in round 1.
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func TestDatabaseSQL(t *testing.T) {
	for _, driver := range []string{"pgx", "postgres"} {
		if driver == "postgres" && unix {
			continue // lib/pq takes no directory from a URL without a host.
		}
		db, err := sql.Open(driver, url)
		must(t, err)
		transaction, err := db.Begin()
		must(t, err)
		var label string
		must(t, transaction.QueryRow("SELECT $1::text || current_user", "I am ").Scan(&label))
		must(t, transaction.Rollback())
		if label != "I am postgres" {
			t.Fatal(driver, label)
		}
		must(t, db.Close())
	}
}

func TestSslmodes(t *testing.T) {
	for _, mode := range []string{"disable", "allow", "prefer"} {
		db, err := pgx.Connect(ctx, strings.Replace(url, "sslmode=disable", "sslmode="+mode, 1))
		must(t, err)
		must(t, db.Close(ctx))
	}
	if !unix {
		_, err := pgx.Connect(ctx, strings.Replace(url, "sslmode=disable", "sslmode=require", 1))
		if err == nil || !strings.Contains(err.Error(), "server refused TLS connection") {
			t.Fatal(err)
		}
	}
}
