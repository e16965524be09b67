//! Blocks of several workers become the metrics that Linkerd's dashboards read.

#![allow(clippy::float_cmp, reason = "small whole numbers are exact")]

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::balance::{Balancer, Kind};
use crate::endpoint::{AccrualShared, EndpointSet, Outcome, Policy, Treatment};
use crate::failure::Cause;
use crate::plan::OutlierPlan;
use crate::tally::Scope;

fn counters(scope: &Scope, names: &[&str]) -> Vec<Option<u64>> {
    names.iter().map(|&name| scope.counters.get(name).copied()).collect()
}

#[test]
fn a_server_counts_over_all_its_workers() {
    let blocks: [Arc<ServerStats>; 2] = Default::default();
    blocks[0].connects.add(2);
    blocks[1].connects.add(1);
    blocks[0].closes.add(1);
    blocks[0].finish(200, 1_000, Counted::of(200, None));
    blocks[1].finish(204, 3_000, Counted::of(204, None));
    blocks[1].finish(502, 50, Counted::of(502, Some(Cause::NoBrokers)));
    blocks[0].finish(400, 50, Counted::of(400, Some(Cause::Unidentified)));
    blocks[0].finish(499, 50, Counted::of(499, Some(Cause::Cancelled)));
    blocks[0].pending.add(3);
    blocks[1].pending.sub(1);
    let scope = ServerStats::collect(&["rt", "http", "server", "127.0.0.1/4140"], &blocks);
    assert_eq!(scope.scope, ["rt", "http", "server", "127.0.0.1/4140"]);
    assert_eq!(
        counters(&scope, &["requests", "success", "failures"]),
        [Some(5), Some(3), Some(2)]
    );
    let of_status = [
        "status/2XX",
        "status/200",
        "status/204",
        "status/4XX",
        "status/5XX",
        "status/502",
    ];
    assert_eq!(counters(&scope, &of_status), [2, 1, 1, 1, 1, 1].map(Some));
    assert_eq!(
        counters(&scope, &["status/error", "status/499", "status/3XX"]),
        [Some(1), None, None]
    );
    assert_eq!(scope.gauges["connections"], 2.0);
    assert_eq!(scope.gauges["pending"], 2.0);
    let time = &scope.stats["time/2XX"];
    assert_eq!((time.count, time.sum), (2, 4.0));
    let latency = &scope.stats["request_latency_ms"];
    assert_eq!((latency.count, latency.sum), (5, 4.15));
}

#[test]
fn failures_count_at_each_level_of_their_names() {
    let blocks: [Arc<ClientStats>; 2] = Default::default();
    blocks[0].finish(0, 50, Counted::of(0, Some(Cause::ConnectFailed)));
    blocks[1].finish(0, 50, Counted::of(0, Some(Cause::ConnectFailed)));
    blocks[1].finish(0, 50, Counted::of(0, Some(Cause::Binding)));
    blocks[1].finish(500, 50, Counted::of(500, None));
    blocks[1].finish(200, 50, Counted::of(200, Some(Cause::ChannelClosed)));
    let scope = ClientStats::collect(&["rt", "http", "client", "#/io.l5d.fs/web"], &blocks);
    let failures: Vec<(&str, u64)> = scope
        .counters
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix("failures")?, *count)))
        .collect();
    let expected = [
        ("", 5),
        ("/com.twitter.finagle.ChannelClosedException", 1),
        ("/com.twitter.finagle.Failure", 3),
        ("/com.twitter.finagle.Failure/java.net.ConnectException", 2),
        (
            "/com.twitter.finagle.service.ResponseClassificationSyntheticException",
            1,
        ),
    ];
    assert_eq!(failures, expected);
}

#[test]
fn requests_success_and_failures_are_there_before_the_first_request() {
    let blocks: [Arc<ServiceStats>; 1] = Default::default();
    let scope = ServiceStats::collect(&["rt", "http", "service", "svc/web"], &blocks);
    assert_eq!(counters(&scope, &["requests", "success", "failures"]), [Some(0); 3]);
    assert!(scope.stats.is_empty(), "a distribution without values is absent");
}

#[test]
fn requests_that_were_never_retried_count_as_such() {
    let blocks: [Arc<ServiceStats>; 2] = Default::default();
    for block in [0, 1, 1, 1] {
        blocks[block].finish(50, Counted::of(200, None));
    }
    blocks[0].retries_per_request.record(2);
    let scope = ServiceStats::collect(&["rt", "http", "service", "svc/web"], &blocks);
    let retries = &scope.stats["retries/per_request"];
    assert_eq!((retries.count, retries.sum), (4, 2.0));
    assert_eq!(retries.buckets, [(0.0, 3), (2.0, 1)]);
}

