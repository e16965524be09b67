//! A request that cannot be served: in which room it failed, and what the caller is told.
//!
//! The texts are those of reference/linker.md §3.10, since people and programs read them.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The step of the road that failed: the text of logs and the label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Server,
    Identification,
    Binding,
    Resolution,
    Balancing,
    Endpoint,
}

impl Room {
    /// Its name, as logs and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Identification => "identification",
            Self::Binding => "binding",
            Self::Resolution => "resolution",
            Self::Balancing => "balancing",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Why a request could not be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub room: Room,
    /// The HTTP status that tells it.
    pub status: u16,
    /// The body, and in one line the `l5d-err` header.
    pub message: String,
    pub cause: Cause,
    /// After so many seconds the same request would be taken.
    pub retry_after_s: Option<u64>,
    /// The caller may send the request again: nobody has acted on it.
    pub retryable: bool,
}

/// What kind of thing went wrong: the metric `failures/<cause>`, named as Linkerd's dashboards know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The request itself is at fault.
    BadRequest,
    /// No identifier knew what it asks for.
    Unidentified,
    /// Nothing is bound, or nothing is there.
    NoBrokers,
    /// Binding failed or took too long.
    Binding,
    /// No connection could be made.
    ConnectFailed,
    /// The endpoint closed or reset the connection.
    ChannelClosed,
    /// The endpoint said something that is not HTTP.
    BadResponse,
    /// A timeout of one attempt.
    AttemptTimeout,
    /// A timeout of the whole request.
    TotalTimeout,
    /// Too many requests at once.
    Rejected,
    /// Too many requests in too short a time.
    RateLimited,
    /// A plugin in Python failed.
    Plugin,
    /// The caller went away.
    Cancelled,
}

impl Failure {
    fn new(room: Room, status: u16, cause: Cause, message: impl Into<String>) -> Self {
        Self {
            room,
            status,
            message: message.into(),
            retryable: cause == Cause::Rejected,
            cause,
            retry_after_s: None,
        }
    }

    /// No identifier knew the request.
    pub fn unidentified(method: &str, target: &str, peer: SocketAddr, reason: &str) -> Self {
        let target = target.split('?').next().unwrap_or(target);
        let message = format!("Unknown destination: Request(\"{method} {target}\", from /{peer}) / {reason}");
        Self::new(Room::Identification, 400, Cause::Unidentified, message)
    }

    /// No identifier knew the connection.
    pub fn unidentified_connection(peer: SocketAddr, reason: &str) -> Self {
        let message = format!("Unknown destination: connection from /{peer} / {reason}");
        Self::new(Room::Identification, 400, Cause::Unidentified, message)
    }

    /// A connection was bound to a status, which it has no way to be told.
    pub fn no_status(status: u16) -> Self {
        let message = format!("its name is bound to the status {status}, which only HTTP can tell");
        Self::new(Room::Resolution, status, Cause::NoBrokers, message)
    }

    /// The request's own dtab cannot be read.
    pub fn bad_override(message: &str) -> Self {
        Self::new(Room::Identification, 400, Cause::Unidentified, message)
    }

    /// More hops than the server allows.
    pub fn too_many_hops(limit: u32) -> Self {
        let message = format!("Maximum number of calls ({limit}) has been exceeded. Please check for proxy loops.");
        Self::new(Room::Server, 400, Cause::BadRequest, message)
    }

    /// More requests at once than the server takes.
    pub fn overloaded() -> Self {
        let message = "Request was not processed by the server due to an error and is safe to retry";
        Self::new(Room::Server, 503, Cause::Rejected, message)
    }

