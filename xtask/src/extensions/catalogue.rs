//! `guest/extensions/catalogue.toml`: the extensions as data.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::fetch::{Origin, Pinned, pins};
use crate::guest;

/// Releases of Debian that may have the source package of an extension, in the order to ask.
const SUITES: &[&str] = &["trixie", "forky", "sid", "bookworm"];

/// The source of extensions that are written here, in `guest/extensions/NAME`.
const OWN: &str = "own";

/// Static libraries that a library may be linked with, and the sources of the catalogue that they are made of. C++ comes with the compiler, OpenSSL, libxml2 and libxslt are pinned beside the catalogue.
pub const STATIC_LIBRARIES: &[(&str, &[&str])] = &[
    (LIBCRYPTO, &[]),
    (LIBXSLT, &[]),
    (guest::LIBXML2, &[]),
    (guest::CXX, &[]),
    (guest::GEOS, &["geos"]),
    (guest::PROJ, &["proj", "sqlite"]),
    (guest::JSON_C, &["json-c"]),
    (guest::PROTOBUF_C, &["protobuf-c"]),
];
/// OpenSSL's.
pub const LIBCRYPTO: &str = "libcrypto";
/// GNOME's, for XSLT.
pub const LIBXSLT: &str = "libxslt";

/// All of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "source", default)]
    sources: Vec<Source>,
    /// In the order of their side modules in memory.
    #[serde(rename = "extension")]
    pub extensions: Vec<Extension>,
}

/// A source archive.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: String,
    version: String,
    licence: String,
    file: String,
    sha256: String,
    /// Where its project has it, and the Debian source package with the same bytes.
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    debian: Option<String>,
    /// Or its project on PyPI, and the Python module that would build it there.
    #[serde(default)]
    pypi: Option<String>,
    #[serde(default)]
    backend: Option<String>,
    /// Or its package on npm.
    #[serde(default)]
    npm: Option<String>,
    /// Or the crate that carries it, on crates.io.
    #[serde(default, rename = "crate")]
    package: Option<String>,
}

/// One extension.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Our name for it, and that of its constant and its feature.
    pub name: String,
    #[serde(default)]
    sql_name: Option<String>,
    /// False for a module that is loaded and not created.
    #[serde(default = "yes")]
    pub sql: bool,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    version: Option<String>,
    /// More sources, each unpacked into a directory of its name.
    #[serde(default)]
    pub with: Vec<String>,
    #[serde(default)]
    dir: Option<String>,
    /// One line.
    pub summary: String,
    #[serde(default)]
    run: Vec<Vec<String>>,
    #[serde(default)]
    bison: Vec<String>,
    #[serde(default)]
    flex: Vec<String>,
    #[serde(default)]
    libraries: Option<Vec<Library>>,
    #[serde(default)]
    share: Option<Vec<(Vec<String>, String)>>,
    /// SQL names of what it needs.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Whether its library must be in `shared_preload_libraries`.
    #[serde(default)]
    pub preload: bool,
    /// More settings that the server must be started with.
    #[serde(default)]
    pub settings: Vec<(String, String)>,
    /// SQL and the first value of its last result, as text.
    #[serde(default)]
    pub smoke: Vec<(String, String)>,
    /// Its own regression tests, if not those of its Makefile.
    #[serde(default)]
    pub regress: Option<Regress>,
    /// More arguments of `pg_regress`.
    #[serde(default)]
    pub regress_options: Vec<String>,
    /// Why it is not built.
    #[serde(default)]
    pub blocked: Option<String>,
    /// Why it is built, and no part of the feature `extensions`.
    #[serde(default)]
    opt_in: Option<String>,
    /// Built only when it is asked for by its name, and linked by a crate of its own.
    #[serde(default)]
    pub on_request: bool,
}

/// The crate that links an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// `aot-extensions`, its files in `assets`.
    Free,
    /// `extensions-gpl`.
    Copyleft,
    /// `extensions-NAME`.
    Own(String),
}

/// The feature of extensions that put the whole program under their licence.
const COPYLEFT: &str = "extensions-gpl";

/// What links an extension that is no part of the feature `extensions`.
#[derive(Debug, PartialEq, Eq)]
pub struct OptIn {
    /// A feature with all that have the same reason, if there is one.
    pub group: Option<&'static str>,
    /// Why.
    pub reason: String,
}

