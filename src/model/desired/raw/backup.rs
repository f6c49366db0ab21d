//! Backups as they are written. No defaults are applied here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::fields::*;

/// What is saved of an environment, when, and where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The environment that it is of.
    #[schemars(example = &"production")]
    pub environment: Name,
    /// A line of cron, on the clocks of `zone`. Default: only before deployments and by hand.
    pub schedule: Option<Cron>,
    /// The IANA time zone of `schedule`, and of the dates that `keep` counts. Default: UTC.
    pub zone: Option<Zone>,
    /// A step `backup` before the migrations of every deployment; its failure stops the deployment. Default: false.
    pub pre_deploy: Option<bool>,
    /// How many are kept.
    pub keep: Option<Keep>,
    /// Fewer rows or bytes by so much than the last good backup: it is held, fills no slot, and is told. Default: 50%.
    pub max_shrink: Option<Percent>,
    /// How files are packed. Default: gzip.
    pub compress: Option<Packing>,
    /// Recipients of age (`age1…`): files are encrypted for each of them. Default: none.
    #[serde(default)]
    pub encrypt: Vec<AgeRecipient>,
    /// The name of a secret of the controller, with the use `backup`: the identity of age that opens these files where they
    /// are restored by soll. Default: none, and they are restored by hand alone.
    pub identity: Option<SecretName>,
    /// So fast each target is written to and read back from at most. Default: as fast as it goes.
    pub limit: Option<ByteRate>,
    /// The name of a secret of the controller, with the use `backup`: a URL that hears `/start`, success and `/fail` of what is
    /// made by the schedule.
    pub ping: Option<SecretName>,
    /// What is dumped. The first one has the plain name `backup-db-TIME.sql.gz`.
    #[serde(default)]
    pub databases: Vec<Database>,
    /// What is archived. The first one has the plain name `backup-app-TIME.tar.gz`.
    #[serde(default)]
    pub files: Vec<FileSet>,
    /// Where it goes.
    #[serde(default)]
    pub targets: Vec<BackupTarget>,
    /// A restore that is tried by itself, elsewhere.
    pub restore_test: Option<RestoreTest>,
}

/// How many backups of each kind are kept on a target.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The newest of so many days. Default: 7.
    #[schemars(range(min = 1, max = 1000), example = 7)]
    #[schemars(extend("x-why" = "the last good backup is always kept, and targets are finite"))]
    pub daily: Option<u32>,
    /// The newest of so many weeks. Default: 0.
    #[schemars(range(min = 0, max = 1000), example = 4)]
    pub weekly: Option<u32>,
    /// The newest of so many months. Default: 0.
    #[schemars(range(min = 0, max = 1000), example = 12)]
    pub monthly: Option<u32>,
    /// Those before the newest so many deployments. Default: 10.
    #[schemars(range(min = 1, max = 1000), example = 10)]
    pub pre_deploy: Option<u32>,
    /// On the server itself, in ROOT/backups. Default: 0, none is written there.
    #[schemars(range(min = 0, max = 100), example = 3)]
    pub local: Option<u32>,
}

/// How files are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Unpacked by every server.
    Gzip,
    /// Faster, and as small.
    Zstd,
}

/// What a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// MariaDB or MySQL.
    Mysql,
    /// PostgreSQL.
    Postgres,
    Sqlite,
}

/// A database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its name in the names of files and in restores.
    pub name: BackupPart,
    /// What it is.
    pub engine: Engine,
    /// The shared file with its login: DB_HOST, DB_PORT, DB_DATABASE, DB_USERNAME, DB_PASSWORD, or DATABASE_URL.
    pub from: Option<RelPath>,
    /// Where the server is, instead of `from`.
    pub host: Option<Line>,
    /// The server's port.
    #[schemars(range(min = 1, max = 65535), example = 3306)]
    pub port: Option<u16>,
    /// The server's socket; of PostgreSQL, the directory that it lies in.
    pub socket: Option<DataPath>,
    /// Who reads it.
    pub user: Option<Line>,
    /// The database's name.
    pub database: Option<Line>,
    /// The name of a secret of the controller, with the use `database`.
    pub password: Option<SecretName>,
    /// With `engine = "sqlite"`: the file, relative to ROOT, or absolute.
    pub path: Option<DataPath>,
    /// With `kind = "compose"`: inside this service, with the server's own client.
    pub service: Option<ServiceName>,
}

/// A directory, or a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSet {
    /// Its name in the names of files and in restores.
    pub name: BackupPart,
    /// Relative to ROOT, or absolute.
    pub path: DataPath,
    /// Globs, relative to `path`, of what is left out.
    #[serde(default)]
    pub exclude: Vec<Glob>,
}

/// Where backups go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupTarget {
    /// Its name in plans and lists.
    #[schemars(example = &"nas")]
    pub name: Name,
    /// `file:///directory`: one that is there already, such as a mounted disk. `sftp://user@host:port/directory`: one on a
    /// server, which the host logs in to with the SSH keys of its user, by the path that SFTP has for it. `s3://bucket/prefix`:
    /// in a bucket, with `access_key` and `secret_key`.
    pub url: BackupUrl,
    /// The key that the server must show, as in `known_hosts`. Default: what that file of the host says.
    #[schemars(example = &"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXjsc652ClvNsgaaEhpCBplgzYNDiBhPPrwYAxnivZe")]
    pub host_key: Option<HostKey>,
    /// With `s3://`: where the server is. Default: AWS.
    #[schemars(example = &"https://s3.example.com")]
    pub endpoint: Option<HttpUrl>,
    /// With `s3://`: the region. Default: us-east-1.
    #[schemars(example = &"eu-central-1")]
    pub region: Option<Line>,
    /// With `s3://`: the name of a secret of the controller, with the use `backup`, that holds the id of the key.
    #[schemars(example = &"S3_ACCESS_KEY")]
    pub access_key: Option<SecretName>,
    /// With `s3://`: the name of a secret of the controller, with the use `backup`, that holds the key itself.
    #[schemars(example = &"S3_SECRET_KEY")]
    pub secret_key: Option<SecretName>,
    /// Who writes there. Default: host.
    pub via: Option<Via>,
}

/// Who writes to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("x-not-yet" = { "controller": "targets that the controller writes to" }))]
pub enum Via {
    /// The host that has the data.
    Host,
}

/// A restore that is tried by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreTest {
    /// A line of cron, on the clocks of the job's `zone`. Default: by hand alone.
    pub schedule: Option<Cron>,
    /// The environment on whose first host it is tried. Default: the backup's own.
    #[schemars(example = &"staging")]
    pub on: Option<Name>,
    /// The login of a user that may touch scratch databases, and nothing else.
    pub database: Option<Scratch>,
    /// Questions that a good restore answers with anything but 0.
    #[serde(default)]
    pub queries: Vec<Line>,
}

/// Who makes scratch databases.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// The user.
    #[schemars(example = &"soll_scratch")]
    pub user: Line,
    /// The name of a secret of the controller, with the use `database`.
    pub password: SecretName,
    /// Where the server is. Default: where the file `from` of the tested environment says.
    pub host: Option<Line>,
    /// The server's port.
    #[schemars(range(min = 1, max = 65535), example = 3306)]
    pub port: Option<u16>,
    /// The server's socket.
    pub socket: Option<DataPath>,
}
