//! Finds the server's binaries: a directory counts only if it holds both `postgres` and `initdb`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// The oldest major version that our SQL is written for.
const OLDEST: u32 = 15;

/// Where packages put the binaries, as `<base>/<version>/bin`.
const USUAL_PLACES: [&str; 4] = [
    "/usr/lib/postgresql",                          // Debian, Ubuntu
    "/opt/homebrew/opt",                            // Homebrew on Apple silicon
    "/usr/local/opt",                               // Homebrew on Intel
    "/Applications/Postgres.app/Contents/Versions", // Postgres.app
];

/// A directory of server binaries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binaries {
    pub(super) major: u32,
    dir: PathBuf,
}

impl Binaries {
    /// The binaries for a cluster of the major version `have`, or for a new cluster.
    ///
    /// Fails, saying what to install, where there are none that fit.
    pub(super) fn choose(bindir: Option<&Path>, have: Option<u32>) -> anyhow::Result<Self> {
        let found = match bindir {
            Some(dir) => vec![Self::in_dir(dir).with_context(|| {
                format!("{} does not hold both postgres and initdb", dir.display())
            })?],
            None => Self::find(),
        };
        let fits = |it: &Binaries| have.map_or(it.major >= OLDEST, |have| it.major == have);
        if let Some(binaries) = found.iter().find(|it| fits(it)) {
            return Ok(binaries.clone());
        }
        let found = match &found[..] {
            [] => "none were found".to_owned(),
            some => format!(
                "found were only {}",
                some.iter()
                    .map(|it| format!("{} in {}", it.major, it.dir.display()))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        match have {
            Some(have) => bail!(
                "the data was written by PostgreSQL {have}, so the server binaries of version \
                 {have} are needed; {found}. Install that version, or use another data directory"
            ),
            None => bail!(
                "the server binaries of PostgreSQL {OLDEST} or newer are needed; {found}. Run \
                 script/bootstrap, install your system's PostgreSQL server package, or set \
                 REGISTRAR_DATABASE_URL to use a running server"
            ),
        }
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Every directory of binaries on this machine, the newest first.
    fn find() -> Vec<Self> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            dirs.push(String::from_utf8_lossy(&output.stdout).trim().into());
        }
        dirs.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        for base in USUAL_PLACES {
            dirs.extend(entries(Path::new(base)).map(|version| version.join("bin")));
        }
        // The packages of postgresql.org for Red Hat and its relatives: /usr/pgsql-16/bin.
        dirs.extend(
            entries(Path::new("/usr"))
                .filter(|dir| dir.to_string_lossy().starts_with("/usr/pgsql-"))
                .map(|dir| dir.join("bin")),
        );
        // Links lead to the same place, and asking it for its version takes 10 ms.
        let mut places: Vec<PathBuf> = dirs.iter().filter_map(|dir| resolved(dir)).collect();
        places.sort();
        places.dedup();
        let mut found: Vec<Self> = places.iter().filter_map(|dir| Self::in_dir(dir)).collect();
        found.sort_by(|a, b| b.cmp(a));
        found
    }

    fn in_dir(dir: &Path) -> Option<Self> {
        let dir = resolved(dir)?;
        let output = Command::new(dir.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { major, dir })
    }
}

/// Where a directory's `postgres` really is, if its `initdb` is there too. No relative path is
/// left, since the server starts in another directory.
fn resolved(dir: &Path) -> Option<PathBuf> {
    let real = dir
        .join("postgres")
        .canonicalize()
        .ok()?
        .parent()?
        .to_path_buf();
    let holds_both = |dir: &Path| dir.join("postgres").is_file() && dir.join("initdb").is_file();
    if holds_both(&real) {
        Some(real)
    } else {
        dir.canonicalize().ok().filter(|it| holds_both(it))
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// 15 of `postgres (PostgreSQL) 15.6 (Debian 15.6-0+deb12u1)`, 18 of `… 18beta1`.
fn major_of(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| {
        let digits = word
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(word.len());
        word[..digits].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_releases_and_betas() {
        let debian = "postgres (PostgreSQL) 15.6 (Debian 15.6-0+deb12u1)\n";
        assert_eq!(major_of(debian), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_of(""), None);
    }

    #[test]
    fn a_directory_without_binaries_is_refused_by_name() {
        let error = Binaries::choose(Some(Path::new("/")), None).unwrap_err();
        assert!(error.to_string().contains("/ does not hold"), "{error}");
    }

    #[test]
    fn data_of_another_version_asks_for_the_binaries_of_that_version() {
        let error = Binaries::choose(None, Some(9)).unwrap_err();
        assert!(
            error.to_string().contains("written by PostgreSQL 9"),
            "{error}"
        );
    }
}
