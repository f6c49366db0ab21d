//! What a daemon answers: is it alive, what does it see, and a webhook that only makes it look sooner (H1). No page yet.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Notify;

use crate::run::controller::{Controller, now};
use crate::run::look::observe::{Look, observe};
use crate::run::look::published::{Published, SCHEMA};
use crate::run::secrets::{Purpose, Use, WEBHOOK};

/// The largest webhook that is read at all.
const BODY: usize = 1 << 20;

#[derive(Clone)]
struct Shared {
    controller: Arc<Controller>,
    nudge: Arc<Notify>,
}

/// Serves in the background. An address that cannot be had is an error at once.
pub async fn serve(address: &str, controller: Arc<Controller>, nudge: Arc<Notify>) -> Result<(), String> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}; is another soll running there?"))?;
    let app = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/observation", get(observation))
        .route("/webhook", post(webhook))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(Shared { controller, nudge });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the listener ended");
        }
    });
    Ok(())
}

/// What `plan --observation` reads.
async fn observation(State(shared): State<Shared>) -> Response {
    let controller = shared.controller.clone();
    // Whoever asks makes this controller look at its hosts: only as an accepted commit names them (law 11).
    let read = tokio::task::spawn_blocking(move || controller.standing()).await;
    let snapshot = match read {
        Ok(Ok(standing)) => standing.accepted,
        Ok(Err(error)) => return (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let names: Vec<_> = snapshot.desired.environments.keys().cloned().collect();
    let observed = observe(&shared.controller, &snapshot, &names, Look { health: true, drift: false }).await;
    Json(Published { schema: SCHEMA, commit: snapshot.commit.to_string(), at: now(), observed }).into_response()
}

/// A push happened. The payload is not read: it only triggers a look at the repository, and only when it is signed.
async fn webhook(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let purpose = Purpose { wanted: Use::Webhook, environment: None, url: None };
    let Ok(secret) = shared.controller.settings.secrets.get(WEBHOOK, &purpose) else { return StatusCode::NOT_FOUND };
    let signature = headers.get("x-hub-signature-256").or_else(|| headers.get("x-gitea-signature"));
    let Some(claimed) = signature.and_then(|value| value.to_str().ok()).and_then(unhex) else {
        return StatusCode::UNAUTHORIZED;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    mac.update(&body);
    if mac.verify_slice(&claimed).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    shared.nudge.notify_one();
    StatusCode::ACCEPTED
}

/// `sha256=…` or bare digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("sha256=").unwrap_or(text);
    digits.parse::<crate::model::ids::Digest>().ok().map(|digest| digest.as_bytes().to_vec())
}
