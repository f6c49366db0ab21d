//! The programs of one server in one directory, with sockets of their own, and releases of the application.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::support::web::{free_port, get};
use crate::support::world::{Ran, World, until};

/// What a stranger writes, but for what needs systemd: the two reloads are asked of the processes themselves. `@` is the
/// release, `#` and `%` what a test adds to the application and to the environment.
const STATE: &str = r#"schema = 1

[apps.api]
recipe = "laravel"
bundle = { url = "bundles/deployment-bundle-{sha}.tar.gz" }
required_env = ["APP_KEY", "DB_PASSWORD"]
#
[[apps.api.gates]]
file = "public/build/manifest.json"

[[apps.api.hooks]]
name = "reload-php-fpm"
phase = "post-switch"
run = "kill -USR2 $(cat $DIR/run/fpm.pid)"
reload = true
[[apps.api.hooks]]
name = "reload-nginx"
phase = "post-switch"
run = "kill -HUP $(cat $DIR/run/nginx.pid)"
reload = true
[[apps.api.hooks]]
name = "rollback-reload-php-fpm"
phase = "rollback"
run = "kill -USR2 $(cat $DIR/run/fpm.pid)"
reload = true
[[apps.api.hooks]]
name = "rollback-reload-nginx"
phase = "rollback"
run = "kill -HUP $(cat $DIR/run/nginx.pid)"
reload = true

[apps.api.health]
grace = "300ms"
attempts = 3
interval = "200ms"
[[apps.api.health.checks]]
name = "release"
http = "http://127.0.0.1:$PORT/"
body = "{sha}"
[[apps.api.health.checks]]
name = "database"
http = "http://127.0.0.1:$PORT/health"
body = "ok"
[[apps.api.health.checks]]
name = "assets"
assets = { manifest = "public/build/manifest.json", base_url = "http://127.0.0.1:$PORT/build/" }

[environments.production]
release = "@"
root = "$DIR/production"
%
"#;

const NGINX: &str = "user root;\npid $DIR/run/nginx.pid;\nerror_log $DIR/run/nginx.log;\nworker_processes 2;\n\
    events { worker_connections 256; }\nhttp {\n  access_log off;\n  include /etc/nginx/mime.types;\n\
    client_body_temp_path $DIR/run/body;\n  fastcgi_temp_path $DIR/run/fastcgi;\n  proxy_temp_path $DIR/run/proxy;\n\
    scgi_temp_path $DIR/run/scgi;\n  uwsgi_temp_path $DIR/run/uwsgi;\n\
    server {\n    listen 127.0.0.1:$PORT;\n    root $DIR/production/current/public;\n\
    location / { try_files $uri /index.php?$query_string; }\n\
    location ~ \\.php$ {\n      include /etc/nginx/fastcgi_params;\n      fastcgi_pass unix:$DIR/run/fpm.sock;\n\
    fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;\n\
    fastcgi_param DOCUMENT_ROOT $realpath_root;\n    }\n  }\n}\n";

/// A reload ends no request: those under way have ten seconds.
const FPM: &str = "[global]\npid = $DIR/run/fpm.pid\nerror_log = $DIR/run/fpm.log\nprocess_control_timeout = 10s\n\
    [www]\nlisten = $DIR/run/fpm.sock\nlisten.backlog = 511\npm = static\npm.max_children = 4\ncatch_workers_output = yes\n";

const ENVIRONMENT: &str = "APP_KEY=base64:c29tZSBrZXk=\nDB_SOCKET=$DIR/run/db.sock\nDB_DATABASE=api\nDB_USERNAME=api\n\
    DB_PASSWORD=correct-horse-battery\nREDIS_SOCKET=$DIR/run/redis.sock\n";

pub struct Stack {
    pub world: World,
    pub port: u16,
    /// What is added to the application in the state file.
    pub more: String,
    /// The same of the environment.
    pub more_of_env: String,
    children: Vec<Child>,
    releases: u32,
}

impl Stack {
    /// Everything runs; nothing is deployed.
    pub fn start() -> Stack {
        Stack::behind(NGINX)
    }

    /// The same, with an nginx that names the link to PHP where it should name the release.
    pub fn mistaken() -> Stack {
        Stack::behind(&NGINX.replace("$realpath_root", "$document_root"))
    }

    fn behind(nginx: &str) -> Stack {
        let world = World::new();
        let (more, more_of_env) = (String::new(), String::new());
        let mut stack = Stack { world, port: free_port(), more, more_of_env, children: Vec::new(), releases: 0 };
        stack.put("run/nginx.conf", nginx);
        stack.put("run/fpm.conf", FPM);
        stack.put("production/shared/.env/production.env", ENVIRONMENT);
        stack.database();
        stack.spawn("redis", "redis-server --port 0 --unixsocket $DIR/run/redis.sock --save '' --dir $DIR/run");
        stack.spawn(
            "fpm",
            "/usr/sbin/php-fpm8.2 -F -R -y $DIR/run/fpm.conf -d opcache.enable=1 -d opcache.validate_timestamps=0",
        );
        stack.spawn("nginx", "/usr/sbin/nginx -e $DIR/run/nginx.log -c $DIR/run/nginx.conf -g 'daemon off;'");
        for socket in ["redis.sock", "fpm.sock", "fpm.pid", "nginx.pid"] {
            until(&format!("{socket} is there"), || stack.world.path(&format!("run/{socket}")).exists().then_some(()));
        }
        stack
    }

