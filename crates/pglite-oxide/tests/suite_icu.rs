//! Collations of ICU: what they do where the feature `icu` is on, and what is said where it is not. `cargo xtask test` runs both.

mod common;

#[cfg(feature = "icu")]
use common::rows;
use common::{first, refused, run};
use pglite_oxide::Pglite;
use serde_json::Value;

/// The first value, as PostgreSQL writes it; `NULL` for none.
fn text(db: &mut Pglite, sql: &str) -> String {
    match first(db, &format!("SELECT ({sql})::text")) {
        Value::String(text) => text,
        _ => "NULL".to_owned(),
    }
}

#[cfg(not(feature = "icu"))]
#[test]
fn without_the_feature_its_use_is_an_error_that_names_it() {
    let mut db = Pglite::temporary().unwrap();
    for sql in [
        "CREATE COLLATION phonebook (provider = icu, locale = 'de-u-co-phonebk')",
        "CREATE DATABASE other LOCALE_PROVIDER icu ICU_LOCALE 'de' TEMPLATE template0",
        "SELECT 'a' < 'b' COLLATE unicode",
        "SELECT upper('a' COLLATE unicode)",
    ] {
        let error = db.exec(sql, None).expect_err(sql);
        let error = error.database_error().unwrap_or_else(|| panic!("{sql}"));
        assert_eq!(error.code.as_deref(), Some("0A000"), "{sql}");
        assert_eq!(error.message, "ICU is not linked into this program");
        let hint = error.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("cargo feature \"icu\""), "{sql}: {hint}");
    }
    for sql in [
        "icu_unicode_version()",
        "SELECT pg_collation_actual_version(oid) FROM pg_collation WHERE collname = 'unicode'",
        "SELECT collversion FROM pg_collation WHERE collname = 'unicode'",
    ] {
        assert_eq!(text(&mut db, sql), "NULL", "{sql}");
    }
    // Nothing is offered that does not work, and what needs no ICU does.
    let of_icu =
        "SELECT count(*) FROM pg_collation WHERE collprovider = 'i' AND collname <> 'unicode'";
    assert_eq!(text(&mut db, of_icu), "0");
    assert_eq!(
        refused(&mut db, "SELECT 'a' < 'b' COLLATE \"de-x-icu\""),
        "42704"
    );
    assert_eq!(text(&mut db, "upper('ß' COLLATE pg_unicode_fast)"), "SS");
    run(&mut db, "SELECT pg_import_system_collations('pg_catalog')");
}

#[cfg(feature = "icu")]
mod with_icu {
    use super::*;

    /// The words in the order of a collation, with spaces between.
    fn sorted(db: &mut Pglite, words: &str, collation: &str) -> String {
        let words: Vec<String> = words.split(' ').map(|word| format!("('{word}')")).collect();
        text(
            db,
            &format!(
                "SELECT string_agg(w, ' ' ORDER BY w COLLATE \"{collation}\") FROM (VALUES {}) AS v(w)",
                words.join(", ")
            ),
        )
    }

    /// A collation made of its locale.
    fn made(db: &mut Pglite, locale: &str) {
        run(
            db,
            &format!("CREATE COLLATION \"{locale}\" (provider = icu, locale = '{locale}')"),
        );
    }

    #[test]
    fn languages_have_their_orders() {
        let mut db = Pglite::temporary().unwrap();
        for locale in [
            "de-u-co-phonebk",
            "es-u-co-trad",
            "zh-u-co-stroke",
            "und-u-kn",
            "und-u-kf-upper",
        ] {
            made(&mut db, locale);
        }
        for (collation, order) in [
            ("unicode", "a A ä Ä b B z Z"),
            ("und-x-icu", "a A ä Ä b B z Z"),
            ("de-x-icu", "Ader Ärger Arzt Azur Öl Ort"),
            ("de-u-co-phonebk", "Ader Ärger Arzt Azur Öl Ort"),
            ("de-x-icu", "Ad Af Äf Ag"),
            ("de-u-co-phonebk", "Ad Äf Af Ag"),
            ("sv-x-icu", "a o z å ä ö"),
            ("da-x-icu", "a z æ ø å aa"),
            ("es-x-icu", "cg ch ci lk ll lm nz ñ o"),
            ("es-u-co-trad", "cg ci cz ch d lk lz ll m nz ñ o"),
            ("cs-x-icu", "c č d h ch i"),
            ("zh-x-icu", "八 三 一 中"),
            ("zh-u-co-stroke", "一 八 三 中"),
            ("ja-x-icu", "あ ア か カ が"),
            ("und-u-kn", "item1 item2 item10"),
            ("und-x-icu", "item1 item10 item2"),
            ("und-u-kf-upper", "A a B b"),
            ("fr-CA-x-icu", "cote côte coté côté"),
            ("fr-x-icu", "cote coté côte côté"),
        ] {
            let mut shuffled: Vec<&str> = order.split(' ').collect();
            shuffled.reverse();
            assert_eq!(
                sorted(&mut db, &shuffled.join(" "), collation),
                order,
                "{collation}"
            );
        }
    }

