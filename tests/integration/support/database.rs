//! A database for each test: `let db = database().await;`.
//!
//! One server serves the whole binary; it starts with the first test that asks and ends with the
//! process. A test's database is a copy of a template that has the migrations, which takes a
//! third of the time of migrating it. `REGISTRAR_DATABASE_URL` (or `DATABASE_URL`) set means: use
//! that server, whose databases `registrar_test_*` are then left for its owner to drop.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::{Mutex, OnceLock, PoisonError},
};

use registrar::dev::postgres::{Durability, Options, Postgres};
use sha2::{Digest as _, Sha256};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The server, as a connection to a database in which nothing is kept.
static SERVER: OnceLock<PgConnectOptions> = OnceLock::new();

/// Owned apart from [`SERVER`], so that the end of the process can take it.
static PRIVATE: Mutex<Option<(Postgres, PathBuf)>> = Mutex::new(None);

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// Begins the name of the directory of a private server; the process id follows.
const PREFIX: &str = "registrar-test-";

/// A file system in memory, on Linux.
const SHARED_MEMORY: &str = "/dev/shm";

/// Twice what all tests together have been seen to take.
const ROOM: u64 = 8 << 30;

/// Allows a pool of ten to each of forty tests at a time.
const MAX_CONNECTIONS: &str = "400";

/// A database of one test, with the migrations applied.
#[derive(Debug)]
pub(crate) struct Database {
    /// Belongs to the runtime of the test that asked for it.
    pub(crate) pool: PgPool,
    pub(crate) options: PgConnectOptions,
}

impl Database {
    /// The address of the database, for a process that the test starts.
    pub(crate) fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }
}

impl Database {
    /// A copy as of now, which nobody may be connected to; this one is as before, but for its pool.
    pub(crate) async fn copy(&self) -> Self {
        self.pool.close().await;
        let server = SERVER.get().expect("it runs");
        let name = format!("registrar_test_{}", Uuid::new_v4().simple());
        let source = self.options.get_database().expect("its name");
        let mut maintenance = connect(server).await;
        let copy = format!("CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY");
        run(&mut maintenance, copy).await;
        let options = server.clone().database(&name);
        let pool = PgPoolOptions::new().connect_lazy_with(options.clone());
        Self { pool, options }
    }
}

/// A fresh database on the server of this binary.
pub(crate) async fn database() -> Database {
    let server = SERVER.get_or_init(server);
    let template = TEMPLATE.get_or_init(|| template(server)).await;
    let name = format!("registrar_test_{}", Uuid::new_v4().simple());
    let mut maintenance = connect(server).await;
    run(
        &mut maintenance,
        format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"),
    )
    .await;
    maintenance
        .close()
        .await
        .expect("close the connection that made the database");
    let options = server.clone().database(&name);
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .connect_lazy_with(options.clone());
    Database { pool, options }
}

fn server() -> PgConnectOptions {
    let given = env::var_os("REGISTRAR_DATABASE_URL").or_else(|| env::var_os("DATABASE_URL"));
    if let Some(url) = given.filter(|url| !url.is_empty()) {
        let url = url.to_str().expect("the address of the database is UTF-8");
        return PgConnectOptions::from_str(url).expect("the address of the database can be read");
    }
    sweep();
    let root = place().join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir(&root).expect("make the directory of the server");
    // The server may run as another user, who has to pass through.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).expect("open the directory");
    let postgres = Postgres::start(&Options {
        root: root.clone(),
        bindir: None,
        durability: Durability::Volatile,
        settings: vec![("max_connections".into(), MAX_CONNECTIONS.into())],
    })
    .unwrap_or_else(|error| panic!("the server of the tests does not start: {error:#}"));
    let options = postgres.connect_options("postgres");
    *PRIVATE.lock().unwrap_or_else(PoisonError::into_inner) = Some((postgres, root));
    // SAFETY: the handler is a plain function that does not unwind.
    unsafe { libc::atexit(end) };
    options
}

