//! The login of an application, from its environment file: it stays on the host that has it.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::backup::dump::{Login, Tls};
use crate::host::disk::{envfile, file};
use crate::host::wire::HostError;
use crate::model::backup::manifest::Engine;

/// What the first of these files that is there says.
pub fn of_env_file(engine: Engine, files: &[PathBuf]) -> Result<Login, HostError> {
    let found = files.iter().find(|path| path.exists());
    let Some(path) = found.or(files.first()) else {
        return Err(HostError::Io("no file says how the database is reached".to_owned()));
    };
    let bytes = file::read(path, file::CONFIGURATION);
    let bytes = bytes.map_err(|error| HostError::Io(format!("cannot read {}: {error}", path.display())))?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    of_text(engine, &text, path)
}

/// What an application calls the engine of its database (`DB_CONNECTION`), and how addresses of one begin.
fn words(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Mysql => &["mysql", "mariadb", "mysql2"],
        Engine::Postgres => &["pgsql", "postgres", "postgresql"],
        Engine::Sqlite => &["sqlite"],
    }
}

fn of_text(engine: Engine, text: &str, path: &Path) -> Result<Login, HostError> {
    let value =
        |names: &[&str]| names.iter().filter(|name| !name.is_empty()).find_map(|name| envfile::value(text, name));
    let own = words(engine);
    let others = [Engine::Mysql, Engine::Postgres, Engine::Sqlite].into_iter().filter(|other| *other != engine);
    // A connection may have any name; only that of another engine is a contradiction.
    if let Some(connection) = value(&["DB_CONNECTION"])
        && let Some(other) = others.into_iter().find(|other| words(*other).contains(&connection.as_str()))
    {
        let (declared, said) = (word(engine), word(other));
        return Err(HostError::Io(format!(
            "{} says DB_CONNECTION={connection}, and the backup is declared with `engine = \"{declared}\"`: declare `engine = \
             \"{said}\"`",
            path.display()
        )));
    }
    if let Some(url) = value(&["DATABASE_URL", "DB_URL"]).map(Zeroizing::new) {
        return of_url(own, &url).ok_or_else(|| {
            let why = format!(
                "DATABASE_URL is none of {}://user:password@host:port/database",
                own[0].replace("pgsql", "postgres")
            );
            HostError::Io(format!("{}: {why}", path.display()))
        });
    }
    // The names that libpq itself reads are meant by those who use PostgreSQL alone.
    let (is_pg, nothing) = (engine == Engine::Postgres, "");
    let pg = |name: &'static str| if is_pg { name } else { nothing };
    let wanted = |name: &str, value: Option<String>| {
        value.ok_or_else(|| HostError::Io(format!("{} does not set {name}", path.display())))
    };
    let port = value(&["DB_PORT", pg("PGPORT")]).map(|port| port.parse());
    let port = port.transpose();
    Ok(Login {
        inside: None,
        host: value(&["DB_HOST", pg("PGHOST")]),
        port: port.map_err(|_| HostError::Io(format!("{}: DB_PORT is no port", path.display())))?,
        socket: value(&["DB_SOCKET"]),
        user: wanted("DB_USERNAME", value(&["DB_USERNAME", "DB_USER", pg("PGUSER")]))?,
        password: Zeroizing::new(value(&["DB_PASSWORD", pg("PGPASSWORD")]).unwrap_or_default()),
        database: wanted("DB_DATABASE", value(&["DB_DATABASE", "DB_NAME", pg("PGDATABASE")]))?,
        tls: Tls {
            mode: value(&["DB_SSLMODE", pg("PGSSLMODE")]),
            root: value(&["DB_SSLROOTCERT", pg("PGSSLROOTCERT")]),
        },
    })
}

/// As the state file says it.
fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::Mysql => "mysql",
        Engine::Postgres => "postgres",
        Engine::Sqlite => "sqlite",
    }
}

