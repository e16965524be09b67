//! What a choice of an endpoint and a measurement cost: `cargo bench -p biandou-engine --bench balance`.

#![allow(clippy::print_stdout)] // Printing is what this program is for.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use biandou_engine::balance::{Balancer, Kind};
use biandou_engine::endpoint::{AccrualShared, EndpointSet, Outcome, Policy, Treatment};
use biandou_engine::plan::OutlierPlan;
use biandou_engine::stats::{ClientStats, Counted, Counter, Histogram};

const ROUNDS: u64 = 100_000;

/// Prints the least of fifty runs in nanoseconds per call.
fn measure(name: &str, mut call: impl FnMut(u64)) {
    let least = (0..50)
        .map(|_| {
            let started = Instant::now();
            (0..ROUNDS).for_each(&mut call);
            started.elapsed().as_nanos() as f64 / ROUNDS as f64
        })
        .fold(f64::MAX, f64::min);
    println!("{name:40} {least:6.1} ns");
}

fn set(balancer: &Balancer, size: u32, classes: u32) -> EndpointSet {
    let addresses: Vec<(SocketAddr, f64)> = (0..size)
        .map(|nth| {
            let [_, _, high, low] = nth.to_be_bytes();
            (
                SocketAddr::from(([127, 0, high, low], 80)),
                f64::from(1 + nth % classes),
            )
        })
        .collect();
    let treatment = Treatment {
        accrual: AccrualShared::new(Policy::default(), OutlierPlan::default()),
        decay_us: balancer.kind().decay_us(),
        load_needs: balancer.load_needs(),
        ..Treatment::default()
    };
    EndpointSet::new(&addresses, treatment)
}

fn main() {
    let kinds = [
        ("p2c", Kind::default()),
        (
            "ewma",
            Kind::Ewma {
                max_effort: 5,
                decay_time_ms: 10_000,
                enable_probation: false,
            },
        ),
        (
            "aperture",
            Kind::Aperture {
                smooth_window_ms: 5_000,
                max_effort: 5,
                low_load: 0.5,
                high_load: 2.0,
                min_aperture: 1,
                enable_probation: false,
            },
        ),
        (
            "heap",
            Kind::Heap {
                enable_probation: false,
            },
        ),
        (
            "roundRobin",
            Kind::RoundRobin {
                max_effort: 5,
                enable_probation: false,
            },
        ),
    ];
    let mut rng = fastrand::Rng::with_seed(1);
    for (name, kind) in kinds {
        for (size, classes) in [(1, 1), (10, 1), (10, 3), (1_000, 1)] {
            let balancer = Balancer::new(kind.clone());
            let set = set(&balancer, size, classes);
            for endpoint in &set.endpoints {
                let latency_us = rng.u64(500..2_000);
                endpoint.begin(0).record(Outcome::Success, latency_us, &mut rng);
            }
            measure(&format!("{name}: pick of {size}, {classes} weights"), |now_us| {
                black_box(balancer.pick(black_box(&set), &[], now_us, &mut rng));
            });
        }
        let balancer = Balancer::new(kind.clone());
        let set = set(&balancer, 10, 1);
        let loaded = self::set(&balancer, 1_000, 1);
        let load: Vec<_> = (0..10_000).map(|nth| loaded.endpoints[nth % 1_000].begin(0)).collect();
        measure(&format!("{name}: pick of 1000, ten under way to each"), |now_us| {
            black_box(balancer.pick(black_box(&loaded), &[], now_us, &mut rng));
        });
        drop(load);
        measure(&format!("{name}: begin, record, drop"), |now_us| {
            let mut request = set.endpoints[now_us as usize % 10].begin(now_us);
            request.record(Outcome::Success, now_us + 900, &mut rng);
        });
    }
    let (counter, histogram, client) = (Counter::default(), Histogram::default(), ClientStats::default());
    measure("counter: add", |_| black_box(&counter).add(1));
    measure("histogram: record", |nth| {
        black_box(&histogram).record(500 + nth % 4_000);
    });
    measure("client: finish", |nth| {
        black_box(&client).finish(200, 500 + nth % 4_000, Counted::Success);
    });
}
