//! PostGIS, where the feature `ext-postgis` is on (`cargo xtask assets --with postgis`): what the smoke tests of the catalogue do not tell, above all that exceptions of GEOS and PROJ, which are C++, and
//! errors of PostgreSQL, which are jumps, end where they should.

#![cfg(feature = "ext-postgis")]

mod common;

use common::{first, refused, run, text};
use pglite_oxide::{Pglite, extensions};

fn open() -> Pglite {
    Pglite::builder()
        .extension(extensions::POSTGIS)
        .open()
        .unwrap()
}

/// Not a number that only looks like its text.
fn near(db: &mut Pglite, sql: &str, wanted: f64) {
    let found: f64 = text(db, sql).parse().unwrap();
    assert!(
        (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
        "{sql}: {found}, wanted {wanted}"
    );
}

#[test]
fn the_libraries_say_which_they_are() {
    let mut db = open();
    let full = text(&mut db, "postgis_full_version()");
    for part in [
        "POSTGIS=\"3.6.4",
        "GEOS=\"3.13.1-CAPI-1.19.2\"",
        "PROJ=\"9.1.1",
        "LIBXML=\"2.9.14\"",
        "LIBJSON=\"0.16\"",
        "LIBPROTOBUF=\"1.4.1\"",
        "WAGYU=",
    ] {
        assert!(full.contains(part), "{part}: {full}");
    }
}

#[test]
fn coordinates_are_transformed() {
    let mut db = open();
    let point = "ST_Transform('SRID=4326;POINT(13.377704 52.516275)'::geometry, ";
    near(&mut db, &format!("ST_X({point}3857))"), 1_489_199.194_3);
    near(&mut db, &format!("ST_Y({point}3857))"), 6_894_018.166_7);
    // Gauss-Krueger: another ellipsoid and a shift of the datum, out of PROJ's database (pyproj, without its grids: 4593627.43).
    near(
        &mut db,
        &format!("round(ST_X({point}31468))::numeric) / 100"),
        45_936.27,
    );
    // What is in PROJ's database and not in spatial_ref_sys, and what is in neither.
    assert_eq!(
        text(
            &mut db,
            "ST_AsText(ST_Transform('POINT(1 2)'::geometry, '+proj=longlat', '+proj=longlat +to_meter=0.017453292519943295'), 6)"
        ),
        "POINT(1 2)"
    );
    assert_eq!(
        refused(
            &mut db,
            "SELECT ST_Transform('SRID=4326;POINT(1 2)'::geometry, 77777)"
        ),
        "XX000"
    );
    assert_eq!(text(&mut db, "1 + 1"), "2");
}

#[test]
fn an_exception_of_geos_is_an_error_and_the_session_goes_on() {
    let mut db = open();
    for _ in 0..100 {
        // Thrown deep inside, and known for what it is where it is caught.
        let topology = "SELECT ST_Intersection('POLYGON((0 0, 10 10, 0 10, 10 0, 0 0))'::geometry, 'POLYGON((0 0, 1 1, 1 0, 0 0))')";
        let error = db.exec(topology, None).unwrap_err().to_string();
        assert!(error.contains("TopologyException"), "{error}");
        assert_eq!(
            refused(
                &mut db,
                "SELECT ST_Relate('POLYGON((0 0, 10 10, 0 10, 10 0, 0 0))'::geometry, 'POINT(1 1)'::geometry, 'nonsense!')"
            ),
            "XX000"
        );
        assert_eq!(
            refused(&mut db, "SELECT ST_GeomFromText('POLYGON((0 0, 1 1))')"),
            "XX000"
        );
    }
    assert_eq!(
        text(
            &mut db,
            "ST_IsValidReason('POLYGON((0 0, 10 10, 0 10, 10 0, 0 0))'::geometry)"
        ),
        "Self-intersection[5 5]"
    );
    assert_eq!(
        text(
            &mut db,
            "ST_AsText(ST_Normalize(ST_MakeValid('POLYGON((0 0, 10 10, 0 10, 10 0, 0 0))'::geometry)))"
        ),
        "MULTIPOLYGON(((0 10,10 10,5 5,0 10)),((0 0,5 5,10 0,0 0)))"
    );
    near(
        &mut db,
        "ST_Area(ST_Union(ST_Buffer('POINT(0 0)'::geometry, 1, 64), ST_Buffer('POINT(5 0)'::geometry, 1, 64)))",
        6.282_554_523_6,
    );
}

/// A cancelled GEOS throws, and PostgreSQL jumps from the frame that called it.
#[test]
fn a_statement_that_takes_too_long_is_cancelled_inside_geos() {
    let mut db = open();
    run(&mut db, "SET statement_timeout = '200ms'");
    assert_eq!(
        refused(
            &mut db,
            "SELECT ST_Area(ST_Buffer(ST_Collect(ST_Buffer(ST_Point(i % 300, i / 300), 3, 64)), 1, 64)) FROM generate_series(1, 90000) AS i"
        ),
        "57014"
    );
    run(&mut db, "SET statement_timeout = 0");
    near(
        &mut db,
        "ST_Area(ST_Buffer('POINT(0 0)'::geometry, 2, 64))",
        12.565_109_047,
    );
}

#[test]
fn an_index_finds_what_a_scan_finds() {
    let mut db = open();
    run(
        &mut db,
        "CREATE TABLE place (id int PRIMARY KEY, at geometry(Point, 4326), on_earth geography);
         INSERT INTO place SELECT i, p, p::geography FROM generate_series(1, 20000) AS i, LATERAL (SELECT ST_SetSRID(ST_Point((i * 7919) % 360 - 180 + i / 1e5, (i * 104729) % 170 - 85), 4326) AS p) AS made;
         CREATE INDEX ON place USING gist (at);
         CREATE INDEX ON place USING gist (on_earth);
         ANALYZE place",
    );
    let count = "count(*) FROM place WHERE ST_Intersects(at, ST_MakeEnvelope(0, 0, 20, 20, 4326))";
    let nearest = "SELECT string_agg(id::text, ',') FROM (SELECT id FROM place ORDER BY on_earth <-> 'POINT(13.4 52.5)'::geography, id LIMIT 5) AS found";
    let plan = format!("EXPLAIN (COSTS OFF, FORMAT TEXT) SELECT {count}");
    let plan = format!("{:?}", db.exec(&plan, None).unwrap());
    assert!(plan.contains("place_at_idx"), "{plan}");
    let by_index = (
        first(&mut db, &format!("SELECT {count}")),
        first(&mut db, nearest),
    );
    run(
        &mut db,
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    );
    let by_scan = (
        first(&mut db, &format!("SELECT {count}")),
        first(&mut db, nearest),
    );
    assert_eq!(by_index, by_scan);
}

/// Static objects of C++ are made in the process that loads the library; a fork has them as its parent does.
#[test]
fn a_fork_goes_on_with_what_was_loaded() {
    let mut db = open();
    near(
        &mut db,
        "ST_Area(ST_Buffer('POINT(0 0)'::geometry, 1, 64))",
        3.141_277_261_8,
    );
    let mut fork = db.fork().unwrap();
    for db in [&mut db, &mut fork] {
        near(
            db,
            "ST_Area(ST_Buffer('POINT(0 0)'::geometry, 1, 64))",
            3.141_277_261_8,
        );
        assert_eq!(refused(db, "SELECT ST_GeomFromText('POINT(1')"), "XX000");
        let point = "ST_X(ST_Transform('SRID=4326;POINT(10 50)'::geometry, 3857))";
        near(db, point, 1_113_194.907_93);
    }
}
