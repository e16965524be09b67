//! Budgets for retries of services that no name needs any more.
//!
//! A stranger who names thousands of hosts pushes others out of the cache of names; one that comes back must not find a full
//! budget where it left an empty one. Only what was drawn on is kept: a budget that is full is as good new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::budget::{Budget, BudgetPlan};
use crate::mail::lock;

/// So many are known; what is drawn on beyond that is forgotten with its name.
const MOST: usize = 4096;

/// The budgets, by the service's path.
#[derive(Debug, Default)]
pub struct SpentBudgets(Mutex<HashMap<Box<str>, Arc<Budget>>>);

impl SpentBudgets {
    /// Keeps a budget whose service goes, if any retries were taken out of it.
    pub fn keep(&self, path: &str, budget: Arc<Budget>) {
        let mut kept = lock(&self.0);
        if budget.was_drawn_on() && kept.len() < MOST {
            kept.insert(path.into(), budget);
        }
    }

    /// Gives back what is left of a service's budget, if it has the same plan.
    pub fn take(&self, path: &str, plan: BudgetPlan) -> Option<Arc<Budget>> {
        lock(&self.0).remove(path).filter(|budget| *budget.plan() == plan)
    }

    /// Forgets budgets that have filled up again.
    pub fn forget_filled(&self, now_ms: u64) {
        lock(&self.0).retain(|_, budget| budget.is_drawn_on(now_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: u32 = 10_000;

    fn plan(min_retries_per_sec: u32) -> BudgetPlan {
        BudgetPlan {
            min_retries_per_sec,
            percent_can_retry: 0.0,
            ttl_ms: TTL_MS,
        }
    }

    fn drawn_on() -> Arc<Budget> {
        let budget = Arc::new(Budget::new(plan(1), 1));
        assert!(budget.withdraw(5));
        budget
    }

    #[test]
    fn what_was_drawn_on_is_given_back_once_and_to_the_same_plan_only() {
        let spent = SpentBudgets::default();
        spent.keep("/svc/web", drawn_on());
        assert!(spent.take("/svc/api", plan(1)).is_none());
        assert_eq!(spent.take("/svc/web", plan(1)).map(|budget| budget.balance(6)), Some(9));
        assert!(spent.take("/svc/web", plan(1)).is_none());
        spent.keep("/svc/web", drawn_on());
        assert!(spent.take("/svc/web", plan(2)).is_none());
        spent.keep("/svc/full", Arc::new(Budget::new(plan(1), 1)));
        assert!(spent.take("/svc/full", plan(1)).is_none());
    }

    #[test]
    fn what_has_filled_up_is_forgotten() {
        let spent = SpentBudgets::default();
        spent.keep("/svc/web", drawn_on());
        spent.forget_filled(u64::from(TTL_MS) - 100);
        assert_eq!(lock(&spent.0).len(), 1);
        spent.forget_filled(2 * u64::from(TTL_MS));
        assert_eq!(lock(&spent.0).len(), 0);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let spent = SpentBudgets::default();
        for number in 0..2 * MOST {
            spent.keep(&number.to_string(), drawn_on());
        }
        assert_eq!(lock(&spent.0).len(), MOST);
    }
}
