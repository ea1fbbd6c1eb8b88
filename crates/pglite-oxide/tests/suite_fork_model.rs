//! Random statements with copies at random moments: every database is compared with a model after each step.
//!
//! A few fixed cases run by themselves; `PGLITE_OXIDE_CASES` asks for that many others, chosen anew each time (proptest shrinks a failing one and prints it).

mod common;

use std::collections::BTreeMap;

use common::rows;
use pglite_oxide::{Pglite, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

/// Cases of a run that asks for none.
const CASES: u32 = 12;
const TABLES: [&str; 3] = ["a", "b", "c"];
/// Most databases at once; further copies take the place of others.
const DATABASES: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, i32, i64),
    InsertMany(usize, i32, i32),
    Update(usize, i32, i64),
    Delete(usize, i32),
    Truncate(usize),
    Create(usize),
    Drop(usize),
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo(usize),
    Release(usize),
    NextValue,
    SetValue(i64),
    Checkpoint,
    Vacuum,
    Fork,
    Snapshot,
    Open(usize),
    Restore(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let table = 0..TABLES.len();
    prop_oneof![
        6 => (table.clone(), 0..20, any::<i64>()).prop_map(|(t, k, v)| Step::Insert(t, k, v)),
        2 => (table.clone(), 100..5000, 1..400).prop_map(|(t, k, n)| Step::InsertMany(t, k, n)),
        3 => (table.clone(), 1..7, -1000..1000_i64).prop_map(|(t, m, v)| Step::Update(t, m, v)),
        2 => (table.clone(), 2..7).prop_map(|(t, m)| Step::Delete(t, m)),
        1 => table.clone().prop_map(Step::Truncate),
        2 => table.clone().prop_map(Step::Create),
        1 => table.prop_map(Step::Drop),
        3 => Just(Step::Begin),
        3 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        3 => Just(Step::Savepoint),
        2 => any::<usize>().prop_map(Step::RollbackTo),
        1 => any::<usize>().prop_map(Step::Release),
        2 => Just(Step::NextValue),
        1 => (1..100_000_i64).prop_map(Step::SetValue),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Vacuum),
        3 => Just(Step::Fork),
        2 => Just(Step::Snapshot),
        2 => any::<usize>().prop_map(Step::Open),
        1 => any::<usize>().prop_map(Step::Restore),
        1 => Just(Step::Close),
    ]
}

type Rows = BTreeMap<i32, i64>;
type Tables = BTreeMap<usize, Rows>;

/// What a database and its session should be.
#[derive(Clone, Debug)]
struct Model {
    committed: Tables,
    /// The open transaction: its own state, then one for each savepoint.
    levels: Vec<Tables>,
    failed: bool,
    /// The sequence, which no rollback undoes.
    sequence: i64,
}

impl Model {
    fn current(&mut self) -> &mut Tables {
        self.levels.last_mut().unwrap_or(&mut self.committed)
    }

    /// The SQL of a step and whether it succeeds, having taken it; `None` for one that makes no sense now.
    fn take(&mut self, step: &Step) -> Option<(String, bool)> {
        let inside = !self.levels.is_empty();
        let savepoints = self.levels.len().saturating_sub(1);
        match *step {
            Step::Begin if !inside => {
                self.levels.push(self.committed.clone());
                return Some(("BEGIN".to_owned(), true));
            }
            Step::Commit if inside => {
                let last = self.levels.pop();
                if let (Some(last), false) = (last, self.failed) {
                    self.committed = last;
                }
                self.levels.clear();
                self.failed = false;
                return Some(("COMMIT".to_owned(), true));
            }
            Step::Rollback if inside => {
                self.levels.clear();
                self.failed = false;
                return Some(("ROLLBACK".to_owned(), true));
            }
            Step::RollbackTo(which) if savepoints > 0 => {
                let level = which % savepoints + 1;
                self.levels.truncate(level);
                self.levels.push(self.levels[level - 1].clone());
                self.failed = false;
                return Some((format!("ROLLBACK TO s{level}"), true));
            }
            Step::Begin | Step::Commit | Step::Rollback | Step::RollbackTo(_) => return None,
            _ => {}
        }
        let sql = self.statement(step, inside, savepoints)?;
        if self.failed {
            return Some((sql, false));
        }
        let done = self.run(step, savepoints);
        if !done && inside {
            self.failed = true;
        }
        Some((sql, done))
    }

