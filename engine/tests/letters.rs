//! The golden letters of `tests/letters/`, which pytest reads too: the engine takes in and gives out exactly these bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use biandou_engine::access_log::RollPolicy;
use biandou_engine::balance::Kind;
use biandou_engine::budget::BudgetPlan;
use biandou_engine::classify::{Class, Classifier};
use biandou_engine::endpoint::Policy;
use biandou_engine::endpoint::backoff::Backoff;
use biandou_engine::identify::Identifier;
use biandou_engine::letters::{read, write};
use biandou_engine::limit::RateLimit;
use biandou_engine::mail::{Answer, Answered, Endpoints, EndpointsState, Level, Outcome, Outgoing};
use biandou_engine::plan::{NotHttpPlan, OutlierPlan, Plan, ServicePolicy};
use biandou_engine::plugin::{Advice, Named, PluginPlan};
use biandou_engine::tally::{ClientView, ClientsView, EndpointView, Scope, Stat, Tally, Window};
use serde::de::DeserializeOwned;

#[derive(serde::Deserialize)]
struct Golden {
    name: String,
    msgpack: String,
}

/// The letters of one file, by name.
fn golden(family: &str) -> BTreeMap<String, Vec<u8>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/letters/{family}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let entries: Vec<Golden> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{family}: {error}"));
    entries
        .into_iter()
        .map(|Golden { name, msgpack }| (name, bytes(&msgpack)))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}

/// Every letter of a family that the engine takes in.
fn taken<T: DeserializeOwned>(family: &str) -> BTreeMap<String, T> {
    golden(family)
        .into_iter()
        .map(|(name, bytes)| {
            let letter = read(&bytes).unwrap_or_else(|error| panic!("{family}, {name}: {error}"));
            (name, letter)
        })
        .collect()
}

#[test]
fn a_plan_arrives_with_every_key() {
    let plans: BTreeMap<String, Plan> = taken("plans");
    assert!(plans["empty"].routers.is_empty());
    let plan = &plans["full"];
    assert_eq!(plan.workers, 4);
    let [outgoing, incoming, others] = plan.routers.as_slice() else {
        panic!("{} routers", plan.routers.len());
    };
    assert_eq!(
        (&*outgoing.label, &*outgoing.protocol, &*outgoing.dst_prefix),
        ("outgoing", "http", "/svc")
    );
    assert_eq!(outgoing.binding_timeout_ms, 2_500);
    assert!(outgoing.originator);
    let plugins = PluginPlan {
        timeout_ms: 700,
        max_waiting: 9,
        sees_requests: false,
    };
    assert_eq!((&outgoing.plugins, &incoming.plugins), (&Some(plugins), &None));
    let log = outgoing.access_log.as_ref().expect("an access log");
    assert_eq!(
        (&*log.path, log.roll, log.append, log.rotate_count),
        ("/var/log/access.log", RollPolicy::Weekly { day: 2 }, false, Some(5))
    );
    assert!(incoming.access_log.is_none());
    let rolls = plans["access logs"]
        .routers
        .iter()
        .map(|router| router.access_log.as_ref().map(|log| log.roll));
    let expected = [
        RollPolicy::Never,
        RollPolicy::Hourly,
        RollPolicy::Daily,
        RollPolicy::Size { bytes: 3 << 30 },
    ];
    assert!(rolls.eq(expected.map(Some)));
    assert_eq!(
        outgoing.base_dentries,
        ["/svc => /#/io.l5d.fs", "/svc/* => /$/inet/127.0.0.1/8080 | ~"]
    );
    let cache = &outgoing.binding_cache;
    assert_eq!(
        (cache.paths, cache.trees, cache.bounds, cache.clients, cache.idle_ttl_ms),
        (10, 20, 30, 40, 50_000)
    );
    let http = &outgoing.http;
    assert_eq!(
        (
            http.max_head_bytes,
            http.max_line_bytes,
            http.max_header_count,
            http.max_error_body_bytes
        ),
        (65_536, 16_384, 64, 1_024)
    );
    assert_eq!(
        (http.replay_body_bytes, incoming.http.replay_body_bytes),
        (100, 5 * 1024)
    );
    assert_eq!((incoming.label.as_str(), incoming.servers[0].port), ("incoming", 4141));
    let others_of = |plan: &NotHttpPlan| (plan.router.clone(), plan.silence_ms);
    assert_eq!(
        outgoing.servers[1].not_http.as_ref().map(others_of),
        Some(("others".to_owned(), 700))
    );
    assert_eq!(
        (others.protocol.as_str(), outgoing.servers[0].not_http.is_none()),
        ("tcp", true)
    );
    assert_eq!(others.identifiers, [Identifier::Sni, Identifier::OriginalDst]);
}

