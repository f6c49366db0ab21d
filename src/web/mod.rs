//! What a daemon answers: is it alive, what does it see, and a webhook that only makes it look sooner (H1). No page yet.

mod listen;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Notify;

use crate::run::controller::Controller;
use crate::run::look::published::{SIGNATURE, unarmored};
use crate::run::publish::Publisher;
use crate::run::secrets::{self, OBSERVATION, Purpose, Use, WEBHOOK};

/// The largest webhook that is read at all.
const BODY: usize = 1 << 20;

/// A webhook has arrived within this time, or does not count.
const ARRIVAL: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Shared {
    controller: Arc<Controller>,
    publisher: Arc<Publisher>,
    nudge: Arc<Notify>,
}

/// Serves in the background. An address that cannot be had, or a key that cannot sign, is an error at once.
pub async fn serve(address: &str, controller: Arc<Controller>, nudge: Arc<Notify>) -> Result<(), String> {
    let publisher = Publisher::open(&controller.settings).map_err(|error| error.to_string())?;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}; is another soll running there?"))?;
    let app = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/observation", get(observation))
        .route("/webhook", post(webhook))
        .with_state(Shared { controller, publisher: Arc::new(publisher), nudge });
    tokio::spawn(listen::listen(listener, app, listen::Limits::DAEMON));
    Ok(())
}

/// What `plan --observation` reads: what passes saw last. Whoever asks touches no host.
async fn observation(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let made = tokio::task::spawn_blocking(move || {
        if !may_read(&shared.controller.settings.secrets, &headers) {
            return Ok(Err(StatusCode::UNAUTHORIZED));
        }
        shared.publisher.publish(&shared.controller.board).map(Ok)
    });
    let published = match made.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(Ok(Some(published))) => published,
        Ok(Ok(None)) => {
            let why = "not every environment has been looked at yet: ask again in a moment\n";
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], why).into_response();
        }
        Ok(Err(status)) => return (status, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
        Err(error) => {
            tracing::warn!(error, "nothing can be published");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut answer = ([(CONTENT_TYPE, "application/json")], published.body.clone()).into_response();
    if let Some(signature) = published.signature.as_deref().and_then(|armor| unarmored(armor).parse().ok()) {
        answer.headers_mut().insert(SIGNATURE, signature);
    }
    answer
}

/// Whether whoever asks has the secret that is asked for, where one is. One that may not be used lets nobody in.
fn may_read(secrets: &secrets::Store, headers: &HeaderMap) -> bool {
    if !secrets.has(OBSERVATION) {
        return true;
    }
    let purpose = Purpose { wanted: Use::Observation, environment: None, url: None };
    let Ok(secret) = secrets.get(OBSERVATION, &purpose) else { return false };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let wanted = secret.expose().as_bytes();
    given.is_some_and(|given| aws_lc_rs::constant_time::verify_slices_are_equal(given, wanted).is_ok())
}

/// A push happened. The payload is not read: it only triggers a look at the repository, and only when it is signed.
async fn webhook(State(shared): State<Shared>, request: Request) -> StatusCode {
    let purpose = Purpose { wanted: Use::Webhook, environment: None, url: None };
    let Ok(secret) = shared.controller.settings.secrets.get(WEBHOOK, &purpose) else { return StatusCode::NOT_FOUND };
    let headers = request.headers();
    let signature = headers.get("x-hub-signature-256").or_else(|| headers.get("x-gitea-signature"));
    let Some(claimed) = signature.and_then(|value| value.to_str().ok()).and_then(unhex) else {
        return StatusCode::UNAUTHORIZED;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    match tokio::time::timeout(ARRIVAL, arrive(request.into_body(), &mut mac)).await {
        Ok(Ok(())) => {}
        Ok(Err(status)) => return status,
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
    }
    if mac.verify_slice(&claimed).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    shared.nudge.notify_one();
    StatusCode::ACCEPTED
}

/// Hears the bytes as they come, and keeps none: who is not known to be a friend yet costs no memory.
async fn arrive(body: Body, mac: &mut Hmac<Sha256>) -> Result<(), StatusCode> {
    let (mut body, mut length) = (body.into_data_stream(), 0);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|_| StatusCode::BAD_REQUEST)?;
        length += bytes.len();
        if length > BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        mac.update(&bytes);
    }
    Ok(())
}

/// `sha256=…` or bare digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("sha256=").unwrap_or(text);
    digits.parse::<crate::model::ids::Digest>().ok().map(|digest| digest.as_bytes().to_vec())
}
