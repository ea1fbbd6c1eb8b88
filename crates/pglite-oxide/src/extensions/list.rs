// Written by `cargo xtask extensions` from guest/extensions/catalogue.toml.

use super::Extension;

/// `vector`: vector data type and ivfflat and hnsw access methods (pgvector).
#[cfg(feature = "ext-vector")]
pub const VECTOR: Extension = Extension(&super::Data {
    name: "vector",
    sql_name: "vector",
    version: "0.8.0",
    licence: "PostgreSQL",
    summary: "vector data type and ivfflat and hnsw access methods (pgvector)",
    dependencies: &[],
    libraries: &["vector"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `amcheck`: functions for verifying relation integrity.
#[cfg(feature = "ext-amcheck")]
pub const AMCHECK: Extension = Extension(&super::Data {
    name: "amcheck",
    sql_name: "amcheck",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions for verifying relation integrity",
    dependencies: &[],
    libraries: &["amcheck"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `auth_delay`: a pause before a failed authentication is reported.
#[cfg(feature = "ext-auth_delay")]
pub const AUTH_DELAY: Extension = Extension(&super::Data {
    name: "auth_delay",
    sql_name: "auth_delay",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "a pause before a failed authentication is reported",
    dependencies: &[],
    libraries: &["auth_delay"],
    settings: &[],
    created: false,
    preloaded: true,
});

/// `auto_explain`: logs execution plans of slow statements.
#[cfg(feature = "ext-auto_explain")]
pub const AUTO_EXPLAIN: Extension = Extension(&super::Data {
    name: "auto_explain",
    sql_name: "auto_explain",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "logs execution plans of slow statements",
    dependencies: &[],
    libraries: &["auto_explain"],
    settings: &[],
    created: false,
    preloaded: false,
});

/// `basic_archive`: an archive module that copies WAL files to a directory.
#[cfg(feature = "ext-basic_archive")]
pub const BASIC_ARCHIVE: Extension = Extension(&super::Data {
    name: "basic_archive",
    sql_name: "basic_archive",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "an archive module that copies WAL files to a directory",
    dependencies: &[],
    libraries: &["basic_archive"],
    settings: &[],
    created: false,
    preloaded: false,
});

/// `bloom`: bloom access method - signature file based index.
#[cfg(feature = "ext-bloom")]
pub const BLOOM: Extension = Extension(&super::Data {
    name: "bloom",
    sql_name: "bloom",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "bloom access method - signature file based index",
    dependencies: &[],
    libraries: &["bloom"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `btree_gin`: support for indexing common datatypes in GIN.
#[cfg(feature = "ext-btree_gin")]
pub const BTREE_GIN: Extension = Extension(&super::Data {
    name: "btree_gin",
    sql_name: "btree_gin",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "support for indexing common datatypes in GIN",
    dependencies: &[],
    libraries: &["btree_gin"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `btree_gist`: support for indexing common datatypes in GiST.
#[cfg(feature = "ext-btree_gist")]
pub const BTREE_GIST: Extension = Extension(&super::Data {
    name: "btree_gist",
    sql_name: "btree_gist",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "support for indexing common datatypes in GiST",
    dependencies: &[],
    libraries: &["btree_gist"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `citext`: data type for case-insensitive character strings.
#[cfg(feature = "ext-citext")]
pub const CITEXT: Extension = Extension(&super::Data {
    name: "citext",
    sql_name: "citext",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "data type for case-insensitive character strings",
    dependencies: &[],
    libraries: &["citext"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `cube`: data type for multidimensional cubes.
#[cfg(feature = "ext-cube")]
pub const CUBE: Extension = Extension(&super::Data {
    name: "cube",
    sql_name: "cube",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "data type for multidimensional cubes",
    dependencies: &[],
    libraries: &["cube"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `dblink`: connect to other PostgreSQL databases from within a database.
#[cfg(feature = "ext-dblink")]
pub const DBLINK: Extension = Extension(&super::Data {
    name: "dblink",
    sql_name: "dblink",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "connect to other PostgreSQL databases from within a database",
    dependencies: &[],
    libraries: &["dblink"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `dict_int`: text search dictionary template for integers.
#[cfg(feature = "ext-dict_int")]
pub const DICT_INT: Extension = Extension(&super::Data {
    name: "dict_int",
    sql_name: "dict_int",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "text search dictionary template for integers",
    dependencies: &[],
    libraries: &["dict_int"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `dict_xsyn`: text search dictionary template for extended synonym processing.
#[cfg(feature = "ext-dict_xsyn")]
pub const DICT_XSYN: Extension = Extension(&super::Data {
    name: "dict_xsyn",
    sql_name: "dict_xsyn",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "text search dictionary template for extended synonym processing",
    dependencies: &[],
    libraries: &["dict_xsyn"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `earthdistance`: calculate great-circle distances on the surface of the Earth.
#[cfg(feature = "ext-earthdistance")]
pub const EARTHDISTANCE: Extension = Extension(&super::Data {
    name: "earthdistance",
    sql_name: "earthdistance",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "calculate great-circle distances on the surface of the Earth",
    dependencies: &["cube"],
    libraries: &["earthdistance"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `file_fdw`: foreign-data wrapper for flat file access.
#[cfg(feature = "ext-file_fdw")]
pub const FILE_FDW: Extension = Extension(&super::Data {
    name: "file_fdw",
    sql_name: "file_fdw",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "foreign-data wrapper for flat file access",
    dependencies: &[],
    libraries: &["file_fdw"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `fuzzystrmatch`: determine similarities and distance between strings.
#[cfg(feature = "ext-fuzzystrmatch")]
pub const FUZZYSTRMATCH: Extension = Extension(&super::Data {
    name: "fuzzystrmatch",
    sql_name: "fuzzystrmatch",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "determine similarities and distance between strings",
    dependencies: &[],
    libraries: &["fuzzystrmatch"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `hstore`: data type for storing sets of (key, value) pairs.
#[cfg(feature = "ext-hstore")]
pub const HSTORE: Extension = Extension(&super::Data {
    name: "hstore",
    sql_name: "hstore",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "data type for storing sets of (key, value) pairs",
    dependencies: &[],
    libraries: &["hstore"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `intagg`: integer aggregator and enumerator (obsolete).
#[cfg(feature = "ext-intagg")]
pub const INTAGG: Extension = Extension(&super::Data {
    name: "intagg",
    sql_name: "intagg",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "integer aggregator and enumerator (obsolete)",
    dependencies: &[],
    libraries: &[],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `intarray`: functions, operators, and index support for 1-D arrays of integers.
#[cfg(feature = "ext-intarray")]
pub const INTARRAY: Extension = Extension(&super::Data {
    name: "intarray",
    sql_name: "intarray",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions, operators, and index support for 1-D arrays of integers",
    dependencies: &[],
    libraries: &["_int"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `isn`: data types for international product numbering standards.
#[cfg(feature = "ext-isn")]
pub const ISN: Extension = Extension(&super::Data {
    name: "isn",
    sql_name: "isn",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "data types for international product numbering standards",
    dependencies: &[],
    libraries: &["isn"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `lo`: large object maintenance.
#[cfg(feature = "ext-lo")]
pub const LO: Extension = Extension(&super::Data {
    name: "lo",
    sql_name: "lo",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "large object maintenance",
    dependencies: &[],
    libraries: &["lo"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `ltree`: data type for hierarchical tree-like structures.
#[cfg(feature = "ext-ltree")]
pub const LTREE: Extension = Extension(&super::Data {
    name: "ltree",
    sql_name: "ltree",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "data type for hierarchical tree-like structures",
    dependencies: &[],
    libraries: &["ltree"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pageinspect`: inspect the contents of database pages at a low level.
#[cfg(feature = "ext-pageinspect")]
pub const PAGEINSPECT: Extension = Extension(&super::Data {
    name: "pageinspect",
    sql_name: "pageinspect",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "inspect the contents of database pages at a low level",
    dependencies: &[],
    libraries: &["pageinspect"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `passwordcheck`: refuses weak passwords.
#[cfg(feature = "ext-passwordcheck")]
pub const PASSWORDCHECK: Extension = Extension(&super::Data {
    name: "passwordcheck",
    sql_name: "passwordcheck",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "refuses weak passwords",
    dependencies: &[],
    libraries: &["passwordcheck"],
    settings: &[],
    created: false,
    preloaded: false,
});

/// `pg_buffercache`: examine the shared buffer cache.
#[cfg(feature = "ext-pg_buffercache")]
pub const PG_BUFFERCACHE: Extension = Extension(&super::Data {
    name: "pg_buffercache",
    sql_name: "pg_buffercache",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "examine the shared buffer cache",
    dependencies: &[],
    libraries: &["pg_buffercache"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_freespacemap`: examine the free space map (FSM).
#[cfg(feature = "ext-pg_freespacemap")]
pub const PG_FREESPACEMAP: Extension = Extension(&super::Data {
    name: "pg_freespacemap",
    sql_name: "pg_freespacemap",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "examine the free space map (FSM)",
    dependencies: &[],
    libraries: &["pg_freespacemap"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_logicalinspect`: inspect logical decoding components.
#[cfg(feature = "ext-pg_logicalinspect")]
pub const PG_LOGICALINSPECT: Extension = Extension(&super::Data {
    name: "pg_logicalinspect",
    sql_name: "pg_logicalinspect",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "inspect logical decoding components",
    dependencies: &[],
    libraries: &["pg_logicalinspect"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_overexplain`: EXPLAIN options that dump more of a plan.
#[cfg(feature = "ext-pg_overexplain")]
pub const PG_OVEREXPLAIN: Extension = Extension(&super::Data {
    name: "pg_overexplain",
    sql_name: "pg_overexplain",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "EXPLAIN options that dump more of a plan",
    dependencies: &[],
    libraries: &["pg_overexplain"],
    settings: &[],
    created: false,
    preloaded: false,
});

/// `pg_prewarm`: prewarm relation data.
#[cfg(feature = "ext-pg_prewarm")]
pub const PG_PREWARM: Extension = Extension(&super::Data {
    name: "pg_prewarm",
    sql_name: "pg_prewarm",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "prewarm relation data",
    dependencies: &[],
    libraries: &["pg_prewarm"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_stat_statements`: track planning and execution statistics of all SQL statements executed.
#[cfg(feature = "ext-pg_stat_statements")]
pub const PG_STAT_STATEMENTS: Extension = Extension(&super::Data {
    name: "pg_stat_statements",
    sql_name: "pg_stat_statements",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "track planning and execution statistics of all SQL statements executed",
    dependencies: &[],
    libraries: &["pg_stat_statements"],
    settings: &[],
    created: true,
    preloaded: true,
});

/// `pg_surgery`: extension to perform surgery on a damaged relation.
#[cfg(feature = "ext-pg_surgery")]
pub const PG_SURGERY: Extension = Extension(&super::Data {
    name: "pg_surgery",
    sql_name: "pg_surgery",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "extension to perform surgery on a damaged relation",
    dependencies: &[],
    libraries: &["pg_surgery"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_trgm`: text similarity measurement and index searching based on trigrams.
#[cfg(feature = "ext-pg_trgm")]
pub const PG_TRGM: Extension = Extension(&super::Data {
    name: "pg_trgm",
    sql_name: "pg_trgm",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "text similarity measurement and index searching based on trigrams",
    dependencies: &[],
    libraries: &["pg_trgm"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_visibility`: examine the visibility map (VM) and page-level visibility info.
#[cfg(feature = "ext-pg_visibility")]
pub const PG_VISIBILITY: Extension = Extension(&super::Data {
    name: "pg_visibility",
    sql_name: "pg_visibility",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "examine the visibility map (VM) and page-level visibility info",
    dependencies: &[],
    libraries: &["pg_visibility"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_walinspect`: functions to inspect contents of PostgreSQL Write-Ahead Log.
#[cfg(feature = "ext-pg_walinspect")]
pub const PG_WALINSPECT: Extension = Extension(&super::Data {
    name: "pg_walinspect",
    sql_name: "pg_walinspect",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions to inspect contents of PostgreSQL Write-Ahead Log",
    dependencies: &[],
    libraries: &["pg_walinspect"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pgcrypto`: cryptographic functions, on OpenSSL 3.6.3 (Apache-2.0) with its legacy algorithms.
#[cfg(feature = "ext-pgcrypto")]
pub const PGCRYPTO: Extension = Extension(&super::Data {
    name: "pgcrypto",
    sql_name: "pgcrypto",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "cryptographic functions, on OpenSSL 3.6.3 (Apache-2.0) with its legacy algorithms",
    dependencies: &[],
    libraries: &["pgcrypto"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pgrowlocks`: show row-level locking information.
#[cfg(feature = "ext-pgrowlocks")]
pub const PGROWLOCKS: Extension = Extension(&super::Data {
    name: "pgrowlocks",
    sql_name: "pgrowlocks",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "show row-level locking information",
    dependencies: &[],
    libraries: &["pgrowlocks"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pgstattuple`: show tuple-level statistics.
#[cfg(feature = "ext-pgstattuple")]
pub const PGSTATTUPLE: Extension = Extension(&super::Data {
    name: "pgstattuple",
    sql_name: "pgstattuple",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "show tuple-level statistics",
    dependencies: &[],
    libraries: &["pgstattuple"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `postgres_fdw`: foreign-data wrapper for remote PostgreSQL servers.
#[cfg(feature = "ext-postgres_fdw")]
pub const POSTGRES_FDW: Extension = Extension(&super::Data {
    name: "postgres_fdw",
    sql_name: "postgres_fdw",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "foreign-data wrapper for remote PostgreSQL servers",
    dependencies: &[],
    libraries: &["postgres_fdw"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `seg`: data type for representing line segments or floating-point intervals.
#[cfg(feature = "ext-seg")]
pub const SEG: Extension = Extension(&super::Data {
    name: "seg",
    sql_name: "seg",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "data type for representing line segments or floating-point intervals",
    dependencies: &[],
    libraries: &["seg"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `autoinc`: functions for autoincrementing fields.
#[cfg(feature = "ext-autoinc")]
pub const AUTOINC: Extension = Extension(&super::Data {
    name: "autoinc",
    sql_name: "autoinc",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions for autoincrementing fields",
    dependencies: &[],
    libraries: &["autoinc"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `insert_username`: functions for tracking who changed a table.
#[cfg(feature = "ext-insert_username")]
pub const INSERT_USERNAME: Extension = Extension(&super::Data {
    name: "insert_username",
    sql_name: "insert_username",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions for tracking who changed a table",
    dependencies: &[],
    libraries: &["insert_username"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `moddatetime`: functions for tracking last modification time.
#[cfg(feature = "ext-moddatetime")]
pub const MODDATETIME: Extension = Extension(&super::Data {
    name: "moddatetime",
    sql_name: "moddatetime",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions for tracking last modification time",
    dependencies: &[],
    libraries: &["moddatetime"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `refint`: functions for implementing referential integrity (obsolete).
#[cfg(feature = "ext-refint")]
pub const REFINT: Extension = Extension(&super::Data {
    name: "refint",
    sql_name: "refint",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions for implementing referential integrity (obsolete)",
    dependencies: &[],
    libraries: &["refint"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `tablefunc`: functions that manipulate whole tables, including crosstab.
#[cfg(feature = "ext-tablefunc")]
pub const TABLEFUNC: Extension = Extension(&super::Data {
    name: "tablefunc",
    sql_name: "tablefunc",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "functions that manipulate whole tables, including crosstab",
    dependencies: &[],
    libraries: &["tablefunc"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `tcn`: triggered change notifications.
#[cfg(feature = "ext-tcn")]
pub const TCN: Extension = Extension(&super::Data {
    name: "tcn",
    sql_name: "tcn",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "triggered change notifications",
    dependencies: &[],
    libraries: &["tcn"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `test_decoding`: SQL-based test/example module for WAL logical decoding.
#[cfg(feature = "ext-test_decoding")]
pub const TEST_DECODING: Extension = Extension(&super::Data {
    name: "test_decoding",
    sql_name: "test_decoding",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "SQL-based test/example module for WAL logical decoding",
    dependencies: &[],
    libraries: &[],
    settings: &[("wal_level", "logical"), ("max_replication_slots", "4")],
    created: false,
    preloaded: false,
});

/// `tsm_system_rows`: TABLESAMPLE method which accepts number of rows as a limit.
#[cfg(feature = "ext-tsm_system_rows")]
pub const TSM_SYSTEM_ROWS: Extension = Extension(&super::Data {
    name: "tsm_system_rows",
    sql_name: "tsm_system_rows",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "TABLESAMPLE method which accepts number of rows as a limit",
    dependencies: &[],
    libraries: &["tsm_system_rows"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `tsm_system_time`: TABLESAMPLE method which accepts time in milliseconds as a limit.
#[cfg(feature = "ext-tsm_system_time")]
pub const TSM_SYSTEM_TIME: Extension = Extension(&super::Data {
    name: "tsm_system_time",
    sql_name: "tsm_system_time",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "TABLESAMPLE method which accepts time in milliseconds as a limit",
    dependencies: &[],
    libraries: &["tsm_system_time"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `unaccent`: text search dictionary that removes accents.
#[cfg(feature = "ext-unaccent")]
pub const UNACCENT: Extension = Extension(&super::Data {
    name: "unaccent",
    sql_name: "unaccent",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "text search dictionary that removes accents",
    dependencies: &[],
    libraries: &["unaccent"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `uuid-ossp`: generate universally unique identifiers (UUIDs).
#[cfg(feature = "ext-uuid-ossp")]
pub const UUID_OSSP: Extension = Extension(&super::Data {
    name: "uuid-ossp",
    sql_name: "uuid-ossp",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "generate universally unique identifiers (UUIDs)",
    dependencies: &[],
    libraries: &["uuid-ossp"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `xml2`: XPath querying and XSLT, on libxslt 1.1.45 (MIT).
#[cfg(feature = "ext-xml2")]
pub const XML2: Extension = Extension(&super::Data {
    name: "xml2",
    sql_name: "xml2",
    version: "18.6",
    licence: "PostgreSQL",
    summary: "XPath querying and XSLT, on libxslt 1.1.45 (MIT)",
    dependencies: &[],
    libraries: &["pgxml"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pgtap`: unit testing for PostgreSQL.
#[cfg(feature = "ext-pgtap")]
pub const PGTAP: Extension = Extension(&super::Data {
    name: "pgtap",
    sql_name: "pgtap",
    version: "1.3.4",
    licence: "PostgreSQL",
    summary: "unit testing for PostgreSQL",
    dependencies: &[],
    libraries: &[],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_partman`: manage partitioned tables by time or ID.
#[cfg(feature = "ext-pg_partman")]
pub const PG_PARTMAN: Extension = Extension(&super::Data {
    name: "pg_partman",
    sql_name: "pg_partman",
    version: "5.5.0",
    licence: "PostgreSQL",
    summary: "manage partitioned tables by time or ID",
    dependencies: &[],
    libraries: &["pg_partman_bgw"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `ip4r`: IPv4 and IPv6 range types with index support.
#[cfg(feature = "ext-ip4r")]
pub const IP4R: Extension = Extension(&super::Data {
    name: "ip4r",
    sql_name: "ip4r",
    version: "2.4.2",
    licence: "PostgreSQL",
    summary: "IPv4 and IPv6 range types with index support",
    dependencies: &[],
    libraries: &["ip4r"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `semver`: semantic version data type.
#[cfg(feature = "ext-semver")]
pub const SEMVER: Extension = Extension(&super::Data {
    name: "semver",
    sql_name: "semver",
    version: "0.40.0",
    licence: "PostgreSQL",
    summary: "semantic version data type",
    dependencies: &[],
    libraries: &["semver"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `prefix`: prefix range type for longest-prefix matches.
#[cfg(feature = "ext-prefix")]
pub const PREFIX: Extension = Extension(&super::Data {
    name: "prefix",
    sql_name: "prefix",
    version: "1.2.10",
    licence: "PostgreSQL",
    summary: "prefix range type for longest-prefix matches",
    dependencies: &[],
    libraries: &["prefix"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pgaudit`: auditing of sessions and objects through the log.
#[cfg(feature = "ext-pgaudit")]
pub const PGAUDIT: Extension = Extension(&super::Data {
    name: "pgaudit",
    sql_name: "pgaudit",
    version: "18.0",
    licence: "PostgreSQL",
    summary: "auditing of sessions and objects through the log",
    dependencies: &[],
    libraries: &["pgaudit"],
    settings: &[],
    created: true,
    preloaded: true,
});

/// `jsquery`: query language for jsonb, with index support.
#[cfg(feature = "ext-jsquery")]
pub const JSQUERY: Extension = Extension(&super::Data {
    name: "jsquery",
    sql_name: "jsquery",
    version: "1.2",
    licence: "PostgreSQL",
    summary: "query language for jsonb, with index support",
    dependencies: &[],
    libraries: &["jsquery"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `unit`: SI units data type.
///
/// Not in the feature `extensions`: GPL-3.0-or-later would hold for the whole program.
#[cfg(feature = "ext-unit")]
pub const UNIT: Extension = Extension(&super::Data {
    name: "unit",
    sql_name: "unit",
    version: "7.10",
    licence: "GPL-3.0-or-later",
    summary: "SI units data type",
    dependencies: &[],
    libraries: &["unit"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `numeral`: numeral, zahl and roman data types.
///
/// Not in the feature `extensions`: GPL-2.0-or-later would hold for the whole program.
#[cfg(feature = "ext-numeral")]
pub const NUMERAL: Extension = Extension(&super::Data {
    name: "numeral",
    sql_name: "numeral",
    version: "1.3",
    licence: "GPL-2.0-or-later",
    summary: "numeral, zahl and roman data types",
    dependencies: &[],
    libraries: &["numeral"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_rational`: bigint fractions.
#[cfg(feature = "ext-pg_rational")]
pub const PG_RATIONAL: Extension = Extension(&super::Data {
    name: "pg_rational",
    sql_name: "pg_rational",
    version: "0.0.2",
    licence: "MIT",
    summary: "bigint fractions",
    dependencies: &[],
    libraries: &["pg_rational"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_similarity`: similarity functions and operators.
#[cfg(feature = "ext-pg_similarity")]
pub const PG_SIMILARITY: Extension = Extension(&super::Data {
    name: "pg_similarity",
    sql_name: "pg_similarity",
    version: "1.0",
    licence: "BSD-3-Clause",
    summary: "similarity functions and operators",
    dependencies: &[],
    libraries: &["pg_similarity"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `rum`: RUM index access method: full-text search with ranking in the index.
#[cfg(feature = "ext-rum")]
pub const RUM: Extension = Extension(&super::Data {
    name: "rum",
    sql_name: "rum",
    version: "1.3.15",
    licence: "PostgreSQL",
    summary: "RUM index access method: full-text search with ranking in the index",
    dependencies: &[],
    libraries: &["rum"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_sphere`: spherical data types, without HEALPix and MOC (their part is C++).
#[cfg(feature = "ext-pg_sphere")]
pub const PG_SPHERE: Extension = Extension(&super::Data {
    name: "pg_sphere",
    sql_name: "pg_sphere",
    version: "1.5.2",
    licence: "BSD-3-Clause",
    summary: "spherical data types, without HEALPix and MOC (their part is C++)",
    dependencies: &[],
    libraries: &["pg_sphere"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_hashids`: short ids from numbers (hashids), with the SQL names of iCyberon's extension.
#[cfg(feature = "ext-pg_hashids")]
pub const PG_HASHIDS: Extension = Extension(&super::Data {
    name: "pg_hashids",
    sql_name: "pg_hashids",
    version: "1.3",
    licence: "Apache-2.0 OR MIT",
    summary: "short ids from numbers (hashids), with the SQL names of iCyberon's extension",
    dependencies: &[],
    libraries: &["pg_hashids"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_uuidv7`: UUIDs of version 7, with the SQL names of fboulnois's extension.
#[cfg(feature = "ext-pg_uuidv7")]
pub const PG_UUIDV7: Extension = Extension(&super::Data {
    name: "pg_uuidv7",
    sql_name: "pg_uuidv7",
    version: "1.6",
    licence: "Apache-2.0 OR MIT",
    summary: "UUIDs of version 7, with the SQL names of fboulnois's extension",
    dependencies: &[],
    libraries: &["pg_uuidv7"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `h3`: bindings for H3, a hexagonal hierarchical geospatial index.
#[cfg(feature = "ext-h3")]
pub const H3: Extension = Extension(&super::Data {
    name: "h3",
    sql_name: "h3",
    version: "4.2.3",
    licence: "Apache-2.0",
    summary: "bindings for H3, a hexagonal hierarchical geospatial index",
    dependencies: &[],
    libraries: &["h3"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_ivm`: incremental view maintenance: materialized views that follow their tables at once.
#[cfg(feature = "ext-pg_ivm")]
pub const PG_IVM: Extension = Extension(&super::Data {
    name: "pg_ivm",
    sql_name: "pg_ivm",
    version: "1.16",
    licence: "PostgreSQL AND Apache-2.0",
    summary: "incremental view maintenance: materialized views that follow their tables at once",
    dependencies: &[],
    libraries: &["pg_ivm"],
    settings: &[],
    created: true,
    preloaded: true,
});

/// `pg_textsearch`: full-text search with BM25 ranking in the index.
///
/// Not in the feature `extensions`: PGlite's module was compiled without atomic instructions, so counters that its sessions share are plain memory and may lose an update when several write at once.
#[cfg(feature = "ext-pg_textsearch")]
pub const PG_TEXTSEARCH: Extension = Extension(&super::Data {
    name: "pg_textsearch",
    sql_name: "pg_textsearch",
    version: "1.5.1",
    licence: "PostgreSQL AND Apache-2.0",
    summary: "full-text search with BM25 ranking in the index",
    dependencies: &[],
    libraries: &["pg_textsearch"],
    settings: &[("max_parallel_maintenance_workers", "0")],
    created: true,
    preloaded: true,
});

/// `postgis`: geometry and geography types, on GEOS 3.13.1 and PROJ 9.1.1 (without raster and SFCGAL).
///
/// Not in the feature `extensions`: GPL-2.0-or-later would hold for the whole program, and it is built on request only (`cargo xtask assets --with postgis`).
#[cfg(feature = "ext-postgis")]
pub const POSTGIS: Extension = Extension(&super::Data {
    name: "postgis",
    sql_name: "postgis",
    version: "3.6.4",
    licence: "GPL-2.0-or-later",
    summary: "geometry and geography types, on GEOS 3.13.1 and PROJ 9.1.1 (without raster and SFCGAL)",
    dependencies: &[],
    libraries: &["postgis-3"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `set_user`: switching roles with a log of what is done then, and more blocked on the way.
#[cfg(feature = "ext-set_user")]
pub const SET_USER: Extension = Extension(&super::Data {
    name: "set_user",
    sql_name: "set_user",
    version: "4.2.0",
    licence: "PostgreSQL",
    summary: "switching roles with a log of what is done then, and more blocked on the way",
    dependencies: &[],
    libraries: &["set_user"],
    settings: &[],
    created: true,
    preloaded: true,
});

/// `pgq`: queues with batches for several consumers, filled by transactions and triggers.
#[cfg(feature = "ext-pgq")]
pub const PGQ: Extension = Extension(&super::Data {
    name: "pgq",
    sql_name: "pgq",
    version: "3.5.1",
    licence: "ISC",
    summary: "queues with batches for several consumers, filled by transactions and triggers",
    dependencies: &[],
    libraries: &["pgq_lowlevel", "pgq_triggers"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_permissions`: views of all permissions, and what differs from those that are wanted.
#[cfg(feature = "ext-pg_permissions")]
pub const PG_PERMISSIONS: Extension = Extension(&super::Data {
    name: "pg_permissions",
    sql_name: "pg_permissions",
    version: "1.3",
    licence: "PostgreSQL",
    summary: "views of all permissions, and what differs from those that are wanted",
    dependencies: &[],
    libraries: &[],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `extra_window_functions`: window functions that ignore nulls or look from the last row.
#[cfg(feature = "ext-extra_window_functions")]
pub const EXTRA_WINDOW_FUNCTIONS: Extension = Extension(&super::Data {
    name: "extra_window_functions",
    sql_name: "extra_window_functions",
    version: "1.0",
    licence: "PostgreSQL",
    summary: "window functions that ignore nulls or look from the last row",
    dependencies: &[],
    libraries: &["extra_window_functions"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_dirtyread`: reads rows that are deleted and not yet vacuumed.
#[cfg(feature = "ext-pg_dirtyread")]
pub const PG_DIRTYREAD: Extension = Extension(&super::Data {
    name: "pg_dirtyread",
    sql_name: "pg_dirtyread",
    version: "2",
    licence: "BSD-3-Clause",
    summary: "reads rows that are deleted and not yet vacuumed",
    dependencies: &[],
    libraries: &["pg_dirtyread"],
    settings: &[],
    created: true,
    preloaded: false,
});

/// `pg_track_settings`: keeps a history of changed settings.
#[cfg(feature = "ext-pg_track_settings")]
pub const PG_TRACK_SETTINGS: Extension = Extension(&super::Data {
    name: "pg_track_settings",
    sql_name: "pg_track_settings",
    version: "2.1.2",
    licence: "PostgreSQL",
    summary: "keeps a history of changed settings",
    dependencies: &[],
    libraries: &[],
    settings: &[],
    created: true,
    preloaded: false,
});

/// Every extension that is linked, in the order of the catalogue.
pub const ALL: &[Extension] = &[
    #[cfg(feature = "ext-vector")]
    VECTOR,
    #[cfg(feature = "ext-amcheck")]
    AMCHECK,
    #[cfg(feature = "ext-auth_delay")]
    AUTH_DELAY,
    #[cfg(feature = "ext-auto_explain")]
    AUTO_EXPLAIN,
    #[cfg(feature = "ext-basic_archive")]
    BASIC_ARCHIVE,
    #[cfg(feature = "ext-bloom")]
    BLOOM,
    #[cfg(feature = "ext-btree_gin")]
    BTREE_GIN,
    #[cfg(feature = "ext-btree_gist")]
    BTREE_GIST,
    #[cfg(feature = "ext-citext")]
    CITEXT,
    #[cfg(feature = "ext-cube")]
    CUBE,
    #[cfg(feature = "ext-dblink")]
    DBLINK,
    #[cfg(feature = "ext-dict_int")]
    DICT_INT,
    #[cfg(feature = "ext-dict_xsyn")]
    DICT_XSYN,
    #[cfg(feature = "ext-earthdistance")]
    EARTHDISTANCE,
    #[cfg(feature = "ext-file_fdw")]
    FILE_FDW,
    #[cfg(feature = "ext-fuzzystrmatch")]
    FUZZYSTRMATCH,
    #[cfg(feature = "ext-hstore")]
    HSTORE,
    #[cfg(feature = "ext-intagg")]
    INTAGG,
    #[cfg(feature = "ext-intarray")]
    INTARRAY,
    #[cfg(feature = "ext-isn")]
    ISN,
    #[cfg(feature = "ext-lo")]
    LO,
    #[cfg(feature = "ext-ltree")]
    LTREE,
    #[cfg(feature = "ext-pageinspect")]
    PAGEINSPECT,
    #[cfg(feature = "ext-passwordcheck")]
    PASSWORDCHECK,
    #[cfg(feature = "ext-pg_buffercache")]
    PG_BUFFERCACHE,
    #[cfg(feature = "ext-pg_freespacemap")]
    PG_FREESPACEMAP,
    #[cfg(feature = "ext-pg_logicalinspect")]
    PG_LOGICALINSPECT,
    #[cfg(feature = "ext-pg_overexplain")]
    PG_OVEREXPLAIN,
    #[cfg(feature = "ext-pg_prewarm")]
    PG_PREWARM,
    #[cfg(feature = "ext-pg_stat_statements")]
    PG_STAT_STATEMENTS,
    #[cfg(feature = "ext-pg_surgery")]
    PG_SURGERY,
    #[cfg(feature = "ext-pg_trgm")]
    PG_TRGM,
    #[cfg(feature = "ext-pg_visibility")]
    PG_VISIBILITY,
    #[cfg(feature = "ext-pg_walinspect")]
    PG_WALINSPECT,
    #[cfg(feature = "ext-pgcrypto")]
    PGCRYPTO,
    #[cfg(feature = "ext-pgrowlocks")]
    PGROWLOCKS,
    #[cfg(feature = "ext-pgstattuple")]
    PGSTATTUPLE,
    #[cfg(feature = "ext-postgres_fdw")]
    POSTGRES_FDW,
    #[cfg(feature = "ext-seg")]
    SEG,
    #[cfg(feature = "ext-autoinc")]
    AUTOINC,
    #[cfg(feature = "ext-insert_username")]
    INSERT_USERNAME,
    #[cfg(feature = "ext-moddatetime")]
    MODDATETIME,
    #[cfg(feature = "ext-refint")]
    REFINT,
    #[cfg(feature = "ext-tablefunc")]
    TABLEFUNC,
    #[cfg(feature = "ext-tcn")]
    TCN,
    #[cfg(feature = "ext-test_decoding")]
    TEST_DECODING,
    #[cfg(feature = "ext-tsm_system_rows")]
    TSM_SYSTEM_ROWS,
    #[cfg(feature = "ext-tsm_system_time")]
    TSM_SYSTEM_TIME,
    #[cfg(feature = "ext-unaccent")]
    UNACCENT,
    #[cfg(feature = "ext-uuid-ossp")]
    UUID_OSSP,
    #[cfg(feature = "ext-xml2")]
    XML2,
    #[cfg(feature = "ext-pgtap")]
    PGTAP,
    #[cfg(feature = "ext-pg_partman")]
    PG_PARTMAN,
    #[cfg(feature = "ext-ip4r")]
    IP4R,
    #[cfg(feature = "ext-semver")]
    SEMVER,
    #[cfg(feature = "ext-prefix")]
    PREFIX,
    #[cfg(feature = "ext-pgaudit")]
    PGAUDIT,
    #[cfg(feature = "ext-jsquery")]
    JSQUERY,
    #[cfg(feature = "ext-unit")]
    UNIT,
    #[cfg(feature = "ext-numeral")]
    NUMERAL,
    #[cfg(feature = "ext-pg_rational")]
    PG_RATIONAL,
    #[cfg(feature = "ext-pg_similarity")]
    PG_SIMILARITY,
    #[cfg(feature = "ext-rum")]
    RUM,
    #[cfg(feature = "ext-pg_sphere")]
    PG_SPHERE,
    #[cfg(feature = "ext-pg_hashids")]
    PG_HASHIDS,
    #[cfg(feature = "ext-pg_uuidv7")]
    PG_UUIDV7,
    #[cfg(feature = "ext-h3")]
    H3,
    #[cfg(feature = "ext-pg_ivm")]
    PG_IVM,
    #[cfg(feature = "ext-pg_textsearch")]
    PG_TEXTSEARCH,
    #[cfg(feature = "ext-postgis")]
    POSTGIS,
    #[cfg(feature = "ext-set_user")]
    SET_USER,
    #[cfg(feature = "ext-pgq")]
    PGQ,
    #[cfg(feature = "ext-pg_permissions")]
    PG_PERMISSIONS,
    #[cfg(feature = "ext-extra_window_functions")]
    EXTRA_WINDOW_FUNCTIONS,
    #[cfg(feature = "ext-pg_dirtyread")]
    PG_DIRTYREAD,
    #[cfg(feature = "ext-pg_track_settings")]
    PG_TRACK_SETTINGS,
];
