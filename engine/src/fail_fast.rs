//! `failFast`: an endpoint that cannot be connected to is left alone, and connections of our own find out when it is back.
//!
//! It is closed at the first failure, where failure accrual waits for several, and no request is risked on it: after a wait that
//! grows from 1 s to 32 s a connection is tried and closed again. One task for each such endpoint, on the worker that found it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::{Endpoint, connect};
use crate::mail::{Level, Outbox};
use crate::resolve::Client;
use crate::worker::Worker;

/// Takes note that an endpoint could not be connected to. Does nothing if it is closed already.
pub fn connect_failed(worker: &Worker, client: &Arc<Client>, endpoint: &Arc<Endpoint>) {
    let now_us = worker.now_us();
    let Some(wait_ms) = endpoint.break_down(now_us, &mut worker.random.borrow_mut()) else {
        return;
    };
    let message = format!(
        "FailFastFactory: marking connection to \"{}\" as dead. Remote Address: {}",
        client.id.trim_start_matches('/'),
        endpoint.text
    );
    worker.outbox.note(Level::Info, "endpoint", message);
    tokio::task::spawn_local(watch(
        client.clone(),
        endpoint.clone(),
        worker.outbox.clone(),
        now_us,
        wait_ms,
    ));
}

/// Connects until that succeeds, or a request did, or the endpoint is in no set any more.
async fn watch(client: Arc<Client>, endpoint: Arc<Endpoint>, outbox: Arc<Outbox>, began_us: u64, mut wait_ms: u64) {
    let began = Instant::now();
    let mut rng = fastrand::Rng::new();
    loop {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        if !endpoint.accrual().is_down() {
            return;
        }
        let connects = try_to_connect(&client, &endpoint, &outbox).await;
        let now_us = began_us + began.elapsed().as_micros() as u64;
        if connects {
            if endpoint.mend(now_us) {
                let message = format!("endpoint {} of {} can be connected to again", endpoint.text, client.id);
                outbox.note(Level::Info, "endpoint", message);
            }
            return;
        }
        match endpoint.accrual().still_down(now_us / 1000, &mut rng) {
            Some(next_ms) => wait_ms = next_ms,
            None => return,
        }
    }
}

async fn try_to_connect(client: &Client, endpoint: &Endpoint, outbox: &Outbox) -> bool {
    let policy = &client.policy;
    let timeout_ms = policy.connect_timeout_ms;
    let Ok(stream) = connect::connect(endpoint.address, timeout_ms, &policy.socket).await else {
        return false;
    };
    match &client.tls {
        None => true,
        Some(tls) => connect::encrypt(stream, tls, timeout_ms, outbox).await.is_ok(),
    }
}
