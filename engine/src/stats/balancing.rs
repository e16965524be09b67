//! The metrics of a client's balancer and of the health of its endpoints (reference/linker.md §8.6).

use std::sync::atomic::Ordering::Relaxed;

use crate::balance::Balancer;
use crate::endpoint::{EndpointSet, Standing};
use crate::tally::Scope;

/// Adds `loadbalancer/…`, `failure_accrual/…`, `failfast/…` and `available` as of `now_us` to a client's scope.
pub fn balancing(scope: &mut Scope, set: &EndpointSet, balancer: &Balancer, now_us: u64) {
    let size = set.endpoints.len();
    let available = set.available(now_us);
    scope.gauge("loadbalancer/size", size as f64);
    scope.gauge("loadbalancer/available", available as f64);
    scope.gauge("loadbalancer/busy", (size - available) as f64);
    scope.gauge("loadbalancer/closed", 0.0);
    scope.gauge("loadbalancer/load", set.load() as f64);
    scope.gauge("loadbalancer/num_weight_classes", set.classes.len() as f64);
    scope.gauge("loadbalancer/meanweight", set.mean_weight());
    scope.gauge(format!("loadbalancer/algorithm/{}", balancer.kind().algorithm()), 1.0);
    scope.gauge("available", f64::from(u8::from(available > 0)));
    scope.count("loadbalancer/adds", set.adds);
    scope.count("loadbalancer/removes", set.removes);
    scope.count("loadbalancer/updates", set.updates);
    // Ours are built anew at each update, and at no other time.
    scope.count("loadbalancer/rebuilds", set.updates);
    scope.count("loadbalancer/max_effort_exhausted", balancer.max_effort_exhausted());
    scope.count("loadbalancer/busy_weight_classes", balancer.busy_weight_classes());
    aperture(scope, set, balancer);
    let shared = &set.treatment().accrual;
    let counters = &shared.counters;
    scope.count("failure_accrual/removals", counters.removals.load(Relaxed));
    scope.count("failure_accrual/revivals", counters.revivals.load(Relaxed));
    scope.count("failure_accrual/probes", counters.probes.load(Relaxed));
    scope.count("failure_accrual/removed_for_ms", counters.removed_for_ms.load(Relaxed));
    scope.gauge(
        "failure_accrual/panic",
        f64::from(u8::from(shared.census.is_panicking())),
    );
    scope.gauge("failure_accrual/ejected", ejected(set, now_us) as f64);
    if shared.outliers.fail_fast {
        fail_fast(scope, set, now_us);
    }
}

/// How many are out of use.
fn ejected(set: &EndpointSet, now_us: u64) -> usize {
    let out = |standing| match standing {
        Standing::Dead { used, probe_ms } => !used && probe_ms > now_us / 1000,
        Standing::Probing { used } => !used,
        Standing::Alive => false,
    };
    let standings = set.endpoints.iter().map(|endpoint| endpoint.accrual().standing());
    standings.filter(|standing| out(*standing)).count()
}

fn aperture(scope: &mut Scope, set: &EndpointSet, balancer: &Balancer) {
    let Some((aperture, band)) = balancer.aperture() else {
        return;
    };
    let size = aperture.size(band, set.endpoints.len()) as f64;
    scope.gauge("loadbalancer/logical_aperture", size);
    scope.gauge("loadbalancer/physical_aperture", size);
    scope.gauge("loadbalancer/use_deterministic_ordering", 0.0);
    scope.gauge("loadbalancer/eager_connections", 0.0);
    scope.gauge("loadbalancer/loadband/offered_load_ema", f64::from(aperture.load()));
    scope.count("loadbalancer/loadband/widen", aperture.widened.load(Relaxed));
    scope.count("loadbalancer/loadband/narrow", aperture.narrowed.load(Relaxed));
    // Nobody tells a linker which of its peers it is.
    scope.count("loadbalancer/coordinate_updates", 0);
}

fn fail_fast(scope: &mut Scope, set: &EndpointSet, now_us: u64) {
    let (mut dead, mut tries, mut for_ms) = (0, 0, 0);
    for accrual in set.endpoints.iter().map(|endpoint| endpoint.accrual()) {
        if accrual.is_down() {
            dead += 1;
            tries += accrual.tries();
            for_ms += (now_us / 1000).saturating_sub(accrual.closed().0);
        }
    }
    scope.gauge("failfast/is_marked_dead", f64::from(dead));
    scope.gauge("failfast/unhealthy_num_tries", tries as f64);
    scope.gauge("failfast/unhealthy_for_ms", for_ms as f64);
    let counters = &set.treatment().accrual.fail_fast;
    scope.count("failfast/marked_dead", counters.marked_dead.load(Relaxed));
    scope.count("failfast/marked_available", counters.marked_available.load(Relaxed));
}
