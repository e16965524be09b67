//! What counts as a success and what may be tried again: the kinds of `responseClassifier` (reference/linker.md §2.10).

use serde::Deserialize;

use crate::failure::Cause;
use crate::wire::h1::{Method, Signals};

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Success,
    /// A failure that another attempt may mend.
    #[serde(rename = "retryable")]
    RetryableFailure,
    Failure,
}

impl Class {
    pub fn is_success(self) -> bool {
        self == Self::Success
    }
}

/// A `responseClassifier` as the operator wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind")]
pub enum Classifier {
    #[default]
    #[serde(rename = "io.l5d.http.nonRetryable5XX")]
    NonRetryable5xx,
    #[serde(rename = "io.l5d.http.retryableRead5XX")]
    RetryableRead5xx,
    #[serde(rename = "io.l5d.http.retryableIdempotent5XX")]
    RetryableIdempotent5xx,
    #[serde(rename = "io.l5d.http.retryableAll5XX")]
    RetryableAll5xx,
    #[serde(rename = "io.l5d.http.allSuccessful")]
    AllSuccessful,
    /// One in Python, called by its number. Without its word, `nonRetryable5XX`.
    #[serde(rename = "plugin")]
    Plugin { number: u32 },
}

impl Classifier {
    /// The number of the classifier in Python that is to be asked, if it is one.
    pub fn plugin(self) -> Option<u32> {
        match self {
            Self::Plugin { number } => Some(number),
            _ => None,
        }
    }

    /// Says what a response comes to. What the endpoint itself says of another attempt goes before the method.
    pub fn response(self, method: Method, status: u16, signals: Signals) -> Class {
        if status < 500 {
            return Class::Success;
        }
        // Who refuses a request has not answered it, not even to a service to which every answer is good.
        let refused = status == 503 && signals.nonretryable_nack;
        let nacked = status == 503 && signals.nack;
        match self {
            Self::AllSuccessful if refused || nacked => Class::Failure,
            Self::AllSuccessful => Class::Success,
            _ if !refused && (nacked || signals.retryable || self.retries(method)) => Class::RetryableFailure,
            _ => Class::Failure,
        }
    }

    /// Says what a status comes to that no attempt can change.
    pub fn constant(self, status: u16) -> Class {
        self.response(Method::Other, status, Signals::default())
    }

    /// Says what an attempt comes to that brought no response.
    pub fn loss(self, method: Method, cause: Cause) -> Class {
        let retryable = matches!(
            cause,
            Cause::ConnectFailed | Cause::ChannelClosed | Cause::BadResponse | Cause::AttemptTimeout
        );
        if retryable && self.retries(method) {
            Class::RetryableFailure
        } else {
            Class::Failure
        }
    }

    fn retries(self, method: Method) -> bool {
        match self {
            Self::NonRetryable5xx | Self::AllSuccessful | Self::Plugin { .. } => false,
            Self::RetryableRead5xx => method.is_safe(),
            Self::RetryableIdempotent5xx => method.is_idempotent(),
            Self::RetryableAll5xx => method.is_idempotent() || matches!(method, Method::Post | Method::Patch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Classifier; 5] = [
        Classifier::NonRetryable5xx,
        Classifier::RetryableRead5xx,
        Classifier::RetryableIdempotent5xx,
        Classifier::RetryableAll5xx,
        Classifier::AllSuccessful,
    ];

    fn with(set: impl FnOnce(&mut Signals)) -> Signals {
        let mut signals = Signals::default();
        set(&mut signals);
        signals
    }

    #[test]
    fn each_kind_retries_its_methods() {
        use Method::{Connect, Delete, Get, Head, Options, Other, Patch, Post, Put, Trace};
        let retried: [&[Method]; 5] = [
            &[],
            &[Get, Head, Options, Trace],
            &[Get, Head, Options, Trace, Put, Delete],
            &[Get, Head, Options, Trace, Put, Delete, Post, Patch],
            &[],
        ];
        for (kind, retried) in ALL.into_iter().zip(retried) {
            for method in [Get, Head, Options, Trace, Put, Delete, Post, Patch, Connect, Other] {
                let wanted = retried.contains(&method);
                for status in [500, 503, 599] {
                    let class = kind.response(method, status, Signals::default());
                    assert_eq!(class == Class::RetryableFailure, wanted, "{kind:?} {method:?} {status}");
                    assert_eq!(
                        class.is_success(),
                        kind == Classifier::AllSuccessful,
                        "{kind:?} {status}"
                    );
                }
                for cause in [
                    Cause::ConnectFailed,
                    Cause::ChannelClosed,
                    Cause::BadResponse,
                    Cause::AttemptTimeout,
                ] {
                    let class = kind.loss(method, cause);
                    assert_eq!(
                        class == Class::RetryableFailure,
                        wanted,
                        "{kind:?} {method:?} {cause:?}"
                    );
                    assert!(!class.is_success(), "no response is never a success");
                }
            }
        }
    }

    #[test]
    fn what_is_no_5xx_is_a_success_whatever_it_says_of_itself() {
        let signals = with(|signals| (signals.retryable, signals.nack) = (true, true));
        for kind in ALL {
            for status in [200, 304, 404, 429, 499] {
                assert_eq!(kind.response(Method::Get, status, signals), Class::Success);
            }
        }
    }

    #[test]
    fn an_endpoint_can_ask_to_be_asked_again_whatever_the_method() {
        for kind in &ALL[..4] {
            let told = with(|signals| signals.retryable = true);
            assert_eq!(kind.response(Method::Post, 500, told), Class::RetryableFailure);
            let nack = with(|signals| signals.nack = true);
            assert_eq!(kind.response(Method::Post, 503, nack), Class::RetryableFailure);
        }
        let told = with(|signals| signals.retryable = true);
        assert_eq!(
            Classifier::AllSuccessful.response(Method::Get, 500, told),
            Class::Success
        );
        let nack = with(|signals| signals.nack = true);
        let class = Classifier::AllSuccessful.response(Method::Get, 503, nack);
        assert_eq!(class, Class::Failure, "a nack is no answer");
        let class = Classifier::NonRetryable5xx.response(Method::Get, 500, nack);
        assert_eq!(class, Class::Failure, "only a 503 is a nack");
    }

    #[test]
    fn an_endpoint_can_ask_not_to_be_asked_again() {
        let signals = with(|signals| (signals.nack, signals.nonretryable_nack) = (true, true));
        for kind in ALL {
            assert_eq!(kind.response(Method::Get, 503, signals), Class::Failure);
        }
    }

    #[test]
    fn what_is_not_the_endpoints_fault_is_not_tried_again() {
        for cause in [
            Cause::TotalTimeout,
            Cause::Cancelled,
            Cause::BadRequest,
            Cause::NoBrokers,
            Cause::Binding,
        ] {
            assert_eq!(Classifier::RetryableAll5xx.loss(Method::Get, cause), Class::Failure);
        }
    }
}