#[test]
fn a_server_arrives_with_every_key() {
    let plan = taken::<Plan>("plans").remove("full").expect("a full plan");
    let [first, second] = plan.routers[0].servers.as_slice() else {
        panic!("{} servers", plan.routers[0].servers.len());
    };
    assert_eq!((first.ip, first.port), (IpAddr::from([0, 0, 0, 0]), 4140));
    assert_eq!(first.fds, [3, 4]);
    assert!(first.clear_context);
    assert_eq!(
        (
            first.max_concurrent_requests,
            first.max_call_depth,
            first.max_connections
        ),
        (Some(300), 7, 100)
    );
    assert_eq!(first.timestamp_header.as_deref(), Some("X-Request-Start"));
    assert_eq!((first.head_timeout_ms, first.idle_timeout_ms), (5_000, Some(60_000)));
    assert_eq!(
        (first.life_timeout_ms, first.request_timeout_ms),
        (Some(3_600_000), Some(15_000))
    );
    let socket = &first.socket;
    assert_eq!(
        (
            socket.no_delay,
            socket.reuse_addr,
            socket.reuse_port,
            socket.keep_alive,
            socket.backlog
        ),
        (false, false, true, Some(true), Some(128))
    );
    assert_eq!(
        (socket.read_timeout_ms, socket.write_timeout_ms),
        (Some(1_000), Some(2_000))
    );
    let limit = RateLimit {
        requests_per_second: 0.5,
        burst: 3,
        by_header: Some("X-Api-Key".to_owned()),
    };
    assert_eq!(first.rate_limit, Some(limit));
    assert_eq!(second.rate_limit, None);
    assert_eq!(second.ip, IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
    assert_eq!((second.idle_timeout_ms, second.max_concurrent_requests), (None, None));
}

#[test]
fn every_identifier_arrives_as_the_operator_wrote_it() {
    let plan = taken::<Plan>("plans").remove("full").expect("a full plan");
    let shown: Vec<String> = plan.routers[0]
        .identifiers
        .iter()
        .map(|kind| format!("{kind:?}"))
        .collect();
    match plan.routers[0].identifiers.as_slice() {
        [
            Identifier::MethodAndHost { http_uri_in_dst: true },
            Identifier::Path {
                segments: 2,
                consume: true,
            },
            Identifier::Header { .. },
            Identifier::HeaderToken { .. },
            Identifier::Static { path },
        ] => {
            assert!(shown[2].to_lowercase().contains("x-name"), "{}", shown[2]);
            assert_eq!(path.shown(), b"/web/v1");
        }
        _ => panic!("{shown:?}"),
    }
}

#[test]
fn every_outcome_arrives() {
    let answers: BTreeMap<String, Answer> = taken("answers");
    let full = &answers["bound, every key"];
    let Outcome::Bound { branches } = &full.outcome else {
        panic!("{:?}", full.outcome);
    };
    let branches: Vec<_> = branches
        .iter()
        .map(|branch| (branch.weight, branch.client.as_deref(), branch.residual.as_str()))
        .collect();
    assert_eq!(
        branches,
        [
            (0.9, Some("/#/io.l5d.fs/web-v1"), "/a/b"),
            (0.0625, Some("/%/io.l5d.port/80/#/io.l5d.fs/web-v2"), "/"),
            (0.0375, None, "/"),
        ]
    );
    assert_eq!(full.context, "/svc/web=>/svc/web-v2;/a=>/b");
    assert_eq!(full.override_dentries, ["/svc/web => /svc/web-v2", "/a => /b"]);
    assert!(matches!(answers["negative"].outcome, Outcome::Negative));
    let Outcome::Failed { message } = &answers["failed"].outcome else {
        panic!("{:?}", answers["failed"].outcome);
    };
    assert_eq!(message, "Unknown namer: böse for path: /$/böse");
    let Outcome::Invalid { message } = &answers["invalid"].outcome else {
        panic!("{:?}", answers["invalid"].outcome);
    };
    assert_eq!(message, "'=>' expected at line 1, column 3");
    assert_eq!(answers.len(), 10);
}

#[test]
fn every_policy_of_a_service_arrives() {
    let answers: BTreeMap<String, Answer> = taken("answers");
    let expected = ServicePolicy {
        total_timeout_ms: Some(500),
        rate_limit: Some(RateLimit {
            requests_per_second: 1000.0,
            burst: 1,
            by_header: None,
        }),
        classifier: Classifier::RetryableRead5xx,
        retry_backoff: Backoff::Jittered {
            min_ms: 10,
            max_ms: 200,
        },
        retry_budget: BudgetPlan {
            min_retries_per_sec: 5,
            percent_can_retry: 0.5,
            ttl_ms: 15_000,
        },
    };
    assert_eq!(answers["bound, every key"].policy, expected);
    assert_eq!(answers["bound"].policy, ServicePolicy::default());
    for (name, classifier) in [
        ("nonRetryable5XX", Classifier::NonRetryable5xx),
        ("retryableIdempotent5XX", Classifier::RetryableIdempotent5xx),
        ("retryableAll5XX", Classifier::RetryableAll5xx),
        ("allSuccessful", Classifier::AllSuccessful),
    ] {
        assert_eq!(answers[&format!("classified by {name}")].policy.classifier, classifier);
    }
    assert_eq!(
        answers["classified in Python"].policy.classifier,
        Classifier::Plugin { number: 4_000_000_000 }
    );
}

#[test]
fn all_that_plugins_can_say_arrives() {
    let text = |text: &str| text.to_owned();
    let class = |class| Advice::Class { class };
    let expected = BTreeMap::from([
        (
            text("go on"),
            Advice::Go {
                remove: vec![text("x-old")],
                add: vec![(text("X-New"), text("\u{e9}"))],
                names: vec![
                    Named::Reason {
                        reason: text("no tenant"),
                    },
                    Named::Path {
                        path: text("/acme/web"),
                    },
                ],
            },
        ),
        (
            text("go on unchanged"),
            Advice::Go {
                remove: vec![],
                add: vec![],
                names: vec![],
            },
        ),
        (
            text("reply"),
            Advice::Reply {
                status: 401,
                headers: vec![(text("WWW-Authenticate"), text("Bearer"))],
                body: text("who\u{ff}"),
            },
        ),
        (text("class success"), class(Class::Success)),
        (text("class retryable"), class(Class::RetryableFailure)),
        (text("class failure"), class(Class::Failure)),
        (
            text("failed"),
            Advice::Failed {
                message: text("the plugin com.example.bad failed"),
            },
        ),
    ]);
    assert_eq!(taken::<Advice>("advice"), expected);
}

#[test]
fn every_state_of_endpoints_arrives() {
    let letters: BTreeMap<String, Endpoints> = taken("endpoints");
    let full = &letters["bound, every key, p2c, constant backoff"];
    assert_eq!((&*full.router, &*full.client), ("outgoing", "/#/io.l5d.fs/web"));
    let EndpointsState::Bound { addresses, authority } = &full.state else {
        panic!("{:?}", full.state);
    };
    let expected: [(IpAddr, u16, f64); 2] = [
        (IpAddr::from([10, 0, 0, 1]), 65_535, 2.5),
        (IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), 1, 0.0),
    ];
    assert_eq!(addresses.as_slice(), expected);
    assert_eq!(authority.as_deref(), Some("web.example:443"));
    let state = |name: &str| &letters[name].state;
    assert!(matches!(
        state("negative, ewma, jittered backoff"),
        EndpointsState::Negative
    ));
    assert!(matches!(state("pending, never dead"), EndpointsState::Pending));
    assert!(matches!(state("status"), EndpointsState::Status { code: 404 }));
    let EndpointsState::Failed { message } = state("failed, round robin, no backoff") else {
        panic!("{:?}", state("failed, round robin, no backoff"));
    };
    assert_eq!(message, "malformed address: 127.0.0.1");
    assert_eq!(letters.len(), 8);
}