    fn statement(&self, step: &Step, inside: bool, savepoints: usize) -> Option<String> {
        Some(match *step {
            Step::Insert(t, key, value) => {
                format!("INSERT INTO {} VALUES ({key}, {value})", TABLES[t])
            }
            Step::InsertMany(t, key, count) => format!(
                "INSERT INTO {} SELECT g, g FROM generate_series({key}, {}) g",
                TABLES[t],
                key + count - 1
            ),
            Step::Update(t, modulo, value) => {
                format!(
                    "UPDATE {} SET value = {value} WHERE key % {modulo} = 0",
                    TABLES[t]
                )
            }
            Step::Delete(t, modulo) => {
                format!("DELETE FROM {} WHERE key % {modulo} = 0", TABLES[t])
            }
            Step::Truncate(t) => format!("TRUNCATE {}", TABLES[t]),
            Step::Create(t) => format!(
                "CREATE TABLE {} (key int PRIMARY KEY, value bigint)",
                TABLES[t]
            ),
            Step::Drop(t) => format!("DROP TABLE {}", TABLES[t]),
            Step::Savepoint if inside && savepoints < 4 => format!("SAVEPOINT s{}", savepoints + 1),
            Step::Release(which) if savepoints > 0 => {
                format!("RELEASE SAVEPOINT s{}", which % savepoints + 1)
            }
            Step::NextValue => "SELECT nextval('sequence')".to_owned(),
            Step::SetValue(value) => format!("SELECT setval('sequence', {value})"),
            Step::Checkpoint => "CHECKPOINT".to_owned(),
            Step::Vacuum if !inside => "VACUUM".to_owned(),
            _ => return None,
        })
    }

    /// False if PostgreSQL refuses.
    fn run(&mut self, step: &Step, savepoints: usize) -> bool {
        let tables = self.levels.last_mut().unwrap_or(&mut self.committed);
        match *step {
            Step::Insert(t, key, value) => match tables.get_mut(&t) {
                Some(rows) if !rows.contains_key(&key) => {
                    rows.insert(key, value);
                }
                _ => return false,
            },
            Step::InsertMany(t, key, count) => match tables.get_mut(&t) {
                Some(rows) if rows.range(key..key + count).next().is_none() => {
                    rows.extend((key..key + count).map(|key| (key, i64::from(key))));
                }
                _ => return false,
            },
            Step::Update(t, modulo, value) => match tables.get_mut(&t) {
                Some(rows) => rows
                    .iter_mut()
                    .filter(|(key, _)| *key % modulo == 0)
                    .for_each(|(_, old)| *old = value),
                None => return false,
            },
            Step::Delete(t, modulo) => match tables.get_mut(&t) {
                Some(rows) => rows.retain(|key, _| key % modulo != 0),
                None => return false,
            },
            Step::Truncate(t) => match tables.get_mut(&t) {
                Some(rows) => rows.clear(),
                None => return false,
            },
            Step::Create(t) => {
                if tables.contains_key(&t) {
                    return false;
                }
                tables.insert(t, Rows::new());
            }
            Step::Drop(t) => return tables.remove(&t).is_some(),
            Step::Savepoint => self.levels.push(self.levels[savepoints].clone()),
            Step::Release(which) => {
                let level = which % savepoints + 1;
                let last = self.levels[savepoints].clone();
                self.levels.truncate(level);
                self.levels[level - 1] = last;
            }
            Step::NextValue => self.sequence += 1,
            Step::SetValue(value) => self.sequence = value,
            _ => {}
        }
        true
    }
}

fn compare_tables(db: &mut Pglite, tables: &Tables) {
    let names: Vec<_> = tables.keys().map(|&t| json!([TABLES[t]])).collect();
    assert_eq!(
        rows(
            db,
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
        ),
        names
    );
    for (&t, expected) in tables {
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, value)| json!([key, value.to_string()]))
            .collect();
        let found = rows(
            db,
            &format!("SELECT key, value::text FROM {} ORDER BY key", TABLES[t]),
        );
        assert_eq!(found, expected, "{}", TABLES[t]);
    }
}

