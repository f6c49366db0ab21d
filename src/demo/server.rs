//! The web server of one environment. It knows nothing of releases: like nginx it opens `ROOT/current/…` at every request,
//! so that what it answers is what the link says at that moment.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves `root/current` in the background until the program ends.
pub fn serve(listener: TcpListener, root: &Path, environment: &'static str) {
    let current: Arc<Path> = root.join("current").into();
    let app = Router::new().route("/health", get(health)).fallback(get(page)).with_state(current);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, environment, "the web server ended");
        }
    });
}

/// On `127.0.0.1`, at this port or a free one.
pub async fn bind(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))
}

/// The release speaks for itself: `health.txt` holds a status and what to say.
async fn health(State(current): State<Arc<Path>>) -> Response {
    let Ok(text) = tokio::fs::read_to_string(current.join("health.txt")).await else { return nothing() };
    let status = text.split_whitespace().next().and_then(|word| word.parse().ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, text).into_response()
}

async fn page(State(current): State<Arc<Path>>, uri: Uri) -> Response {
    let Some(path) = below(uri.path()) else { return (StatusCode::NOT_FOUND, "no such page\n").into_response() };
    let path = current.join("public").join(path);
    match tokio::fs::read(&path).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind(&path))], bytes).into_response(),
        Err(_) if tokio::fs::metadata(current).await.is_err() => nothing(),
        Err(_) => (StatusCode::NOT_FOUND, "no such page\n").into_response(),
    }
}

fn nothing() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "nothing is deployed here yet\n").into_response()
}

/// A path that cannot leave the directory: plain names only.
fn below(path: &str) -> Option<PathBuf> {
    let path = path.trim_start_matches('/');
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| path.to_owned())
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_is_served() {
        assert_eq!(below("/"), Some("index.html".into()));
        assert_eq!(below("//css/style.css"), Some("css/style.css".into()));
        for outside in ["/../health.txt", "/a/../../x", "/.."] {
            assert_eq!(below(outside), None, "{outside}");
        }
    }
}
