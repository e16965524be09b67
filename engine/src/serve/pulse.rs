//! When a connection has waited too long.
//!
//! A timer per request would cost more than the request: instead each connection writes down by when it must have moved on,
//! and the worker, a few times a second, wakes those that have not.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// No deadline.
const NEVER: u64 = u64::MAX;

/// What ended a wait before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The deadline has passed.
    Expired,
    /// The process is stopping and the connection has nothing under way.
    Draining,
}

/// By when one wait must be over, on the worker's clock.
#[derive(Debug)]
pub struct Deadline {
    at_ms: Cell<u64>,
    expired: Cell<bool>,
}

impl Default for Deadline {
    fn default() -> Self {
        Self {
            at_ms: Cell::new(NEVER),
            expired: Cell::new(false),
        }
    }
}

impl Deadline {
    /// Sets it anew; `None` for never.
    pub fn set(&self, at_ms: Option<u64>) {
        self.at_ms.set(at_ms.unwrap_or(NEVER));
        self.expired.set(false);
    }

    /// Moves a deadline that is set, and has not passed, to later.
    pub fn extend(&self, at_ms: u64) {
        if self.at_ms.get() != NEVER && !self.expired.get() {
            self.at_ms.set(at_ms);
        }
    }

    fn passes(&self, now_ms: u64) -> bool {
        now_ms >= self.at_ms.get() && !self.expired.replace(true)
    }
}

/// The life signs of one connection, seen by the connection and by its worker.
#[derive(Debug)]
pub struct Pulse {
    waker: RefCell<Option<Waker>>,
    /// Of whatever the connection waits for.
    pub main: Deadline,
    /// Of a request's body that is sent while the response is awaited, or comes.
    pub upload: Deadline,
    /// Nothing is under way: the connection may be closed at any time.
    pub idle: Cell<bool>,
    draining: Cell<bool>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            waker: RefCell::new(None),
            main: Deadline::default(),
            upload: Deadline::default(),
            idle: Cell::new(true),
            draining: Cell::new(false),
        }
    }
}

impl Pulse {
    /// Sets by when, on the worker's clock, the present wait must be over; `None` for never.
    pub fn expect_by(&self, deadline_ms: Option<u64>) {
        self.main.set(deadline_ms);
    }

    /// Waits for `ready`, but no longer than until the deadline.
    pub fn until<T>(
        &self,
        ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = Result<T, Interrupt>> {
        self.until_by(&self.main, ready)
    }

    /// As `until`, by one of our two deadlines.
    pub fn until_by<T>(
        &self,
        deadline: &Deadline,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = Result<T, Interrupt>> {
        poll_fn(move |context| {
            if let Poll::Ready(value) = ready(context) {
                return Poll::Ready(Ok(value));
            }
            if deadline.expired.get() {
                return Poll::Ready(Err(Interrupt::Expired));
            }
            if self.draining.get() && self.idle.get() {
                return Poll::Ready(Err(Interrupt::Draining));
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Called by the worker: wakes the connection if a deadline of its has passed.
    pub fn check(&self, now_ms: u64) {
        if self.main.passes(now_ms) | self.upload.passes(now_ms) {
            self.wake();
        }
    }

    /// Called by the worker: from now on the connection closes as soon as it is idle.
    pub fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Whether it is to close.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