/// A source with a notice of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    pub source: &'a str,
    pub version: &'a str,
    pub licence: &'a str,
    /// The extensions that are made of it.
    pub extensions: Vec<&'a str>,
}

impl Notice<'_> {
    /// Where the notice is, from the checkout's root.
    pub fn file(&self) -> String {
        format!("licenses/{}.txt", self.source)
    }
}

fn yes() -> bool {
    true
}

/// A library, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// As `dlopen` knows it.
    pub name: String,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    /// Static libraries that the build makes (`crate::assets`).
    #[serde(default)]
    pub links: Vec<String>,
    /// Instead of sources: a side module that others have linked, relative to the extension's directory.
    #[serde(default)]
    pub module: Option<String>,
    /// C for the host with functions that it imports from the module `native`, in the directory of the extension's patches.
    #[serde(default)]
    pub native: Option<String>,
}

/// Where regression tests are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regress {
    /// The directory with `sql` and `expected`, relative to the extension's.
    #[serde(default)]
    pub dir: String,
    /// Tests that were written here, in `regress/NAME` of the checkout: those of the source cannot be had.
    #[serde(default)]
    pub ours: bool,
    /// Whether they are in PostGIS's form: `NAME.sql` beside `NAME_expected`.
    #[serde(default)]
    pub beside: bool,
    /// Names separated by spaces; `*` for all.
    pub tests: String,
    /// Settings of the server that only the tests need.
    #[serde(default)]
    pub settings: Vec<(String, String)>,
}

impl Library {
    /// As the recipe takes it.
    pub fn recipe(&self) -> crate::guest::Library<'_> {
        crate::guest::Library {
            name: &self.name,
            sources: &self.sources,
            flags: &self.flags,
            cxx: self.links.iter().any(|name| name == guest::CXX),
        }
    }

    /// The sources of the catalogue that its static libraries are made of.
    pub fn linked_sources(&self) -> impl Iterator<Item = &'static str> {
        STATIC_LIBRARIES
            .iter()
            .filter(|(name, _)| self.links.iter().any(|link| link == name))
            .flat_map(|(_, sources)| sources.iter().copied())
    }
}

impl Extension {
    /// How its directory is prepared, as the recipe takes it.
    pub fn tree(&self) -> crate::guest::ExtensionTree<'_> {
        crate::guest::ExtensionTree {
            name: &self.name,
            run: &self.run,
            bison: &self.bison,
            flex: &self.flex,
        }
    }

    /// Its name in SQL.
    pub fn sql_name(&self) -> &str {
        self.sql_name.as_deref().unwrap_or(&self.name)
    }

    /// The name of its source archive.
    pub fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(pins::POSTGRES.name)
    }

    /// Its directory in the source.
    pub fn dir(&self) -> PathBuf {
        match (&self.dir, &self.source) {
            (Some(dir), _) => PathBuf::from(dir),
            (None, Some(_)) => PathBuf::new(),
            (None, None) => Path::new("contrib").join(&self.name),
        }
    }

    /// Its libraries.
    pub fn libraries(&self) -> Vec<Library> {
        self.libraries.clone().unwrap_or_else(|| {
            vec![Library {
                name: self.name.clone(),
                sources: vec!["*.c".to_owned()],
                flags: Vec::new(),
                links: Vec::new(),
                module: None,
                native: None,
            }]
        })
    }

    /// Patterns of files and where they go below `share`.
    pub fn share(&self) -> Vec<(Vec<String>, String)> {
        match &self.share {
            Some(share) => share.clone(),
            None if self.sql => vec![(
                vec!["*.control".to_owned(), "*.sql".to_owned()],
                "extension".to_owned(),
            )],
            None => Vec::new(),
        }
    }

    /// The part of a name in Rust and C: `uuid-ossp` is `uuid_ossp`.
    pub fn identifier(&self) -> String {
        self.name.replace('-', "_")
    }

    /// What its inputs are, for fingerprints.
    pub fn describe_share(&self) -> String {
        format!("{:?}", self.share())
    }
}