/// Where there is room for the databases of all tests: in memory if there is, since they are some
/// hundreds of copies of a template that live for seconds.
fn place() -> PathBuf {
    match room(SHARED_MEMORY) >= ROOM {
        true => SHARED_MEMORY.into(),
        false => env::temp_dir(),
    }
}

/// The bytes that are free in a directory; none where there is no such directory.
fn room(directory: &str) -> u64 {
    let path = std::ffi::CString::new(directory).expect("a path");
    // SAFETY: a plain struct of numbers, for which zeros are a value.
    let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both live through the call.
    match unsafe { libc::statvfs(path.as_ptr(), &raw mut about) } {
        0 => about.f_bavail * about.f_frsize,
        _ => 0,
    }
}

/// Stops the server and removes its directory. Runs when the test binary returns or exits; when
/// it is killed the server ends by itself and [`sweep`] removes the directory another time.
extern "C" fn end() {
    let private = PRIVATE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some((postgres, root)) = private {
        drop(postgres);
        fs::remove_dir_all(root).ok();
    }
}

/// Removes what killed test binaries left.
fn sweep() {
    let places = [PathBuf::from(SHARED_MEMORY), env::temp_dir()];
    for entry in places.iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        // Two signs, since another container may share the directory and not the process ids.
        if !is_alive(pid) && !is_locked(&entry.path().join("lock")) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn is_alive(pid: &str) -> bool {
    let Ok(pid) = pid.parse::<libc::pid_t>() else {
        return true;
    };
    // SAFETY: signal 0 only asks whether the process is there.
    let code = unsafe { libc::kill(pid, 0) };
    code == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

fn is_locked(lock: &Path) -> bool {
    fs::File::open(lock).is_ok_and(|file| file.try_lock().is_err())
}

/// The name of the database that tests copy, made if the server does not have it yet.
async fn template(server: &PgConnectOptions) -> String {
    let mut hash = Sha256::new();
    for migration in MIGRATOR.iter() {
        hash.update(migration.version.to_be_bytes());
        hash.update(&migration.checksum);
    }
    let hash = hex::encode(&hash.finalize()[..8]);
    let name = format!("registrar_template_{hash}");
    let mut maintenance = connect(server).await;
    // Other test binaries may want the same one of the same server.
    run(
        &mut maintenance,
        "SELECT pg_advisory_lock(hashtext('registrar_template'))".into(),
    )
    .await;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut maintenance)
            .await
            .expect("look for the template");
    if !exists {
        // Only a whole template has the name.
        let unfinished = format!("{name}_unfinished");
        run(
            &mut maintenance,
            format!("DROP DATABASE IF EXISTS {unfinished}"),
        )
        .await;
        run(&mut maintenance, format!("CREATE DATABASE {unfinished}")).await;
        let mut inside = connect(&server.clone().database(&unfinished)).await;
        MIGRATOR
            .run(&mut inside)
            .await
            .expect("apply the migrations");
        inside
            .close()
            .await
            .expect("close the connection that migrated");
        run(
            &mut maintenance,
            format!("ALTER DATABASE {unfinished} RENAME TO {name}"),
        )
        .await;
    }
    maintenance
        .close()
        .await
        .expect("close the connection that made the template");
    name
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options)
        .await
        .expect("connect to the server of the tests")
}

async fn run(connection: &mut PgConnection, sql: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(connection)
        .await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(database(), database());
    sqlx::raw_sql("CREATE TABLE mine ()")
        .execute(&one.pool)
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE mine ()")
        .execute(&other.pool)
        .await
        .unwrap();
    assert_ne!(one.url(), other.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_database_leads_to_it() {
    let db = database().await;
    let mut connection = PgConnection::connect(&db.url()).await.unwrap();
    let by_url: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let by_pool: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(by_url, by_pool);
}