fn compare(db: &mut Pglite, model: &mut Model) {
    assert_eq!(db.is_in_transaction(), !model.levels.is_empty());
    if model.failed {
        assert_eq!(
            db.exec("SELECT 1", None).unwrap_err().sqlstate(),
            Some("25P02")
        );
    } else {
        let sequence = model.sequence;
        assert_eq!(
            rows(db, "SELECT last_value FROM sequence"),
            [json!([sequence])]
        );
        compare_tables(db, model.current());
    }
}

struct World {
    databases: Vec<(Pglite, Model)>,
    snapshots: Vec<(Snapshot, Model)>,
}

impl World {
    fn new() -> Self {
        let mut db = Pglite::temporary().unwrap();
        db.exec("CREATE SEQUENCE sequence; SELECT nextval('sequence')", None)
            .unwrap();
        let model = Model {
            committed: Tables::new(),
            levels: Vec::new(),
            failed: false,
            sequence: 1,
        };
        Self {
            databases: vec![(db, model)],
            snapshots: Vec::new(),
        }
    }

    fn add(&mut self, db: Pglite, model: Model, place: usize) {
        if self.databases.len() < DATABASES {
            self.databases.push((db, model));
        } else {
            self.databases[(place + 1) % DATABASES] = (db, model);
        }
    }

    fn take(&mut self, which: usize, step: &Step) {
        let place = which % self.databases.len();
        let alone = self.databases.len() == 1;
        let (db, model) = &mut self.databases[place];
        match *step {
            Step::Fork => {
                let mut copy = db.fork().unwrap();
                let mut expected = model.clone();
                compare(&mut copy, &mut expected);
                self.add(copy, expected, place);
            }
            Step::Snapshot => {
                let snapshot = (db.snapshot().unwrap(), model.clone());
                if self.snapshots.len() == 3 {
                    self.snapshots.remove(which % 3);
                }
                self.snapshots.push(snapshot);
            }
            Step::Open(n) if !self.snapshots.is_empty() => {
                let (snapshot, expected) = &self.snapshots[n % self.snapshots.len()];
                let (mut copy, mut expected) = (snapshot.open().unwrap(), expected.clone());
                compare(&mut copy, &mut expected);
                self.add(copy, expected, place);
            }
            Step::Restore(n) if !self.snapshots.is_empty() => {
                let (snapshot, expected) = &self.snapshots[n % self.snapshots.len()];
                db.restore(snapshot).unwrap();
                *model = expected.clone();
            }
            Step::Close if !alone => {
                self.databases.remove(place);
            }
            _ => {
                if let Some((sql, succeeds)) = model.take(step) {
                    match db.exec(&sql, None) {
                        Ok(_) => assert!(succeeds, "{sql} succeeded"),
                        Err(error) => {
                            assert!(!succeeds && error.sqlstate().is_some(), "{sql}: {error}");
                        }
                    }
                }
            }
        }
        for (db, model) in &mut self.databases {
            compare(db, model);
        }
    }

    /// What is left when everything is over, and that others see the same.
    fn end(mut self) {
        for (db, model) in &mut self.databases {
            if db.is_in_transaction() {
                db.exec("ROLLBACK", None).unwrap();
            }
            compare_tables(db, &model.committed);
            compare_tables(&mut db.connect().unwrap(), &model.committed);
        }
    }
}

#[test]
fn databases_and_their_copies_are_what_the_model_says() {
    let asked = std::env::var("PGLITE_OXIDE_CASES").ok();
    let asked: Option<u32> =
        asked.map(|text| text.parse().expect("PGLITE_OXIDE_CASES is a number"));
    let config = Config {
        cases: asked.unwrap_or(CASES),
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match asked {
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config),
    };
    let steps = prop::collection::vec((any::<usize>(), step()), 10..60);
    let outcome = runner.run(&steps, |steps| {
        let mut world = World::new();
        for (which, step) in &steps {
            world.take(*which, step);
        }
        world.end();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