#[test]
fn every_policy_of_a_client_arrives() {
    let letters: BTreeMap<String, Endpoints> = taken("endpoints");
    let policy = |name: &str| &letters[name].policy;
    let full = policy("bound, every key, p2c, constant backoff");
    assert_eq!(
        full.balancer,
        Kind::P2c {
            max_effort: 7,
            enable_probation: true
        }
    );
    assert_eq!(
        full.failure_accrual,
        Policy::ConsecutiveFailures {
            failures: 3,
            backoff: Some(Backoff::Constant { ms: 250 })
        }
    );
    let pool = &full.pool;
    assert_eq!(
        (pool.min_size, pool.max_size, pool.idle_time_ms, pool.max_waiters),
        (1, Some(32), Some(30_000), Some(100))
    );
    assert_eq!(
        (full.connect_timeout_ms, full.request_attempt_timeout_ms),
        (200, Some(300))
    );
    let budget = BudgetPlan {
        min_retries_per_sec: 1,
        percent_can_retry: 2.0,
        ttl_ms: 1_000,
    };
    assert_eq!(full.requeue_budget, budget);
    assert_eq!((full.idle_timeout_ms, full.life_timeout_ms), (Some(400), Some(500)));
    assert_eq!((full.socket.no_delay, full.socket.keep_alive), (false, Some(false)));

    let ewma = policy("negative, ewma, jittered backoff");
    assert_eq!(
        ewma.balancer,
        Kind::Ewma {
            max_effort: 2,
            decay_time_ms: 5_000,
            enable_probation: false
        }
    );
    assert_eq!(
        ewma.failure_accrual,
        Policy::SuccessRate {
            success_rate: 0.5,
            requests: 20,
            backoff: Some(Backoff::Jittered {
                min_ms: 10,
                max_ms: 20_000
            })
        }
    );
    let round_robin = policy("failed, round robin, no backoff");
    assert_eq!(
        round_robin.balancer,
        Kind::RoundRobin {
            max_effort: 9,
            enable_probation: true
        }
    );
    assert_eq!(
        round_robin.failure_accrual,
        Policy::SuccessRateWindowed {
            success_rate: 0.9,
            window: 60,
            backoff: None
        }
    );
    let aperture = policy("negative, aperture, outliers");
    assert_eq!(
        aperture.balancer,
        Kind::Aperture {
            smooth_window_ms: 1_000,
            max_effort: 3,
            low_load: 0.25,
            high_load: 4.0,
            min_aperture: 2,
            enable_probation: true
        }
    );
    assert_eq!(
        aperture.outliers,
        OutlierPlan {
            fail_fast: true,
            max_ejected_percent: 50,
            panic_threshold_percent: 20,
            warm_up_ms: 30_000
        }
    );
    let heap = policy("negative, heap");
    assert_eq!(
        heap.balancer,
        Kind::Heap {
            enable_probation: false
        }
    );
    let bare = policy("pending, never dead");
    assert_eq!(bare.outliers, OutlierPlan::default());
    assert_eq!(bare.failure_accrual, Policy::Never {});
    // What Python leaves out of a letter is not what it leaves out of a policy: a policy always has every key.
    assert_eq!(bare.balancer, Kind::default());
    assert_eq!(bare.requeue_budget, BudgetPlan::default());
    assert_eq!(
        (bare.pool.max_size, bare.connect_timeout_ms, bare.life_timeout_ms),
        (None, 1_000, None)
    );
}

