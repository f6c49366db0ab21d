//! Buckets on a real server of S3 that looks at signatures.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::FlockOperation;

use super::manners::noise;
use super::mariadb::holds;
use super::{JOB, world};
use crate::support::web::free_port;
use crate::support::world::{World, until};

/// The directory with the server and its environment of Python; it is made where that was not done yet.
fn place() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let soll = Path::new(env!("CARGO_BIN_EXE_soll"));
        let place = soll.ancestors().nth(2).expect("cargo's target directory").join("s3");
        let turn = File::create(place.with_extension("lock")).unwrap();
        rustix::fs::flock(&turn, FlockOperation::LockExclusive).unwrap();
        let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3")).arg(&place).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        place
    })
}

/// A server of this test's own, with a bucket `backups`. It looks at signatures from the first request of a backup on.
struct Server {
    child: Child,
    port: u16,
    /// The key that it takes.
    key: (String, String),
}

const SET_UP: &str = r#"
kw = dict(endpoint_url=END, region_name="us-east-1", aws_access_key_id="first", aws_secret_access_key="first")
iam = boto3.client("iam", **kw)
iam.create_user(UserName="soll")
key = iam.create_access_key(UserName="soll")["AccessKey"]
policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
iam.put_user_policy(UserName="soll", PolicyName="all", PolicyDocument=policy)
boto3.client("s3", **kw).create_bucket(Bucket="backups")
print(key["AccessKeyId"], key["SecretAccessKey"])
"#;

impl Server {
    fn start() -> Server {
        let port = free_port();
        let mut command = Command::new(place().join("venv/bin/python"));
        command.arg(place().join("server.py")).args(["-H", "127.0.0.1", "-p", &port.to_string()]).process_group(0);
        // So many requests are anybody's: those that make the key.
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", "4");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Server { child: command.spawn().unwrap(), port, key: (String::new(), String::new()) };
        until("the bucket's server answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let said = server.python(SET_UP);
        let (access, secret) = said.split_once(' ').unwrap();
        server.key = (access.to_owned(), secret.to_owned());
        server
    }

    fn python(&self, text: &str) -> String {
        let head = format!("import boto3\nEND = \"http://127.0.0.1:{}\"\n", self.port);
        let done =
            Command::new(place().join("venv/bin/python")).args(["-c", &format!("{head}{text}")]).output().unwrap();
        assert!(done.status.success(), "{text}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// The same with a client of its own key.
    fn with_bucket(&self, text: &str) -> String {
        let (access, secret) = &self.key;
        let client = format!(
            "s3 = boto3.client(\"s3\", endpoint_url=END, region_name=\"us-east-1\", aws_access_key_id=\"{access}\", \
             aws_secret_access_key=\"{secret}\")\n"
        );
        self.python(&format!("{client}{text}"))
    }

    fn names(&self) -> Vec<String> {
        let all = self
            .with_bucket("for o in s3.list_objects_v2(Bucket=\"backups\").get(\"Contents\", []): print(o[\"Key\"])");
        all.lines().map(str::to_owned).collect()
    }

    fn job(&self, prefix: &str) -> String {
        let target = format!(
            "url = \"s3://backups{prefix}\"\nendpoint = \"http://127.0.0.1:{}\"\naccess_key = \"S3_ACCESS\"\nsecret_key = \"S3_SECRET\"",
            self.port
        );
        JOB.replace("name = \"nas\"", "name = \"bucket\"").replace("url = \"file://$DIR/nas\"", &target)
    }

    fn world(&self, prefix: &str) -> World {
        let mut w = world(&self.job(prefix));
        w.set("SOLL_SECRET_S3_ACCESS", &self.key.0);
        w.set("SOLL_SECRET_S3_SECRET", &self.key.1);
        w
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_backup_in_a_bucket_is_written_verified_and_listed() {
    let server = Server::start();
    let mut w = server.world("/shop/production");
    w.soll("backup test").exits(0).says("good: open, write, list, read, remove");
    // More than one piece of an upload.
    fs::write(w.path("staging/shared/uploads/noise.bin"), noise(20_000_000)).unwrap();
    w.soll("backup now").exits(0).says("on bucket, read back").hides(&server.key.1);
    let names = server.names();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(names.contains(&"shop/production/RESTORE.txt".to_owned()), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("shop/production/manual/backup-")).count(), 5);
    let list = w.soll("backup list --output json").exits(0).json();
    assert_eq!((&list[0]["target"], &list[0]["verified"]), (&"bucket".into(), &true.into()));
    assert!(list[0]["bytes"].as_u64().unwrap() > 20_000_000);
    w.soll("backup verify").exits(0).says("whole");
    w.soll("backup prune").exits(0).says("keep");
    // One byte is another one there.
    let name = server.names().into_iter().find(|name| name.ends_with(".sql.gz")).unwrap();
    server.with_bucket(&format!(
        "body = bytearray(s3.get_object(Bucket=\"backups\", Key=\"{name}\")[\"Body\"].read()); body[20] ^= 1\n\
         s3.put_object(Bucket=\"backups\", Key=\"{name}\", Body=bytes(body))"
    ));
    w.soll("backup verify").exits(1).says("is not what was written");
    for dir in ["ctl", "staging/.soll", "state"] {
        assert!(!holds(&w.path(dir), &server.key.1), "the key lies in {dir}");
    }
    // A key that is none, and one that is not there: the target is left out, and says why.
    w.set("SOLL_SECRET_S3_SECRET", "wr0ng-planted");
    w.soll("backup test")
        .exits(1)
        .says("open failed")
        .says("SignatureDoesNotMatch")
        .hides("wr0ng-planted")
        .hides(&server.key.0);
    w.set("SOLL_SECRET_S3_SECRET", "");
    w.soll("backup now").exits(1).says("s3://backups/shop/production").says("the secret S3_SECRET");
    w.set("SOLL_SECRET_S3_SECRET", &server.key.1);
    w.edit("s3://backups/", "s3://another/");
    w.soll("backup test").exits(1).says("there is no such bucket");
}

/// Signatures are made over a name as it goes over the wire.
#[test]
fn a_prefix_with_a_blank_is_a_prefix() {
    let server = Server::start();
    let w = server.world("/Server Name (1) ä+b");
    w.soll("backup test").exits(0).says("good: open, write, list, read, remove");
    w.soll("backup now").exits(0).says("on bucket, read back");
    w.soll("backup verify").exits(0).says("whole");
    assert!(server.names().contains(&"Server Name (1) ä+b/RESTORE.txt".to_owned()), "{:?}", server.names());
}