fn of_url(schemes: &[&str], url: &str) -> Option<Login> {
    let (scheme, rest) = url.split_once("://")?;
    if !schemes.contains(&scheme) {
        return None;
    }
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (place, path) = rest.split_once('/')?;
    let path = path.split('#').next().unwrap_or_default();
    let (database, query) = path.split_once('?').unwrap_or((path, ""));
    let asked = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| plain(value)).next()
    };
    let (login, place) = place.rsplit_once('@')?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
        _ => (place, None),
    };
    let host = plain(host.trim_start_matches('[').trim_end_matches(']'));
    (!database.is_empty() && !user.is_empty()).then(|| Login {
        inside: None,
        // In libpq's addresses the directory of a socket stands behind: `?host=/run/postgresql`.
        host: if host.is_empty() { asked("host") } else { Some(host) },
        port,
        socket: asked("unix_socket"),
        user: plain(user),
        password: Zeroizing::new(plain(password)),
        database: plain(database),
        tls: Tls { mode: asked("sslmode"), root: asked("sslrootcert") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_is_read_as_the_application_reads_it() {
        let path = Path::new("/srv/app/shared/.env");
        let of_text = |text: &str, path: &Path| of_text(Engine::Mysql, text, path);
        let login = of_text(
            "DB_HOST=127.0.0.1\nDB_PORT=3307\nDB_DATABASE=shop\nDB_USERNAME=app\nDB_PASSWORD=\"a#b c\"\n",
            path,
        );
        let login = login.unwrap();
        assert_eq!((login.host.as_deref(), login.port), (Some("127.0.0.1"), Some(3307)));
        assert_eq!((login.user.as_str(), login.password.as_str(), login.database.as_str()), ("app", "a#b c", "shop"));
        let login = of_text("DATABASE_URL=mysql://a%40b:p%2Fw:d@db.example.com:3308/shop?charset=utf8", path).unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str(), login.port), ("a@b", "p/w:d", Some(3308)));
        assert_eq!((login.host.as_deref(), login.database.as_str()), (Some("db.example.com"), "shop"));
        let error = of_text("DB_HOST=x\nDB_PASSWORD=hunter2\n", path).err().unwrap().to_string();
        assert!(error.contains("/srv/app/shared/.env does not set DB_USERNAME") && !error.contains("hunter2"));
        assert!(
            of_text("DATABASE_URL=redis://hunter2@x/0", path)
                .is_err_and(|error| !error.to_string().contains("hunter2"))
        );
    }

    #[test]
    fn a_login_of_postgresql_is_read_as_libpq_reads_it() {
        let path = Path::new("/srv/app/shared/.env");
        let of = |text: &str| of_text(Engine::Postgres, text, path);
        let login =
            of("DB_CONNECTION=pgsql\nDB_HOST=127.0.0.1\nDB_DATABASE=shop\nDB_USERNAME=app\nDB_PASSWORD=x\n").unwrap();
        assert_eq!((login.host.as_deref(), login.port, login.tls), (Some("127.0.0.1"), None, Tls::default()));
        let login =
            of("DATABASE_URL=postgresql://app:p%3Aw@%2Frun%2Fpostgresql:5433/shop?sslmode=verify-full").unwrap();
        assert_eq!((login.host.as_deref(), login.port), (Some("/run/postgresql"), Some(5433)));
        assert_eq!((login.password.as_str(), login.tls.mode.as_deref()), ("p:w", Some("verify-full")));
        let login = of("DATABASE_URL=postgres://app@/shop?host=/run/postgresql").unwrap();
        assert_eq!(login.host.as_deref(), Some("/run/postgresql"));
        let login = of("PGUSER=app\nPGDATABASE=shop\nPGPASSWORD=y\nPGSSLMODE=require\n").unwrap();
        assert_eq!((login.password.as_str(), login.tls.mode.as_deref()), ("y", Some("require")));
        let error = of("DB_CONNECTION=mysql\nDB_DATABASE=shop\nDB_USERNAME=app\n").err().unwrap().to_string();
        assert!(error.contains("DB_CONNECTION=mysql") && error.contains("`engine = \"mysql\"`"), "{error}");
        assert!(
            of("DATABASE_URL=mysql://app:hunter2@x/shop").is_err_and(|error| !error.to_string().contains("hunter2"))
        );
    }
}