fn note(level: Level, name: &str) -> Outgoing {
    Outgoing::Note {
        level,
        room: "resolution".to_owned(),
        message: format!("a message of level {name}"),
    }
}

fn ask(ticket: u64, router: &str, path: &str, dtab: &[&str]) -> Outgoing {
    Outgoing::Ask {
        ticket,
        router: router.to_owned(),
        path: path.to_owned(),
        dtab: dtab.iter().copied().map(str::to_owned).collect(),
    }
}

#[test]
fn mail_leaves_with_these_bytes() {
    let large = (3 << 48) + 70_000;
    let mail: BTreeMap<&str, Vec<Outgoing>> = BTreeMap::from([
        ("ask", vec![ask(1, "outgoing", "/svc/web", &[])]),
        (
            "ask, large ticket, with a dtab",
            vec![ask(
                large,
                "incoming",
                r"/svc/\xff",
                &["/a => /b", "/svc=>/$/nil ; # ü"],
            )],
        ),
        ("release", vec![Outgoing::Release { ticket: 4_294_967_296 }]),
        (
            "notes of every level",
            vec![
                note(Level::Error, "error"),
                note(Level::Warning, "warning"),
                note(Level::Info, "info"),
                note(Level::Debug, "debug"),
            ],
        ),
        (
            "consult",
            vec![Outgoing::Consult {
                ticket: (1 << 40) + 7,
                router: "outgoing".to_owned(),
                method: "GET".to_owned(),
                target: "/a?b".to_owned(),
                headers: vec![
                    ("Host".to_owned(), "web".to_owned()),
                    ("X-A".to_owned(), "\u{e9}".to_owned()),
                ],
                peer: "127.0.0.1:5000".to_owned(),
                local: "127.0.0.1:4140".to_owned(),
                answered: None,
            }],
        ),
        (
            "consult about a response",
            vec![Outgoing::Consult {
                ticket: 8,
                router: "outgoing".to_owned(),
                method: "PUT".to_owned(),
                target: "/a".to_owned(),
                headers: vec![],
                peer: "127.0.0.1:5000".to_owned(),
                local: "127.0.0.1:4140".to_owned(),
                answered: Some(Answered {
                    classifier: 4_000_000_000,
                    status: 503,
                    headers: vec![("X-B".to_owned(), "1".to_owned())],
                }),
            }],
        ),
        ("cancel", vec![Outgoing::Cancel { ticket: 7 }]),
        (
            "withheld",
            vec![Outgoing::Withheld {
                id: "00000000000000ab".to_owned(),
                router: "http".to_owned(),
                room: "binding".to_owned(),
                status: 502,
                message: "no namer".to_owned(),
            }],
        ),
        ("drained", vec![Outgoing::Drained { unfinished: 0 }]),
        ("drained, some cut off", vec![Outgoing::Drained { unfinished: 3 }]),
        ("nothing", vec![]),
        (
            "several",
            vec![
                Outgoing::Release { ticket: 1 },
                ask(2, "outgoing", "/svc", &[]),
                Outgoing::Drained { unfinished: 300 },
            ],
        ),
    ]);
    assert_written("mail", &mail);
}

