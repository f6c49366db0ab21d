//! What crosses a connection: hostile addresses, servers that do not answer, credentials.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use soll::state_repo::{AppRepo, RepoError};

use super::*;

#[test]
fn an_address_is_never_an_option_or_a_command() {
    let sandbox = Sandbox::new();
    let trap = sandbox.path("trap");
    let touch = format!("touch {}", trap.display());
    for bad in [
        format!("--upload-pack={touch}"),
        format!("-u{touch}"),
        format!("ext::sh -c '{touch}'"),
        format!("ssh://-oProxyCommand={touch}/x"),
        "x@-oProxyCommand=touch trap:x".to_owned(),
    ] {
        assert!(matches!(AppRepo::new(&bad, settings()), Err(RepoError::Grammar(_))), "{bad}");
    }
    let (bare, _) = sandbox.remote();
    for bad in [format!("--upload-pack={touch}"), "-x".to_owned()] {
        assert!(
            StateRepo::open(Location::parse(&file_url(&bare)).unwrap(), &bad, &sandbox.path("cache"), settings())
                .is_err()
        );
        let app = AppRepo::new(&file_url(&bare), settings()).unwrap();
        assert!(app.resolve_tag(&bad).is_err());
        assert!(app.branch_commits(&bad, &sandbox.path("cache"), 1).is_err());
        // Even a pattern that got past the grammars would only be a name.
        assert!(app.ls_remote(&[&bad]).unwrap().is_empty());
    }
    assert!(!trap.exists());
}

#[test]
fn a_server_that_never_answers_is_left_after_the_timeout_with_its_helpers() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://bob:hunter22@{}/x.git", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut said = Vec::new();
        // Ends when the helper that holds the connection is dead.
        connection.read_to_end(&mut said).map(|_| said)
    });
    let settings = GitSettings { timeout: Duration::from_millis(1500), ..GitSettings::default() };
    let location = Location::parse(&address).unwrap();
    let error = StateRepo::open(location, "main", &sandbox.path("cache"), settings).unwrap_err();
    assert!(matches!(error, RepoError::TimedOut { .. }) && error.is_transient(), "{error}");
    assert!(!error.to_string().contains("hunter22"), "{error}");
    let said = server.join().unwrap().expect("the connection was closed");
    assert!(said.starts_with(b"GET /x.git/info/refs"));
}

/// Answers every request with 401 until it carries a login, then with 403 and the login in the body.
fn guarded_server() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        loop {
            let (connection, _) = listener.accept().unwrap();
            let mut login = None;
            for line in BufReader::new(&connection).lines() {
                let line = line.unwrap();
                if line.is_empty() {
                    break;
                }
                if let Some(value) = line.strip_prefix("Authorization: Basic ") {
                    login = Some(value.to_owned());
                }
            }
            let head = "Connection: close\r\nContent-Type: text/plain\r\n";
            let answer = match &login {
                None => {
                    format!("HTTP/1.1 401 No\r\n{head}WWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
                }
                Some(_) => {
                    let body = "bob:hunter22 may not do this";
                    format!("HTTP/1.1 403 No\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())
                }
            };
            (&connection).write_all(answer.as_bytes()).unwrap();
            if let Some(login) = login {
                return login;
            }
        }
    });
    (host, server)
}

#[test]
fn credentials_reach_the_server_and_no_error() {
    let sandbox = Sandbox::new();
    let (host, server) = guarded_server();
    let address = format!("http://bob:hunter22@{host}/x.git");
    let error = sandbox.open(&address).unwrap_err();
    assert_eq!(server.join().unwrap(), "Ym9iOmh1bnRlcjIy");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("hunter22") && text.contains("git could not") | text.contains("Command"), "{text}");
    }
    // Nor is it written down.
    let mut left = vec![sandbox.path("cache")];
    while let Some(path) = left.pop() {
        match path.is_dir() {
            true => left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
            false => assert!(!String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("hunter22"), "{path:?}"),
        }
    }
}

#[test]
fn no_error_shows_credentials() {
    let sandbox = Sandbox::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://bob:hunter22@{closed}/x.git");
    let app = AppRepo::new(&address, settings()).unwrap();
    let cache = sandbox.path("cache");
    let sha = "f0959bafdeadbeeff0959bafdeadbeeff0959baf".parse().unwrap();
    for error in [
        sandbox.open(&address).unwrap_err(),
        app.resolve_tag("v1").unwrap_err(),
        app.branch_commits("main", &cache, 1).unwrap_err(),
        app.tree_of(&sha, &cache).unwrap_err(),
        Location::parse("https://bob:hunter22@/x").unwrap_err(),
        Location::parse("ftp://bob:hunter22@host/x").unwrap_err(),
        Location::parse("bob:hunter22@host:x").unwrap_err(),
    ] {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter22"), "{text}");
        assert!(!matches!(error, RepoError::Command { .. }) || text.contains(&closed.to_string()), "{text}");
    }
    assert!(!format!("{app:?}").contains("hunter22"));
    // Credentials that a user wrote into the configuration of a local repository.
    let seed = sandbox.work_tree("x");
    git(&seed, &["remote", "add", "origin", &address]);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let error = repo.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits(FILE, "x"))).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter22"), "{error}");
}