    #[test]
    fn what_is_equal_is_equal_to_indexes_too() {
        let mut db = Pglite::temporary().unwrap();
        run(
            &mut db,
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE COLLATION ai (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
             CREATE COLLATION words (provider = icu, locale = 'und-u-ka-shifted', deterministic = false);
             CREATE TABLE person (name text COLLATE ci UNIQUE);
             INSERT INTO person SELECT 'Name ' || g FROM generate_series(1, 2000) g;
             INSERT INTO person VALUES ('Strasse'), ('Grüße'); ANALYZE person",
        );
        assert_eq!(
            refused(&mut db, "INSERT INTO person VALUES ('NAME 77')"),
            "23505"
        );
        assert_eq!(
            refused(&mut db, "INSERT INTO person VALUES ('GRÜSSE'), ('grüsse')"),
            "23505"
        );
        run(&mut db, "SET enable_seqscan = off");
        assert_eq!(
            text(&mut db, "SELECT name FROM person WHERE name = 'nAmE 1234'"),
            "Name 1234"
        );
        let plan = rows(&mut db, "EXPLAIN SELECT FROM person WHERE name = 'x'");
        assert!(format!("{plan:?}").contains("person_name_key"), "{plan:?}");
        for (sql, wanted) in [
            ("'résumé' = 'RESUME' COLLATE ai", "true"),
            ("'résumé' = 'RESUME' COLLATE ci", "false"),
            ("'co-op' = 'coop' COLLATE words", "true"),
            ("'co-op' = 'coop' COLLATE unicode", "false"),
            (
                "SELECT count(DISTINCT x COLLATE ai) FROM unnest(ARRAY['a', 'Á', 'b', 'B']) x",
                "2",
            ),
            (
                "SELECT count(*) FROM (SELECT x COLLATE ci FROM unnest(ARRAY['a', 'A', 'á']) x GROUP BY 1) g",
                "2",
            ),
            ("'Hello' LIKE 'hEL%' COLLATE ci", "true"),
            ("replace('Hello World' COLLATE ci, 'WORLD', 'x')", "Hello x"),
            ("strpos('äÖü' COLLATE ci, 'öÜ')", "2"),
        ] {
            assert_eq!(text(&mut db, sql), wanted, "{sql}");
        }
    }

    #[test]
    fn cases_and_classes_are_those_of_the_language() {
        let mut db = Pglite::temporary().unwrap();
        for (sql, wanted) in [
            ("upper('straße' COLLATE \"de-x-icu\")", "STRASSE"),
            ("lower('ISTANBUL İ' COLLATE \"tr-x-icu\")", "ıstanbul i"),
            ("upper('istanbul' COLLATE \"tr-x-icu\")", "İSTANBUL"),
            ("lower('ΟΔΟΣ' COLLATE \"el-x-icu\")", "οδος"),
            ("upper('άλφα' COLLATE \"el-x-icu\")", "ΑΛΦΑ"),
            (
                "initcap('ijsland én o''neill' COLLATE \"nl-x-icu\")",
                "IJsland Én O'neill",
            ),
            ("initcap('hello ǆungla' COLLATE unicode)", "Hello ǅungla"),
            ("casefold('STRASSE ß' COLLATE unicode)", "strasse ss"),
            ("casefold('I' COLLATE \"tr-x-icu\")", "ı"),
            ("'Ä' ~ '^[[:upper:]]$' COLLATE \"de-x-icu\"", "true"),
            ("'ж' ~ '^\\w$' COLLATE \"ru-x-icu\"", "true"),
            ("'Ж' ~* 'ж' COLLATE \"ru-x-icu\"", "true"),
            ("'ÄÖ' ILIKE 'äö' COLLATE \"de-x-icu\"", "true"),
        ] {
            assert_eq!(text(&mut db, sql), wanted, "{sql}");
        }
    }

    #[test]
    fn the_catalogue_has_them_with_versions_and_names() {
        let mut db = Pglite::temporary().unwrap();
        assert_eq!(text(&mut db, "icu_unicode_version()"), "16.0");
        for (sql, wanted) in [
            (
                "SELECT count(*) > 800 FROM pg_collation WHERE collprovider = 'i'",
                "true",
            ),
            (
                "SELECT count(*) FROM pg_collation WHERE collprovider = 'i' AND collversion IS DISTINCT FROM pg_collation_actual_version(oid)",
                "0",
            ),
            (
                "SELECT collversion FROM pg_collation WHERE collname = 'und-x-icu'",
                "153.128",
            ),
            (
                "SELECT obj_description(oid, 'pg_collation') FROM pg_collation WHERE collname = 'zh-Hant-HK-x-icu'",
                "Chinese (Traditional, Hong Kong SAR China)",
            ),
            (
                "SELECT obj_description(oid, 'pg_collation') FROM pg_collation WHERE collname = 'sr-Latn-ME-x-icu'",
                "Serbian (Latin, Montenegro)",
            ),
            // All of them are initdb's: a dump has none.
            ("SELECT max(oid::int8) < 16384 FROM pg_collation", "true"),
        ] {
            assert_eq!(text(&mut db, sql), wanted, "{sql}");
        }
        run(&mut db, "ALTER COLLATION \"de-x-icu\" REFRESH VERSION");
        // What is there already is not made again.
        assert_eq!(
            text(&mut db, "pg_import_system_collations('pg_catalog')"),
            "0"
        );
    }

    #[test]
    fn locales_are_checked_and_rules_are_taken() {
        let mut db = Pglite::temporary().unwrap();
        run(&mut db, "SET icu_validation_level = error");
        assert_eq!(
            refused(
                &mut db,
                "CREATE COLLATION nowhere (provider = icu, locale = 'nonsense-nowhere')"
            ),
            "22023"
        );
        run(
            &mut db,
            "CREATE COLLATION swapped (provider = icu, locale = 'und', rules = '&V << w <<< W &b < g')",
        );
        assert_eq!(sorted(&mut db, "a b c f g h", "swapped"), "a b g c f h");
        assert_eq!(
            refused(
                &mut db,
                "CREATE COLLATION wrong (provider = icu, locale = 'und', rules = '!!wrong!!')"
            ),
            "22023"
        );
    }

    #[test]
    fn databases_of_every_encoding_have_it() {
        let mut db = Pglite::temporary().unwrap();
        let encodings = rows(
            &mut db,
            "SELECT pg_encoding_to_char(e) FROM generate_series(0, 34) e WHERE pg_encoding_to_char(e) NOT IN ('SQL_ASCII', 'MULE_INTERNAL', 'EUC_JIS_2004', 'LATIN10', 'WIN874')",
        );
        assert_eq!(encodings.len(), 30);
        for row in encodings {
            let encoding = row[0].as_str().unwrap();
            run(
                &mut db,
                &format!(
                    "CREATE DATABASE \"in {encoding}\" ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'sv' TEMPLATE template0"
                ),
            );
            let mut session = db
                .connector()
                .database(format!("in {encoding}"))
                .connect()
                .unwrap();
            assert_eq!(
                text(
                    &mut session,
                    "upper('abc') || lower('XYZ') || initcap('hello world')"
                ),
                "ABCxyzHello World",
                "{encoding}"
            );
            assert_eq!(
                text(
                    &mut session,
                    "SELECT string_agg(w, ' ' ORDER BY w) FROM (VALUES ('b'), ('B'), ('a'), ('A')) v(w)"
                ),
                "a A b B",
                "{encoding}"
            );
            if matches!(
                encoding,
                "UTF8" | "LATIN1" | "LATIN5" | "LATIN9" | "WIN1252"
            ) {
                assert_eq!(
                    text(
                        &mut session,
                        "SELECT string_agg(upper(w), ' ' ORDER BY w) FROM (VALUES ('ö'), ('z'), ('å'), ('ä'), ('o')) v(w)"
                    ),
                    "O Z Å Ä Ö",
                    "{encoding}"
                );
            }
            session.close().unwrap();
        }
        assert_eq!(
            text(
                &mut db,
                "SELECT count(*) FROM pg_database WHERE datlocprovider = 'i' AND datcollversion = pg_database_collation_actual_version(oid)"
            ),
            "30"
        );
    }

    /// Copies of a process have its open collators, which lie in its memory, and the data that these point to, which lies in the program.
    #[test]
    fn copies_go_on_with_what_is_open() {
        let mut db = Pglite::temporary().unwrap();
        run(
            &mut db,
            "CREATE TABLE word (w text COLLATE \"sv-x-icu\");
             INSERT INTO word SELECT chr(97 + g % 26) || repeat('ö', g % 3) || g FROM generate_series(1, 3000) g;
             CREATE INDEX ON word (w); CREATE INDEX ON word (w COLLATE \"zh-x-icu\")",
        );
        let sql = "SELECT md5(string_agg(w, ',' ORDER BY w)) FROM word";
        let wanted = text(&mut db, sql);
        let snapshot = db.snapshot().unwrap();
        for n in 0..3 {
            let mut copy = snapshot.open().unwrap();
            assert_eq!(text(&mut copy, sql), wanted);
            run(&mut copy, &format!("INSERT INTO word VALUES ('å{n}')"));
            let mut fork = copy.fork().unwrap();
            assert_eq!(
                text(
                    &mut fork,
                    "SELECT w FROM word WHERE w > 'z' AND w < 'ä' AND w LIKE 'å%' ORDER BY w LIMIT 1"
                ),
                format!("å{n}")
            );
            // A collation that nobody has opened before.
            assert_eq!(sorted(&mut fork, "ch cz d", "cs-x-icu"), "cz d ch");
            assert_eq!(text(&mut fork, "upper('i' COLLATE \"tr-x-icu\")"), "İ");
        }
        assert_eq!(text(&mut db, sql), wanted);
    }

    #[test]
    fn a_directory_keeps_its_collations() {
        let root = tempfile::tempdir().unwrap();
        let open = || {
            Pglite::builder()
                .path(root.path().join("db"))
                .postgres_config("fsync", "off")
                .open()
                .unwrap()
        };
        let mut db = open();
        run(
            &mut db,
            "CREATE COLLATION phonebook (provider = icu, locale = 'de-u-co-phonebk');
             CREATE TABLE name (n text COLLATE phonebook PRIMARY KEY);
             INSERT INTO name VALUES ('Müller'), ('Mueller'), ('Muller'), ('Mutter')",
        );
        db.close().unwrap();
        drop(db);
        let mut db = open();
        run(
            &mut db,
            "SET enable_seqscan = off; INSERT INTO name VALUES ('Muenster')",
        );
        assert_eq!(
            text(
                &mut db,
                "SELECT string_agg(n, ' ') FROM (SELECT n FROM name ORDER BY n) s"
            ),
            "Mueller Müller Muenster Muller Mutter"
        );
        db.close().unwrap();
    }

    #[test]
    fn workers_and_other_sessions_sort_alike() {
        let server = pglite_oxide::PgliteServer::builder()
            .temporary()
            .start()
            .unwrap();
        let mut one = server.connector().connect().unwrap();
        run(
            &mut one,
            "CREATE TABLE t AS SELECT md5(g::text) || chr(192 + g % 60) AS x FROM generate_series(1, 30000) g; ANALYZE t",
        );
        let sql = "SELECT md5(string_agg(x, '' ORDER BY x COLLATE \"de-x-icu\")) FROM (SELECT x FROM t WHERE x > 'b' COLLATE \"de-x-icu\") s";
        let wanted = text(&mut one, sql);
        run(
            &mut one,
            "SET debug_parallel_query = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; CREATE INDEX ON t (x COLLATE \"de-x-icu\")",
        );
        assert_eq!(text(&mut one, sql), wanted);
        let mut two = server.connector().connect().unwrap();
        run(&mut two, "SET enable_seqscan = off");
        assert_eq!(text(&mut two, sql), wanted);
    }
}