#[test]
fn a_tally_leaves_with_these_bytes() {
    let stat = Stat {
        count: 3,
        sum: 7.5,
        buckets: vec![(0.5, 1), (3.5, 2)],
    };
    let window = Window {
        count: 300,
        sum: 70_000,
        average: 233.5,
        least: 1,
        most: 7_000,
        percentiles: [5, 90, 950, 990, 6_990, 7_000],
    };
    let strings = |parts: &[&str]| parts.iter().copied().map(str::to_owned).collect();
    let full = Tally {
        scopes: vec![
            Scope {
                scope: strings(&["rt", "http", "server", "127.0.0.1/4140"]),
                counters: BTreeMap::from([("requests".into(), 300), ("status/200".into(), 5_000_000_000)]),
                gauges: BTreeMap::from([("connections".into(), 2.0), ("load".into(), 1.5)]),
                stats: BTreeMap::from([("request_latency_ms".into(), stat)]),
                windows: BTreeMap::new(),
            },
            Scope {
                scope: strings(&["rt", "http", "service", "svc/web"]),
                windows: BTreeMap::from([
                    ("request_latency_ms".into(), Some(window)),
                    ("retries/per_request".into(), None),
                ]),
                ..Scope::default()
            },
            Scope {
                scope: strings(&["rt", "http", "bindcache"]),
                ..Scope::default()
            },
        ],
    };
    assert_written(
        "tallies",
        &BTreeMap::from([("full", full), ("empty", Tally::default())]),
    );
}