impl Catalogue {
    /// Reads and checks the catalogue of the checkout's `guest` directory.
    pub fn read(guest: &Path) -> Result<Self> {
        let path = guest.join("extensions/catalogue.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let catalogue: Self = toml::from_str(text)?;
        let mut seen = BTreeSet::new();
        for extension in &catalogue.extensions {
            let name = &extension.name;
            for library in extension.libraries() {
                if library.module.is_some() != library.sources.is_empty() {
                    bail!(
                        "library {} has neither sources nor a module, or both",
                        library.name
                    );
                }
                if library.module.is_some()
                    && !(library.flags.is_empty()
                        && library.links.is_empty()
                        && library.native.is_none())
                {
                    bail!(
                        "library {} is a module that is linked already: it takes neither flags nor links nor native functions",
                        library.name
                    );
                }
                if extension.blocked.is_none() && !seen.insert(format!("library {}", library.name))
                {
                    bail!("library {} is there twice", library.name);
                }
            }
            if !seen.insert(name.clone()) {
                bail!("{name} is there twice");
            }
            if extension.blocked.is_some() && extension.opt_in.is_some() {
                bail!("{name} is blocked: no feature links it");
            }
            if extension.blocked.is_none() && extension.smoke.is_empty() {
                bail!("{name} is neither blocked nor has a smoke test");
            }
            for wanted in &extension.requires {
                let built = catalogue
                    .extensions
                    .iter()
                    .any(|other| other.sql_name() == wanted && other.blocked.is_none());
                if !built && extension.blocked.is_none() {
                    bail!("{name} requires {wanted}, which is not built");
                }
            }
            if extension.source() != pins::POSTGRES.name {
                catalogue.pinned(extension)?;
            }
            for source in &extension.with {
                catalogue.pin(source)?;
            }
            for library in extension.libraries() {
                for links in &library.links {
                    if !STATIC_LIBRARIES.iter().any(|(known, _)| known == links) {
                        let known: Vec<&str> =
                            STATIC_LIBRARIES.iter().map(|(name, _)| *name).collect();
                        bail!("{name} links {links}; the build makes {}", known.join(", "));
                    }
                }
            }
        }
        Ok(catalogue)
    }

    /// Those that are built.
    pub fn built(&self) -> impl Iterator<Item = &Extension> {
        self.extensions
            .iter()
            .filter(|extension| extension.blocked.is_none())
    }

    /// The source archive of an extension; `None` for one whose source is in the checkout.
    pub fn pinned(&self, extension: &Extension) -> Result<Option<Pinned>> {
        if extension.source() == OWN {
            return Ok(None);
        }
        if extension.source() == pins::POSTGRES.name {
            return Ok(Some(pins::POSTGRES));
        }
        self.pin(extension.source())
            .with_context(|| extension.name.clone())
            .map(Some)
    }

    /// Every source archive that an extension is made of, those of its static libraries included.
    pub fn all_sources(&self, extension: &Extension) -> Result<Vec<Pinned>> {
        let mut all: Vec<Pinned> = self.pinned(extension)?.into_iter().collect();
        for name in &extension.with {
            all.push(self.pin(name)?);
        }
        for library in extension.libraries() {
            for name in library.linked_sources() {
                all.push(self.pin(name)?);
            }
        }
        Ok(all)
    }

    /// A source archive by its name here, or in the table of pins.
    pub fn pin(&self, name: &str) -> Result<Pinned> {
        if let Some(pinned) = pins::SHARED.iter().find(|pinned| pinned.name == name) {
            return Ok(*pinned);
        }
        let source = self.source_named(name)?;
        // The table of pins is made of constants; a catalogue lives as long as the program.
        let keep = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        Ok(Pinned {
            name: keep(&source.name),
            version: keep(&source.version),
            file: keep(&source.file),
            sha256: keep(&source.sha256),
            origin: match source {
                Source {
                    url: Some(url),
                    debian: Some(debian),
                    ..
                } => Origin::Release {
                    url: keep(url),
                    debian_source: keep(debian),
                    suites: SUITES,
                },
                Source {
                    pypi: Some(package),
                    backend: Some(backend),
                    ..
                } => Origin::Sdist {
                    package: keep(package),
                    backend: keep(backend),
                },
                Source {
                    debian: Some(debian),
                    ..
                } => Origin::Debian {
                    package: keep(debian),
                    suites: SUITES,
                },
                Source {
                    npm: Some(package), ..
                } => Origin::Npm {
                    package: keep(package),
                },
                Source {
                    package: Some(package),
                    ..
                } => Origin::Crate {
                    package: keep(package),
                },
                _ => {
                    bail!(
                        "source {name} has neither url and debian, nor debian alone, nor pypi and backend, nor npm, nor crate"
                    )
                }
            },
        })
    }

    /// Version and licence.
    pub fn provenance(&self, extension: &Extension) -> Result<(String, String)> {
        if extension.source() == pins::POSTGRES.name {
            return Ok((pins::POSTGRES.version.to_owned(), "PostgreSQL".to_owned()));
        }
        if extension.source() == OWN {
            let version = extension
                .version
                .clone()
                .with_context(|| format!("{} has no version", extension.name))?;
            return Ok((version, "Apache-2.0 OR MIT".to_owned()));
        }
        let source = self.source_named(extension.source())?;
        let version = extension.version.as_ref().unwrap_or(&source.version);
        Ok((version.clone(), source.licence.clone()))
    }

    /// Whether whoever links it takes on more than a notice: such extensions are in a crate of their own.
    pub fn is_copyleft(&self, extension: &Extension) -> Result<bool> {
        Ok(self.provenance(extension)?.1.starts_with("GPL"))
    }

    /// Which crate links it.
    pub fn home(&self, extension: &Extension) -> Result<Home> {
        Ok(if extension.on_request {
            Home::Own(extension.name.clone())
        } else if self.is_copyleft(extension)? {
            Home::Copyleft
        } else {
            Home::Free
        })
    }

    /// Fails if one of `names` is not an extension that is built when it is asked for.
    pub fn check_requested(&self, names: &[String]) -> Result<()> {
        let known: Vec<&str> = self.on_request().collect();
        match names.iter().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => bail!(
                "{name} is not built on request; what is: {}",
                known.join(", ")
            ),
        }
    }

