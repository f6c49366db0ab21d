//! The login of an application, from its environment file: it stays on the host that has it.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::backup::dump::mysql::Login;
use crate::host::disk::{envfile, file};
use crate::host::wire::HostError;

/// What the first of these files that is there says.
pub fn of_env_file(files: &[PathBuf]) -> Result<Login, HostError> {
    let found = files.iter().find(|path| path.exists());
    let Some(path) = found.or(files.first()) else {
        return Err(HostError::Io("no file says how the database is reached".to_owned()));
    };
    let bytes = file::read(path, file::CONFIGURATION);
    let bytes = bytes.map_err(|error| HostError::Io(format!("cannot read {}: {error}", path.display())))?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    of_text(&text, path)
}

fn of_text(text: &str, path: &Path) -> Result<Login, HostError> {
    let value = |names: &[&str]| names.iter().find_map(|name| envfile::value(text, name));
    if let Some(url) = value(&["DATABASE_URL", "DB_URL"]).map(Zeroizing::new) {
        return of_url(&url).ok_or_else(|| {
            let why = "DATABASE_URL is none of mysql://user:password@host:port/database";
            HostError::Io(format!("{}: {why}", path.display()))
        });
    }
    let wanted = |name: &str, value: Option<String>| {
        value.ok_or_else(|| HostError::Io(format!("{} does not set {name}", path.display())))
    };
    let port = value(&["DB_PORT"]).map(|port| port.parse());
    let port = port.transpose();
    Ok(Login {
        host: value(&["DB_HOST"]),
        port: port.map_err(|_| HostError::Io(format!("{}: DB_PORT is no port", path.display())))?,
        socket: value(&["DB_SOCKET"]),
        user: wanted("DB_USERNAME", value(&["DB_USERNAME", "DB_USER"]))?,
        password: Zeroizing::new(value(&["DB_PASSWORD"]).unwrap_or_default()),
        database: wanted("DB_DATABASE", value(&["DB_DATABASE", "DB_NAME"]))?,
    })
}

fn of_url(url: &str) -> Option<Login> {
    let (scheme, rest) = url.split_once("://")?;
    if !["mysql", "mariadb", "mysql2"].contains(&scheme) {
        return None;
    }
    let (place, database) = rest.split_once('/')?;
    let database = database.split(['?', '#']).next().unwrap_or_default();
    let (login, place) = place.rsplit_once('@')?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
        _ => (place, None),
    };
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!database.is_empty() && !user.is_empty()).then(|| Login {
        host: (!host.is_empty()).then(|| host.to_owned()),
        port,
        socket: None,
        user: plain(user),
        password: Zeroizing::new(plain(password)),
        database: plain(database),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_is_read_as_the_application_reads_it() {
        let path = Path::new("/srv/app/shared/.env");
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
}