    fn database(&mut self) {
        // A directory of its own: a server that starts removes what it takes for its temporary tables in a shared one.
        std::fs::create_dir(self.world.path("db-tmp")).unwrap();
        let data = "--datadir=$DIR/db --tmpdir=$DIR/db-tmp --innodb-log-file-size=8M --user=root";
        self.sh(&format!(
            "mariadb-install-db --no-defaults {data} --auth-root-authentication-method=normal --skip-test-db"
        ));
        self.spawn(
            "db",
            &format!(
                "mariadbd --no-defaults {data} --skip-networking --socket=$DIR/run/db.sock --pid-file=$DIR/run/db.pid \
                 --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=16M"
            ),
        );
        until("the database answers", || {
            let ping = self.world.fill("mariadb-admin --no-defaults --socket=$DIR/run/db.sock ping");
            self.world.program("sh").args(["-c", &ping]).output().unwrap().status.success().then_some(())
        });
        self.sql(
            "CREATE DATABASE api; CREATE USER api@localhost IDENTIFIED BY 'correct-horse-battery'; \
             GRANT ALL ON api.* TO api@localhost",
        );
    }

    /// Runs SQL as root; gives the rows.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        self.sh(&format!("mariadb --no-defaults -N --socket=$DIR/run/db.sock -e \"{text}\""))
    }

    /// One command of Redis; gives the lines of its answer.
    #[track_caller]
    pub fn redis(&self, words: &str) -> String {
        self.sh(&format!("redis-cli -s $DIR/run/redis.sock {words}"))
    }

    /// Runs a script that must do.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let script = self.fill(script);
        let mut command = self.world.program("sh");
        let done = command.args(["-ec", &script]).current_dir(self.world.path("")).output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// Starts a program of this server in a process group of its own; it ends with the test.
    pub fn spawn(&mut self, name: &str, line: &str) {
        let log = fs::File::create(self.world.path(&format!("run/{name}.out"))).unwrap();
        let mut command = self.world.program("sh");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(self.world.path(""));
        command.args(["-c", &self.fill(&format!("exec {line}"))]).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.children.push(command.spawn().unwrap());
    }

    /// Queue workers as a supervisor keeps them: one that ends is started again, with what `current` leads to.
    pub fn supervise(&mut self) {
        self.spawn(
            "worker",
            "sh -c 'while :; do cd $DIR/production/current 2>/dev/null && php artisan queue:work; sleep 0.1; done'",
        );
    }

    fn fill(&self, text: &str) -> String {
        self.world.fill(text).replace("$PORT", &self.port.to_string())
    }

    /// A file of this server.
    pub fn put(&self, name: &str, text: &str) {
        self.world.write(name, &self.fill(text));
    }

    /// A new release of the application, with files that differ; without text, one that is left out. Gives its commit.
    pub fn release(&mut self, files: &[(&str, Option<&str>)]) -> String {
        self.releases += 1;
        let sha = format!("{:08x}", self.releases).repeat(5);
        let dir = format!("build/{}", self.releases);
        application(&self.world.path(&dir), &sha, files);
        self.world.soll(&format!("bundle $DIR/{dir} --sha {sha} --out $DIR/state/bundles")).exits(0);
        sha
    }

    /// Commits a state file with this release.
    pub fn desire(&self, sha: &str) {
        self.world
            .commit(&self.fill(&STATE.replace('#', &self.more).replace('%', &self.more_of_env).replace('@', sha)));
    }

    /// Deploys it, or returns to it.
    #[track_caller]
    pub fn deploy(&self, sha: &str) -> Ran {
        self.desire(sha);
        self.world.soll("apply production")
    }

    /// What the public URL says; nothing where it is no 200.
    pub fn page(&self, path: &str) -> Option<String> {
        get(&format!("127.0.0.1:{}", self.port), path)
    }

    /// The commit that the public URL shows.
    pub fn shows(&self) -> String {
        self.page("/").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
    }
}

/// The application's files at this commit.
pub fn application(into: &Path, sha: &str, files: &[(&str, Option<&str>)]) {
    let _ = fs::remove_dir_all(into);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/laravel"), into, sha);
    for (name, text) in files {
        let path = into.join(name.replace("@sha8@", &sha[..8]));
        match text {
            Some(text) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("@sha@", sha)).unwrap();
            }
            None => fs::remove_file(path).unwrap(),
        }
    }
}

/// Built for a commit: its id stands in what is compiled, and assets have names of their own.
fn copy(from: &Path, into: &Path, sha: &str) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().replace("app.js", &format!("app-{}.js", &sha[..8]));
        let to: PathBuf = into.join(name.replace("app.css", &format!("app-{}.css", &sha[..8])));
        if entry.path().is_dir() {
            copy(&entry.path(), &to, sha);
        } else {
            let text = fs::read_to_string(entry.path()).unwrap();
            fs::write(&to, text.replace("@sha@", sha).replace("@sha8@", &sha[..8])).unwrap();
        }
    }
}

fn end(mut child: Child) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = kill_process(group, Signal::KILL);
    }
    let _ = child.wait();
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.children.drain(..).rev().for_each(end);
    }
}
