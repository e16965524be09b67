//! A logical path: what it has in common whatever dtabs its requests bring.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::budget::{Budget, BudgetPlan};
use crate::mail::lock;
use crate::spent::SpentBudgets;
use crate::stats::{PathStats, ServiceStats};

/// The metrics of one logical path, whatever dtabs its requests brought.
#[derive(Debug)]
pub struct Service {
    pub path: Box<str>,
    /// One block a worker.
    pub stats: Box<[Arc<ServiceStats>]>,
    /// The metrics of this path through each client.
    through: Mutex<HashMap<Box<str>, PathBlocks>>,
    /// What its retries cost, whatever dtabs they brought; none before its first answer.
    budget: Mutex<Option<Arc<Budget>>>,
    /// Where it goes when no name needs the service any more.
    spent: Arc<SpentBudgets>,
}

/// One block a worker.
pub(super) type PathBlocks = Arc<[PathStats]>;

impl Service {
    pub(super) fn new(path: &str, workers: usize, spent: Arc<SpentBudgets>) -> Self {
        Self {
            path: path.into(),
            stats: (0..workers).map(|_| Arc::new(ServiceStats::default())).collect(),
            through: Mutex::default(),
            budget: Mutex::default(),
            spent,
        }
    }

    /// The budget for retries, made anew when the operator has changed it.
    pub(super) fn budget_of(&self, plan: BudgetPlan) -> Arc<Budget> {
        let mut budget = lock(&self.budget);
        match &*budget {
            Some(budget) if *budget.plan() == plan => budget.clone(),
            former => {
                let kept = former.is_none().then(|| self.spent.take(&self.path, plan)).flatten();
                budget
                    .insert(kept.unwrap_or_else(|| Arc::new(Budget::new(plan, self.stats.len()))))
                    .clone()
            }
        }
    }

    /// How many requests may be retried now; none before the first answer.
    pub fn retries_left(&self, now_ms: u64) -> Option<u64> {
        lock(&self.budget).as_ref().map(|budget| budget.balance(now_ms))
    }

    pub(super) fn through_client(&self, client: &str) -> PathBlocks {
        let mut through = lock(&self.through);
        if let Some(blocks) = through.get(client) {
            return blocks.clone();
        }
        if through.len() == through.capacity() {
            // The next sweep may be a minute away, and requests can name thousands of clients until then.
            through.retain(|_, blocks| Arc::strong_count(blocks) > 1);
            let in_use = through.len();
            through.reserve(in_use.max(1));
        }
        let blocks: PathBlocks = self.stats.iter().map(|_| PathStats::default()).collect();
        through.insert(client.into(), blocks.clone());
        blocks
    }

    /// Drops the metrics of clients that no answer names any more: dtabs of requests can name any number of them.
    pub(super) fn forget_unused(&self) {
        lock(&self.through).retain(|_, blocks| Arc::strong_count(blocks) > 1);
    }

    /// The metrics of this path through each client that it goes through.
    pub fn through(&self) -> Vec<(Box<str>, PathBlocks)> {
        let through = lock(&self.through);
        through
            .iter()
            .map(|(client, blocks)| (client.clone(), blocks.clone()))
            .collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(budget) = lock(&self.budget).take() {
            self.spent.keep(&self.path, budget);
        }
    }
}
