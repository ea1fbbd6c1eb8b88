import java.math.BigDecimal;
import java.io.StringReader;
import java.sql.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;

/** PostgreSQL's JDBC driver, over TCP: it has no Unix sockets. */
public class Client {
    static final String URL = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");

    static Connection connect(String... more) throws SQLException {
        Properties properties = new Properties();
        properties.put("user", System.getenv("PGUSER"));
        properties.put("password", System.getenv("PGPASSWORD"));
        for (int i = 0; i < more.length; i += 2) properties.put(more[i], more[i + 1]);
        return DriverManager.getConnection(URL, properties);
    }

    static void same(Object got, Object want) {
        if (!Objects.deepEquals(got, want)) throw new AssertionError("wanted " + want + ", got " + got);
    }

    static void refused(String state, Callable<?> body) throws Exception {
        try {
            body.call();
        } catch (SQLException error) {
            same(error.getSQLState(), state);
            return;
        }
        throw new AssertionError("wanted SQLSTATE " + state);
    }

    static Object one(Connection db, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
            ResultSet rows = statement.executeQuery();
            rows.next();
            return rows.getObject(1);
        }
    }

    static void types() throws Exception {
        try (Connection db = connect("prepareThreshold", "1", "stringtype", "unspecified")) {
            db.createStatement().execute("DROP TYPE IF EXISTS java_mood; CREATE TYPE java_mood AS ENUM ('sad', 'happy')");
            OffsetDateTime moment = OffsetDateTime.of(2024, 2, 29, 12, 30, 45, 123456000, ZoneOffset.UTC);
            String sql = "SELECT ?::int2, ?::int4, ?::int8, ?::float8, ?::numeric, ?::text, ?::bytea, ?::bool, ?::uuid, ?::date, ?::time, ?::timestamptz, ?::jsonb, ?::text[], ?::inet, ?::java_mood, ?::text";
            Object[] values = {(short) -7, 2000000000, Long.MAX_VALUE, 0.1, new BigDecimal("12345678.9012"), "na\u00efve '\\", new byte[] {0, -1}, true, UUID.randomUUID(),
                LocalDate.of(1999, 12, 31), LocalTime.of(23, 59, 59), moment, "{\"a\": 1}", db.createArrayOf("text", new String[] {"a", "{b,c}"}), "192.168.0.1", "happy", null};
            // In text at first, then prepared and in binary.
            for (int round = 0; round < 6; round++) {
                try (PreparedStatement statement = db.prepareStatement(sql)) {
                    for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
                    ResultSet row = statement.executeQuery();
                    row.next();
                    same(row.getShort(1), values[0]);
                    same(row.getInt(2), values[1]);
                    same(row.getLong(3), values[2]);
                    same(row.getDouble(4), values[3]);
                    same(row.getBigDecimal(5), values[4]);
                    same(row.getString(6), values[5]);
                    same(row.getBytes(7), values[6]);
                    same(row.getBoolean(8), values[7]);
                    same(row.getObject(9), values[8]);
                    same(row.getObject(10, LocalDate.class), values[9]);
                    same(row.getObject(11, LocalTime.class), values[10]);
                    same(row.getObject(12, OffsetDateTime.class), moment);
                    same(row.getString(13), values[12]);
                    same(row.getArray(14).getArray(), new String[] {"a", "{b,c}"});
                    same(row.getString(15) + row.getString(16) + row.getString(17), "192.168.0.1happynull");
                }
            }
        }
    }

    static void transactions() throws Exception {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            Statement statement = db.createStatement();
            statement.execute("CREATE TEMP TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1)");
            Savepoint savepoint = db.setSavepoint();
            refused("23505", () -> statement.execute("INSERT INTO t VALUES (1)"));
            refused("25P02", () -> statement.execute("SELECT 1"));
            db.rollback(savepoint);
            PreparedStatement insert = db.prepareStatement("INSERT INTO t VALUES (?)");
            for (int i = 2; i <= 1000; i++) {
                insert.setInt(1, i);
                insert.addBatch();
            }
            same(insert.executeBatch().length, 999);
            same(one(db, "SELECT sum(i) FROM t"), 500500L);
            db.rollback();
        }
    }

    static void copyAndCursor() throws Exception {
        try (Connection db = connect()) {
            db.createStatement().execute("CREATE TEMP TABLE t (i int, label text)");
            StringBuilder lines = new StringBuilder();
            for (int i = 0; i < 20000; i++) lines.append(i).append("\trow\n");
            var copy = db.unwrap(PGConnection.class).getCopyAPI();
            same(copy.copyIn("COPY t FROM STDIN", new StringReader(lines.toString())), 20000L);
            java.io.StringWriter out = new java.io.StringWriter();
            copy.copyOut("COPY t TO STDOUT", out);
            same(out.toString(), lines.toString());
            db.setAutoCommit(false);
            Statement statement = db.createStatement();
            statement.setFetchSize(500);
            ResultSet rows = statement.executeQuery("SELECT repeat('x', 1000) FROM t");
            int bytes = 0;
            while (rows.next()) bytes += rows.getString(1).length();
            same(bytes, 20000000);
        }
    }

    static void notificationsCancelAndTermination() throws Exception {
        try (Connection db = connect(); Connection other = connect()) {
            db.createStatement().execute("LISTEN events");
            other.createStatement().execute("NOTIFY events, 'hello'");
            same(db.unwrap(PGConnection.class).getNotifications(10000)[0].getParameter(), "hello");
            Statement statement = db.createStatement();
            statement.setQueryTimeout(1);
            refused("57014", () -> statement.execute("SELECT pg_sleep(60)"));
            Statement endless = db.createStatement();
            var timer = Executors.newScheduledThreadPool(1);
            timer.schedule(() -> { endless.cancel(); return null; }, 200, TimeUnit.MILLISECONDS);
            refused("57014", () -> endless.execute("SELECT count(*) FROM generate_series(1, 100000000000)"));
            timer.shutdown();
            one(other, "SELECT pg_terminate_backend(?)", db.unwrap(PGConnection.class).getBackendPID());
            refused("57P01", () -> one(db, "SELECT 1"));
        }
    }

    static void sixteenThreads() throws Exception {
        var pool = Executors.newFixedThreadPool(16);
        List<Future<Boolean>> all = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            int number = i;
            all.add(pool.submit(() -> {
                try (Connection db = connect()) {
                    for (int j = 0; j < 50; j++) same(one(db, "SELECT ?::int + ?::int", number, j), number + j);
                }
                return true;
            }));
        }
        for (var one : all) one.get();
        pool.shutdown();
    }

    static void metadataAndSsl() throws Exception {
        try (Connection db = connect("sslmode", "prefer")) {
            db.createStatement().execute("DROP TABLE IF EXISTS java_child, java_parent; CREATE TABLE java_parent (id serial PRIMARY KEY); CREATE TABLE java_child (p int REFERENCES java_parent)");
            ResultSet keys = db.getMetaData().getImportedKeys(null, null, "java_child");
            keys.next();
            same(keys.getString("PKTABLE_NAME"), "java_parent");
            same(db.getMetaData().getDatabaseMajorVersion(), 18);
        }
        refused("08004", () -> connect("sslmode", "require"));
        refused("28P01", () -> connect("password", "wrong"));
    }

    interface Check { void run() throws Exception; }

    public static void main(String[] arguments) throws Exception {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("types", Client::types);
        checks.put("transactions", Client::transactions);
        checks.put("copyAndCursor", Client::copyAndCursor);
        checks.put("notificationsCancelAndTermination", Client::notificationsCancelAndTermination);
        checks.put("sixteenThreads", Client::sixteenThreads);
        checks.put("metadataAndSsl", Client::metadataAndSsl);
        int failed = 0;
        for (var check : checks.entrySet()) {
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Throwable error) {
                failed++;
                System.out.println("FAILED " + check.getKey());
                error.printStackTrace();
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }
}
