//! The data directory: locked against a second process, made when it is missing.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{Durability, Options, binaries::Binaries, holder, owner::Owner};

/// A cluster that this process alone may start.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) owner: Owner,
    pub(super) binaries: Binaries,
    _lock: File,
}

impl Cluster {
    /// Takes the cluster below `options.root`, making it if it is missing, and waits until the
    /// server of a killed process has let go of it.
    pub(super) fn open(options: &Options) -> anyhow::Result<Self> {
        let owner = Owner::choose()?;
        owner.passable_dir(&options.root)?;
        let root = (options.root.canonicalize())
            .with_context(|| format!("cannot read {}", options.root.display()))?;
        owner.can_pass(&root)?;
        let lock = lock(&root)?;
        let data = root.join("data");
        let have = version(&data)?;
        let binaries = Binaries::choose(options.bindir.as_deref(), have)
            .with_context(|| format!("cannot start PostgreSQL in {}", root.display()))?;
        let cluster = Self {
            data,
            log: root.join("postgres.log"),
            owner,
            binaries,
            _lock: lock,
        };
        match have {
            None => cluster.init(&root, options.durability)?,
            Some(_) => holder::wait_until_free(&cluster.data)?,
        }
        Ok(cluster)
    }

    /// An empty directory for the socket. It is short because the path of a unix socket ends at
    /// about 100 bytes, and its name is the cluster's, so that no two clusters meet there.
    pub(super) fn socket_dir(&self) -> anyhow::Result<PathBuf> {
        let data = fs::metadata(&self.data)
            .with_context(|| format!("cannot read {}", self.data.display()))?;
        let dir = PathBuf::from(format!("/tmp/registrar-{:x}-{:x}", data.dev(), data.ino()));
        self.owner.private_dir(&dir)?;
        // What a killed server left: it serves this cluster alone, which nothing holds now.
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            fs::remove_file(entry.path()).ok();
        }
        Ok(dir)
    }

    fn init(&self, root: &Path, durability: Durability) -> anyhow::Result<()> {
        // Only a whole cluster ever has the name `data`.
        let unfinished = root.join("data.new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        self.owner.private_dir(&unfinished)?;
        let mut command = self.owner.command(&self.binaries.program("initdb"));
        command.arg("-D").arg(&unfinished);
        command.args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "--data-checksums",
        ]);
        command.args(["--auth-local=trust", "--auth-host=reject"]);
        if durability == Durability::Volatile {
            command.arg("--no-sync");
        }
        let output = command.output().context("cannot run initdb")?;
        if !output.status.success() {
            bail!(
                "initdb failed ({}): {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        self.compress_with_lz4(&unfinished)
            .context("cannot write postgresql.conf")?;
        fs::rename(&unfinished, &self.data)
            .with_context(|| format!("cannot rename {}", unfinished.display()))?;
        if durability != Durability::Volatile {
            // The name is as durable as what it names.
            File::open(root)
                .and_then(|dir| dir.sync_all())
                .with_context(|| format!("cannot sync {}", root.display()))?;
        }
        Ok(())
    }

    /// Has a new cluster compress columns with lz4, which is faster than the default, if the
    /// server was built with it. The server itself is asked, since not every package brings
    /// `pg_config`; it is asked once, since the answer stays.
    fn compress_with_lz4(&self, data: &Path) -> io::Result<()> {
        let mut command = self.owner.command(&self.binaries.program("postgres"));
        command.arg("-D").arg(data);
        command.args([
            "-c",
            "default_toast_compression=lz4",
            "-C",
            "default_toast_compression",
        ]);
        if command.output()?.status.success() {
            let mut file = File::options()
                .append(true)
                .open(data.join("postgresql.conf"))?;
            writeln!(file, "default_toast_compression = lz4")?;
            file.sync_all()?;
        }
        Ok(())
    }
}

/// Takes the lock of a directory; the system releases it when this process ends, in whatever way.
fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok();
            bail!(
                "{} is in use by process {}; stop that one, or give this one another directory",
                root.display(),
                pid.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(file)
}

/// The major version that wrote the cluster; `None` where there is no cluster yet.
fn version(data: &Path) -> anyhow::Result<Option<u32>> {
    if !data.exists() {
        return Ok(None);
    }
    let path = data.join("PG_VERSION");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{} is no PostgreSQL cluster; remove it, or use another directory",
            data.display()
        )
    })?;
    let major = text
        .trim()
        .parse()
        .with_context(|| format!("{} does not name a version of PostgreSQL", path.display()))?;
    Ok(Some(major))
}
