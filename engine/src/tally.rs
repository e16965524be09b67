//! What the engine has counted, as it goes to Python; the twin of the last part of `src/biandou/boundary.py`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// The name of a metric within its scope; may hold `/`.
pub type Name = Cow<'static, str>;

/// A distribution since the engine started: `buckets` are (value, count), rising, in the metric's own unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stat {
    pub count: u64,
    pub sum: f64,
    pub buckets: Vec<(f64, u64)>,
}

/// The metrics of one thing; `scope` is e.g. `["rt", "http", "server", "127.0.0.1/4140"]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scope {
    pub scope: Vec<String>,
    pub counters: BTreeMap<Name, u64>,
    pub gauges: BTreeMap<Name, f64>,
    pub stats: BTreeMap<Name, Stat>,
}

/// One endpoint as the engine sees it now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointView {
    pub address: String,
    pub weight: f64,
    pub pending: u32,
    pub state: String,
}

/// One client name as the engine sees it now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientView {
    pub router: String,
    pub client: String,
    pub state: String,
    pub endpoints: Vec<EndpointView>,
}

/// All that the engine has counted, cumulative, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    pub scopes: Vec<Scope>,
    pub clients: Vec<ClientView>,
}

impl Tally {
    /// As msgpack with named fields.
    pub fn encode(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec_named(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_msgpack_with_the_names_that_python_reads() {
        let scope = Scope {
            scope: vec!["rt".to_owned(), "http".to_owned()],
            counters: BTreeMap::from([("requests".into(), 300)]),
            gauges: BTreeMap::from([("pending".into(), 1.5)]),
            stats: BTreeMap::from([(
                "ms".into(),
                Stat {
                    count: 1,
                    sum: 0.5,
                    buckets: vec![(0.5, 1)],
                },
            )]),
        };
        let client = ClientView {
            router: "http".to_owned(),
            client: "/#/a".to_owned(),
            state: "bound".to_owned(),
            endpoints: vec![EndpointView {
                address: "[::1]:80".to_owned(),
                weight: 0.5,
                pending: 2,
                state: "open".to_owned(),
            }],
        };
        let tally = Tally {
            scopes: vec![scope],
            clients: vec![client],
        };
        let half = b"\xcb\x3f\xe0\0\0\0\0\0\0";
        let expected = [
            b"\x82\xa6scopes\x91\x84\xa5scope\x92\xa2rt\xa4http".as_slice(),
            b"\xa8counters\x81\xa8requests\xcd\x01\x2c",
            b"\xa6gauges\x81\xa7pending\xcb\x3f\xf8\0\0\0\0\0\0",
            b"\xa5stats\x81\xa2ms\x83\xa5count\x01\xa3sum",
            half,
            b"\xa7buckets\x91\x92",
            half,
            b"\x01\xa7clients\x91\x84\xa6router\xa4http\xa6client\xa4/#/a\xa5state\xa5bound",
            b"\xa9endpoints\x91\x84\xa7address\xa8[::1]:80\xa6weight",
            half,
            b"\xa7pending\x02\xa5state\xa4open",
        ]
        .concat();
        assert_eq!(tally.encode().ok(), Some(expected));
    }
}
