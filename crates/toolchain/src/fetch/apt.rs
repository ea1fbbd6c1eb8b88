//! Debian's packages through apt, with an apt root of our own: nothing is installed and nobody needs to be root.
//!
//! Which mirror to ask, and whom to trust, is read from the machine's own apt configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::wanted;
use crate::cache::{Cache, remove_tree};
use crate::fingerprint::Inputs;
use crate::process;

const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A Debian mirror that this machine is configured to use.
#[derive(Clone, Debug)]
pub struct DebianMirror {
    uri: String,
    signed_by: String,
    /// The release this machine runs, such as `bookworm`.
    pub codename: String,
}

/// An apt root with one line of sources, updated.
pub(super) struct AptRoot {
    dir: PathBuf,
}

impl DebianMirror {
    /// The mirror of this machine's own release.
    pub fn of_this_machine() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .map(|name| name.trim_matches('"').to_owned())
            .context("no VERSION_CODENAME in /etc/os-release")?;
        // apt itself reads every form of source list there is.
        let format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)";
        let targets =
            process::output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
        Self::pick(&targets, &codename)
            .with_context(|| format!("no source of {codename} main in apt's configuration"))
    }

    fn pick(targets: &str, codename: &str) -> Option<Self> {
        targets.lines().find_map(|line| {
            let mut fields = line.split('|');
            let (uri, release, component) = (fields.next()?, fields.next()?, fields.next()?);
            // An apt that does not know the field leaves its name standing: then the archive's own keyring is what is trusted.
            let signed_by = fields
                .next()
                .filter(|keys| !keys.starts_with('$'))
                .unwrap_or(ARCHIVE_KEYRING);
            (release == codename && component == "main").then(|| Self {
                uri: uri.to_owned(),
                signed_by: signed_by.to_owned(),
                codename: codename.to_owned(),
            })
        })
    }

    /// An apt root at `dir` for `line`: `deb-src SUITE COMPONENT` or `deb SUITE COMPONENT`.
    pub(super) fn root(&self, dir: &Path, line: &str) -> Result<AptRoot> {
        for sub in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let (kind, rest) = line.split_once(' ').context("a source line")?;
        let signed = if self.signed_by.is_empty() || !Path::new(&self.signed_by).exists() {
            String::new()
        } else {
            format!("[signed-by={}] ", self.signed_by)
        };
        fs::write(
            dir.join("sources.list"),
            format!("{kind} {signed}{} {rest}\n", self.uri),
        )?;
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("preferences"), "")?;
        let root = AptRoot {
            dir: dir.to_path_buf(),
        };
        process::output(root.apt_get().arg("update"))?;
        Ok(root)
    }
}

impl AptRoot {
    /// `apt-get` confined to this root. The machine's `apt.conf` (proxies, certificates) still holds.
    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        let dir = self.dir.display();
        option("Dir::Etc::sourcelist", &format!("{dir}/sources.list"));
        option("Dir::Etc::sourceparts", "/dev/null");
        option("Dir::Etc::preferences", &format!("{dir}/preferences"));
        option("Dir::Etc::preferencesparts", "/dev/null");
        option("Dir::State::lists", &format!("{dir}/lists"));
        option("Dir::State::status", &format!("{dir}/status"));
        option(
            "Dir::State::extended_states",
            &format!("{dir}/extended_states"),
        );
        option("Dir::Cache", &dir.to_string());
        option("Dir::Cache::archives", &format!("{dir}/archives"));
        option("Dir::Log", &dir.to_string());
        // Old releases' indexes stay valid for us: sums are what we trust.
        option("Acquire::Check-Valid-Until", "false");
        option("Acquire::Languages", "none");
        option(
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
            "false",
        );
        option("Acquire::http::Timeout", "10");
        option("Acquire::https::Timeout", "10");
        option("Acquire::Retries", "2");
        option("APT::Sandbox::User", "");
        option("APT::Update::Error-Mode", "any");
        command
            .arg("-q")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Downloads the upstream tarball `file` of a source package into `scratch`.
    pub(super) fn source(&self, package: &str, file: &str, scratch: &Path) -> Result<PathBuf> {
        process::output(
            self.apt_get()
                .args(["source", "--download-only", "--tar-only", package])
                .current_dir(scratch),
        )?;
        wanted(file, scratch).context("it has moved on")
    }

    /// Downloads binary packages into `scratch`.
    fn download(&self, packages: &[&str], scratch: &Path) -> Result<()> {
        process::output(
            self.apt_get()
                .arg("download")
                .args(packages)
                .current_dir(scratch),
        )
        .map(|_| ())
    }
}

/// Binary packages of this machine's own release, unpacked side by side into the cache (not installed); the directory that holds `usr`.
/// Of the packages' own dependencies only those come along whose names begin with one of `follow`.
pub fn unpacked(cache: &Cache, name: &str, packages: &[&str], follow: &[&str]) -> Result<PathBuf> {
    let mirror = DebianMirror::of_this_machine()?;
    let inputs = Inputs::new()
        .value("release", &mirror.codename)
        .value("arch", std::env::consts::ARCH);
    let inputs = inputs
        .value("packages", packages.join(" "))
        .value("follow", follow.join(" "));
    let output = cache.step(&format!("debs-{name}"), inputs, false, |place| {
        let scratch = place.dir.join("debs");
        fs::create_dir_all(&scratch)?;
        let root = mirror.root(
            &cache.root().join("apt").join("binary"),
            &format!("deb {} main", mirror.codename),
        )?;
        place.bar.message(packages.join(" "));
        root.download(packages, &scratch)?;
        let mut further = BTreeSet::new();
        for deb in fs::read_dir(&scratch)? {
            let depends = process::output(
                Command::new("dpkg-deb")
                    .arg("-f")
                    .arg(deb?.path())
                    .arg("Depends"),
            )?;
            let names = depends
                .split([',', '|'])
                .filter_map(|item| item.split_whitespace().next());
            further.extend(
                names
                    .filter(|name| follow.iter().any(|prefix| name.starts_with(prefix)))
                    .map(str::to_owned),
            );
        }
        if !further.is_empty() {
            root.download(
                &further.iter().map(String::as_str).collect::<Vec<_>>(),
                &scratch,
            )?;
        }
        for deb in fs::read_dir(&scratch)? {
            process::logged(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(deb?.path())
                    .arg(place.dir),
                place.log,
            )?;
        }
        remove_tree(&scratch)
    })?;
    Ok(output.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_mirror_of_the_own_release() {
        let targets = "https://vendor.example/apt/|cloud-bookworm|main|\n\
                       http://security.example/debian-security/|bookworm-security|main|/k.gpg\n\
                       http://mirror.example/debian/|bookworm|main|/k.gpg\n";
        let mirror = DebianMirror::pick(targets, "bookworm").unwrap();
        assert_eq!(
            (mirror.uri.as_str(), mirror.signed_by.as_str()),
            ("http://mirror.example/debian/", "/k.gpg")
        );
        assert!(DebianMirror::pick(targets, "trixie").is_none());
    }
}
