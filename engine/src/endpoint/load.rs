//! Who else has to know how many requests are under way to an endpoint: balancers that don't find out by asking it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::levels::Levels;
use super::offered::OfferedLoad;

/// What a balancer wants to be told of the load of its endpoints.
#[derive(Clone, Debug, Default)]
pub enum LoadNeeds {
    /// Nothing.
    #[default]
    None,
    /// Which are the least loaded.
    Least,
    /// How many requests are under way to all of them.
    Total(Arc<OfferedLoad>),
}

/// Where an endpoint stands in its set's bitmaps.
#[derive(Debug)]
pub(super) struct Seat {
    pub levels: Arc<Levels>,
    pub index: usize,
}

/// To whom an endpoint tells its load.
#[derive(Debug)]
pub(super) enum LoadListener {
    Least(ArcSwapOption<Seat>),
    Total(Arc<OfferedLoad>),
}

impl LoadListener {
    /// Makes the listener of one endpoint; none if nobody wants to know.
    pub fn new(needs: &LoadNeeds) -> Option<Box<Self>> {
        match needs {
            LoadNeeds::None => None,
            LoadNeeds::Least => Some(Box::new(Self::Least(ArcSwapOption::empty()))),
            LoadNeeds::Total(total) => Some(Box::new(Self::Total(total.clone()))),
        }
    }

    /// A request has begun or ended, at this time if it is known (else an earlier one).
    pub fn changed(&self, before: u32, now: u32, now_us: u64) {
        match self {
            Self::Least(seat) => {
                if let Some(seat) = &*seat.load() {
                    seat.levels.put(seat.index, Some(before), now);
                }
            }
            Self::Total(total) if now > before => total.begin(now_us),
            Self::Total(total) => total.end(now_us),
        }
    }

    /// The endpoint is in another set.
    pub fn sit(&self, levels: &Arc<Levels>, index: usize, load: impl Fn() -> u32) {
        if let Self::Least(seat) = self {
            let levels = levels.clone();
            seat.store(Some(Arc::new(Seat {
                levels: levels.clone(),
                index,
            })));
            // Read only now: what changes from here on is told to the new seat.
            levels.put(index, None, load());
        }
    }
}