#[test]
fn a_client_shows_its_balancer_and_its_dead() {
    let mut rng = fastrand::Rng::with_seed(1);
    let addresses =
        [(1, 1.0), (2, 1.0), (3, 0.5)].map(|(port, weight)| (SocketAddr::from(([127, 0, 0, 1], port)), weight));
    let first = EndpointSet::new(&addresses, Treatment::default());
    for _ in 0..5 {
        first.endpoints[0].begin(0).record(Outcome::Failure, 0, &mut rng);
    }
    let _request = first.endpoints[1].begin(0);
    let set = first.updated(&addresses[..2]);
    let mut scope = Scope::new(&["rt"]);
    balancing(&mut scope, &set, &Balancer::new(Kind::default()), 1);
    let gauges = [
        "size",
        "available",
        "busy",
        "load",
        "num_weight_classes",
        "meanweight",
        "algorithm/p2c_least_loaded",
    ];
    let gauges = gauges.map(|name| scope.gauges[format!("loadbalancer/{name}").as_str()]);
    assert_eq!(gauges, [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let names = ["adds", "removes", "updates"].map(|name| format!("loadbalancer/{name}"));
    assert_eq!(names.map(|name| scope.counters[name.as_str()]), [3, 1, 2]);
    let names = ["removals", "probes", "removed_for_ms"].map(|name| format!("failure_accrual/{name}"));
    assert_eq!(names.map(|name| scope.counters[name.as_str()]), [1, 0, 5_000]);
}

/// The names that Linkerd gives to what we have too (reference/linker.md §8.6).
#[test]
fn a_client_shows_every_figure_of_its_balancer_and_of_failures() {
    let outliers = OutlierPlan {
        fail_fast: true,
        ..OutlierPlan::default()
    };
    let balancer = Balancer::new(Kind::Aperture {
        smooth_window_ms: 5_000,
        max_effort: 5,
        low_load: 0.5,
        high_load: 2.0,
        min_aperture: 1,
        enable_probation: false,
    });
    let treatment = Treatment {
        accrual: AccrualShared::new(Policy::default(), outliers),
        load_needs: balancer.load_needs(),
        ..Treatment::default()
    };
    let set = EndpointSet::new(&[(SocketAddr::from(([127, 0, 0, 1], 1)), 1.0)], treatment);
    set.endpoints[0].break_down(1_000_000, &mut fastrand::Rng::with_seed(1));
    let mut scope = Scope::new(&["rt"]);
    balancing(&mut scope, &set, &balancer, 3_000_000);
    let loadbalancer = "size available busy closed load num_weight_classes meanweight algorithm/aperture_least_loaded \
                        logical_aperture physical_aperture use_deterministic_ordering eager_connections \
                        loadband/offered_load_ema";
    for name in loadbalancer.split_whitespace() {
        assert!(
            scope.gauges.contains_key(format!("loadbalancer/{name}").as_str()),
            "{name}"
        );
    }
    let loadbalancer = "adds removes rebuilds updates max_effort_exhausted busy_weight_classes coordinate_updates \
                        loadband/widen loadband/narrow";
    for name in loadbalancer.split_whitespace() {
        assert!(
            scope.counters.contains_key(format!("loadbalancer/{name}").as_str()),
            "{name}"
        );
    }
    for name in ["removals", "revivals", "probes", "removed_for_ms"] {
        assert_eq!(scope.counters[format!("failure_accrual/{name}").as_str()], 0);
    }
    let down = ["is_marked_dead", "unhealthy_num_tries", "unhealthy_for_ms"];
    assert_eq!(
        down.map(|name| scope.gauges[format!("failfast/{name}").as_str()]),
        [1.0, 1.0, 2_000.0]
    );
    let counted = ["marked_dead", "marked_available"];
    assert_eq!(
        counted.map(|name| scope.counters[format!("failfast/{name}").as_str()]),
        [1, 0]
    );
}

#[test]
fn blocks_with_traffic_stay_below_eight_kibibytes() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (service, client, path) = (ServiceStats::default(), ClientStats::default(), PathStats::default());
    for nth in 0..20_000 {
        // Mostly around 1 ms, one in a hundred up to 60 ms.
        let tail = if nth % 100 == 0 { rng.u64(..60_000) } else { 0 };
        let latency_us = 400 + (rng.f64() * 2.5).exp() as u64 * 150 + tail;
        let (status, cause) = match nth % 1_000 {
            0 => (503, None),
            1 => (0, Some(Cause::ChannelClosed)),
            2 => (404, None),
            _ => (200, None),
        };
        let counted = Counted::of(status, cause);
        service.finish(latency_us, counted);
        client.finish(status, latency_us, counted);
        path.finish(latency_us, counted);
        client.payloads.record(Some(0), Some(1_024 + rng.u64(..500)));
        if nth % 1_000 == 0 {
            client.connect_latency.record(rng.u64(80..300));
        }
    }
    let service = service.footprint();
    let client = client.footprint() + path.footprint();
    assert!(service <= 8 * 1_024, "a service takes {service} bytes");
    assert!(
        client <= 8 * 1_024,
        "a client and a path through it take {client} bytes"
    );
}
