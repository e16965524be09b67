//! Asking a classifier in Python what a response comes to.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::classify::Class;
use crate::mail::{Answered, Outgoing};
use crate::plugin::{self, Advice};
use crate::router::Server;
use crate::wire::h1::{RequestHead, ResponseHead};

/// A request as its classifier will see it: taken before it is sent, since its head may be gone when the response is here.
pub(super) struct Asked<'a> {
    server: &'a Server,
    classifier: u32,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    peer: SocketAddr,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        server: &'a Server,
        classifier: u32,
        request: &RequestHead,
        bytes: &[u8],
        peer: SocketAddr,
    ) -> Self {
        Self {
            server,
            classifier,
            method: plugin::as_text(request.method_span.get(bytes)),
            target: plugin::as_text(request.target.get(bytes)),
            headers: plugin::fields_as_text(&request.headers, bytes),
            peer,
        }
    }

    /// Asks; gives nothing if the classifier fails, takes too long, or too many wait for their router's plugins.
    pub(super) async fn about(self, response: &ResponseHead, bytes: &[u8]) -> Option<Class> {
        let server = self.server;
        let class = self.ask(response, bytes).await;
        if class.is_none() {
            server.router.consultations.unclassified.fetch_add(1, Relaxed);
        }
        class
    }

    async fn ask(self, response: &ResponseHead, bytes: &[u8]) -> Option<Class> {
        let router = &self.server.router;
        let plan = router.plan.plugins.as_ref()?;
        let letter = |ticket| Outgoing::Consult {
            ticket,
            router: router.plan.label.clone(),
            method: self.method,
            target: self.target,
            headers: self.headers,
            peer: self.peer.to_string(),
            local: self.server.address.to_string(),
            answered: Some(Answered {
                classifier: self.classifier,
                status: response.status,
                headers: plugin::fields_as_text(&response.headers, bytes),
            }),
        };
        let mut waiting = router.consultations.ask(plan.max_waiting, letter)?;
        // Python has the same limit, and tells which plugin it was; this one is for a loop that stands still.
        let timeout = Duration::from_millis(plan.timeout_ms + 250);
        match tokio::time::timeout(timeout, &mut waiting.advice).await {
            Ok(Ok(Advice::Class { class })) => Some(class),
            _ => None,
        }
    }
}