#[test]
fn what_is_known_of_clients_leaves_with_these_bytes() {
    let ejected = EndpointView {
        address: "[::1]:80".to_owned(),
        weight: 0.5,
        pending: 2,
        state: "ejected".to_owned(),
        failures_in_a_row: Some(5),
        success_rate: None,
        ejected_for_ms: Some(100_000),
        next_probe_ms: Some(2_500),
        times_ejected: 3,
        latency_ms: Some(1.5),
        connections: 4,
        idle: 3,
        waiting: 1,
    };
    let in_use = EndpointView {
        address: "127.0.0.1:8080".to_owned(),
        weight: 1.0,
        state: "in use".to_owned(),
        success_rate: Some(0.75),
        ..EndpointView::default()
    };
    let web = ClientView {
        router: "http".to_owned(),
        client: "/#/io.l5d.fs/web".to_owned(),
        state: "bound".to_owned(),
        balancer: "ewma".to_owned(),
        panic: true,
        endpoints: vec![ejected, in_use],
        left_out: 70_000,
    };
    let nowhere = ClientView {
        router: "http".to_owned(),
        client: "/$/inet/nowhere/80".to_owned(),
        state: "pending".to_owned(),
        balancer: "p2c".to_owned(),
        ..ClientView::default()
    };
    let full = ClientsView {
        clients: vec![web, nowhere],
    };
    assert_written(
        "clients",
        &BTreeMap::from([("full", full), ("empty", ClientsView::default())]),
    );
}

/// Checks that these letters, and no others, are a family.
fn assert_written<T: serde::Serialize>(family: &str, letters: &BTreeMap<&str, T>) {
    let expected = golden(family);
    assert!(letters.keys().eq(expected.keys()), "other letters than in {family}");
    for (name, letter) in letters {
        let written = write(letter).unwrap_or_else(|error| panic!("{family}, {name}: {error}"));
        assert_eq!(written, expected[*name], "{family}, {name}");
    }
}

#[test]
fn what_is_not_exactly_one_letter_is_refused() {
    for family in ["plans", "answers", "endpoints"] {
        for (name, letter) in golden(family) {
            let refused = |bytes: &[u8]| match family {
                "plans" => read::<Plan>(bytes).is_err(),
                "answers" => read::<Answer>(bytes).is_err(),
                _ => read::<Endpoints>(bytes).is_err(),
            };
            for end in 0..letter.len() {
                assert!(refused(&letter[..end]), "{family}, {name}, the first {end} bytes");
            }
            let mut longer = letter.clone();
            longer.push(0xc0);
            assert!(refused(&longer), "{family}, {name}, and one byte more");
        }
    }
}

#[test]
fn a_letter_that_is_nested_too_deeply_or_lies_about_its_length_is_refused() {
    // Arrays in arrays, as the value of a key that is read before its type is known.
    let mut nested = b"\x81\xa7outcome\x81\xa1x".to_vec();
    nested.extend([0x91].repeat(1_000_000));
    assert!(read::<Answer>(&nested).is_err());
    // A text of 4 GiB, a list of 4 G elements, a map of 4 G entries.
    for start in [
        b"\x81\xa7context\xdb".as_slice(),
        b"\x81\xb1override_dentries\xdd",
        b"\xdf",
    ] {
        let lying = [start, b"\xff\xff\xff\xff\xa1x"].concat();
        assert!(read::<Answer>(&lying).is_err());
    }
}