    /// More requests in a while than a rate limit allows.
    pub fn rate_limited(retry_after_s: u64, message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(Room::Server, 429, Cause::RateLimited, message)
        }
    }

    /// The bytes are not a request that can be served.
    pub fn malformed(status: u16, message: impl Into<String>) -> Self {
        Self::new(Room::Server, status, Cause::BadRequest, message)
    }

    /// A connection would go out to where it came in, and from there again, until no more can be opened.
    pub fn leads_back(address: SocketAddr) -> Self {
        let message = format!("the endpoint {address} is where the connection came in: it would go round for ever");
        Self::new(Room::Resolution, 502, Cause::NoBrokers, message)
    }

    /// Binding failed.
    pub fn binding(message: &str) -> Self {
        Self::new(Room::Binding, 502, Cause::Binding, message)
    }

    /// Binding, or the first word from a registry, took too long.
    pub fn binding_timeout(timeout_ms: u64, path: &str) -> Self {
        let message = format!(
            "Exceeded {} binding timeout while resolving name: {path}",
            show_duration(timeout_ms)
        );
        Self::new(Room::Binding, 502, Cause::Binding, message)
    }

    /// The registry failed before it had said anything.
    pub fn resolution(message: &str) -> Self {
        Self::new(Room::Resolution, 502, Cause::NoBrokers, message)
    }

    /// The name is bound to nothing, or nothing is there.
    pub fn no_brokers(path: &str, base: &[String], own: &[String]) -> Self {
        let mut text = format!("Unable to route request!\n\nservice name: {path}\ndtab:\n\nbase dtab:\n");
        push_dentries(&mut text, base);
        text.push_str("override dtab:\n");
        push_dentries(&mut text, own);
        Self::new(Room::Balancing, 502, Cause::NoBrokers, text)
    }

    /// No connection to the endpoint could be made.
    pub fn connect(path: &str, client: &str, addresses: &[String], selected: &str) -> Self {
        let message = format!(
            "Unable to establish connection to {selected}.\n\nservice name: {path}\nclient name: {client}\n\
             addresses: [{}]\nselected address: {selected}\n",
            addresses.join(", ")
        );
        Self::new(Room::Endpoint, 502, Cause::ConnectFailed, message)
    }

    /// The endpoint closed, reset or broke the protocol.
    pub fn endpoint(cause: Cause, message: impl Into<String>) -> Self {
        Self::new(Room::Endpoint, 502, cause, message)
    }

    /// One attempt took too long.
    pub fn attempt_timeout(timeout_ms: u64, endpoint: &str) -> Self {
        let message = format!(
            "exceeded {} to unspecified while waiting for a response for an individual request, excluding retries. \
             Remote Info: Upstream Address: Not Available, Upstream id: Not Available, Downstream Address: {endpoint}",
            show_duration(timeout_ms)
        );
        Self::new(Room::Endpoint, 503, Cause::AttemptTimeout, message)
    }

    /// The whole request took too long.
    pub fn total_timeout(timeout_ms: u64) -> Self {
        let message = format!(
            "exceeded {} to unspecified while waiting for a response for the request, including retries (if applicable). \
             Remote Info: Not Available",
            show_duration(timeout_ms)
        );
        Self::new(Room::Endpoint, 503, Cause::TotalTimeout, message)
    }

    /// A plugin in Python failed, or was late, for this request.
    pub fn plugin(message: &str) -> Self {
        Self::new(Room::Identification, 500, Cause::Plugin, message)
    }

    /// The time that the caller gave is over: so many milliseconds were left when the request came.
    pub fn deadline(left_ms: u64) -> Self {
        let message = format!(
            "exceeded request deadline of {} while waiting for a response",
            show_duration(left_ms)
        );
        Self::new(Room::Endpoint, 503, Cause::TotalTimeout, message)
    }

    /// The time that the caller gave was over, so many milliseconds ago, when the request came.
    pub fn past_deadline(expired_ms: u64) -> Self {
        let message = format!("exceeded request deadline by {}", show_duration(expired_ms));
        Self::new(Room::Server, 503, Cause::TotalTimeout, message)
    }

    /// The caller went away: nobody is told, but it is counted.
    pub fn cancelled() -> Self {
        Self::new(Room::Server, 499, Cause::Cancelled, "the caller closed the connection")
    }
}

fn push_dentries(text: &mut String, dentries: &[String]) {
    for dentry in dentries {
        let _written = writeln!(text, "  {dentry}");
    }
    if dentries.is_empty() {
        text.push('\n');
    }
}

/// A duration as Twitter's libraries print it: `10.seconds`, `500.milliseconds`, `1.minutes`.
fn show_duration(duration_ms: u64) -> String {
    match duration_ms {
        0 => "0.seconds".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}.minutes", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}.seconds", ms / 1000),
        ms if ms > 1000 => format!("{}.seconds+{}.milliseconds", ms / 1000, ms % 1000),
        ms => format!("{ms}.milliseconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_endpoints_shows_both_dtabs() {
        let failure = Failure::no_brokers("/svc/foo", &["/svc => /#/io.l5d.fs".to_owned()], &[]);
        assert_eq!(
            failure.message,
            "Unable to route request!\n\nservice name: /svc/foo\ndtab:\n\nbase dtab:\n  /svc => /#/io.l5d.fs\n\
             override dtab:\n\n"
        );
        assert_eq!(failure.status, 502);
    }

    #[test]
    fn durations_print_as_twitter_prints_them() {
        assert_eq!(show_duration(10_000), "10.seconds");
        assert_eq!(show_duration(500), "500.milliseconds");
        assert_eq!(show_duration(60_000), "1.minutes");
        assert_eq!(show_duration(1_500), "1.seconds+500.milliseconds");
    }
}