    /// The names of those that are built only when they are asked for.
    pub fn on_request(&self) -> impl Iterator<Item = &str> {
        self.built()
            .filter(|extension| extension.on_request)
            .map(|extension| extension.name.as_str())
    }

    /// Why an extension is no part of the feature `extensions`; `None` for one that is.
    pub fn opt_in(&self, extension: &Extension) -> Result<Option<OptIn>> {
        if extension.on_request {
            let (_, licence) = self.provenance(extension)?;
            return Ok(Some(OptIn {
                group: None,
                reason: format!(
                    "{licence} would hold for the whole program, and it is built on request only (`cargo xtask assets --with {}`)",
                    extension.name
                ),
            }));
        }
        if self.is_copyleft(extension)? {
            let (_, licence) = self.provenance(extension)?;
            return Ok(Some(OptIn {
                group: Some(COPYLEFT),
                reason: format!("{licence} would hold for the whole program"),
            }));
        }
        Ok(extension.opt_in.clone().map(|reason| OptIn {
            group: None,
            reason,
        }))
    }

    /// The sources of built extensions that are neither PostgreSQL's nor written here. Those that are pinned beside the catalogue are a part of more than extensions.
    pub fn notices(&self) -> Vec<Notice<'_>> {
        let of = |source: &'_ Source| -> Vec<&str> {
            self.built()
                .filter(|extension| {
                    let libraries = extension.libraries();
                    let mut linked = libraries.iter().flat_map(Library::linked_sources);
                    extension.source() == source.name
                        || extension.with.contains(&source.name)
                        || linked.any(|name| name == source.name)
                })
                .map(Extension::sql_name)
                .collect()
        };
        self.sources
            .iter()
            .map(|source| Notice {
                source: &source.name,
                version: &source.version,
                licence: &source.licence,
                extensions: of(source),
            })
            .filter(|notice| !notice.extensions.is_empty())
            .collect()
    }

    fn source_named(&self, name: &str) -> Result<&Source> {
        self.sources
            .iter()
            .find(|source| source.name == name)
            .with_context(|| format!("there is no source {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_of_this_checkout_is_sound() {
        let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest");
        let catalogue = Catalogue::read(&guest).unwrap();
        assert!(
            catalogue
                .built()
                .any(|extension| extension.name == "vector")
        );
    }

    /// What a licence's text has in it.
    fn phrases(licence: &str) -> &'static [&'static str] {
        match licence {
            "PostgreSQL" => &["without a written agreement", "PostgreSQL.txt"],
            "MIT" => &[
                "hereby granted, free of charge",
                "is hereby granted, provided",
            ],
            "BSD-3-Clause" => &["Neither the name"],
            "ISC" => &["Permission to use, copy, modify, and/or distribute this software"],
            "BSD-2-Clause" => &["Redistribution and use in source and binary forms"],
            "blessing" => &["May you do good and not evil"],
            "LGPL-2.1-or-later" => {
                &["GNU LESSER GENERAL PUBLIC LICENSE\n                       Version 2.1,"]
            }
            "Apache-2.0" => &["Apache License\n                           Version 2.0"],
            "GPL-2.0-or-later" => {
                &["GNU GENERAL PUBLIC LICENSE\n                       Version 2,"]
            }
            "GPL-3.0-or-later" => {
                &["GNU GENERAL PUBLIC LICENSE\n                       Version 3,"]
            }
            other => panic!("say here how to know the text of {other}"),
        }
    }

    /// pg_ivm and pg_textsearch were linked by default without their notices, which their licences ask to keep.
    #[test]
    fn each_foreign_source_has_its_notice() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let catalogue = Catalogue::read(&root.join("guest")).unwrap();
        let notices = catalogue.notices();
        assert!(notices.iter().any(|notice| notice.source == "pgvector"));
        for notice in notices {
            let file = notice.file();
            let text = fs::read_to_string(root.join(&file))
                .unwrap_or_else(|error| panic!("{file}, for {:?}: {error}", notice.extensions));
            assert!(text.contains("Copyright"), "{file} names no holder");
            for licence in notice.licence.split(" AND ") {
                let found = phrases(licence).iter().any(|phrase| text.contains(phrase));
                assert!(found, "{file} has no {licence}");
            }
        }
    }

    #[test]
    fn what_is_not_linked_by_default_has_a_reason() {
        let entry = "[[source]]\nname = 's'\nversion = '1'\nlicence = 'GPL-2.0-or-later'\nfile = ''\nsha256 = ''\nurl = ''\ndebian = ''\n\
                     [[extension]]\nname = 'free'\nsource = 's'\nsummary = ''\nsmoke = [['', '']]\n\
                     [[extension]]\nname = 'plain'\nsummary = ''\nsmoke = [['', '']]\n\
                     [[extension]]\nname = 'odd'\nsummary = ''\nsmoke = [['', '']]\nopt_in = 'it is odd'\n";
        let catalogue = Catalogue::parse(entry).unwrap();
        let opt_in: Vec<_> = catalogue
            .built()
            .map(|extension| catalogue.opt_in(extension).unwrap())
            .collect();
        let [Some(free), None, Some(odd)] = &opt_in[..] else {
            panic!("{opt_in:?}");
        };
        assert_eq!(free.group, Some(COPYLEFT));
        assert_eq!((odd.group, odd.reason.as_str()), (None, "it is odd"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |text: &str| format!("{:#}", Catalogue::parse(text).unwrap_err());
        let entry = "[[extension]]\nname = 'a'\nsummary = ''\n";
        assert!(error(entry).contains("a is neither blocked nor"));
        let needy = format!("{entry}smoke = [['', '']]\nrequires = ['b']\n");
        assert!(error(&needy).contains("requires b"));
        let foreign = format!("{entry}blocked = 'x'\nsource = 'gone'\n");
        assert!(error(&foreign).contains("no source gone"));
        let linked = format!(
            "{entry}blocked = 'x'\nlibraries = [{{ name = 'a', sources = ['a.c'], links = ['libssl'] }}]\n"
        );
        assert!(error(&linked).contains("links libssl; the build makes libcrypto, libxslt"));
        let both = format!(
            "{entry}blocked = 'x'\nlibraries = [{{ name = 'a', module = 'a.so', links = ['libcrypto'] }}]\n"
        );
        assert!(error(&both).contains("neither flags nor links"));
        let twice = format!("{entry}blocked = 'x'\n{entry}blocked = 'x'\n");
        assert!(error(&twice).contains("twice"));
    }
}
