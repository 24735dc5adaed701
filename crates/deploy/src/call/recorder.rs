//! What was called, counted: the proof that a deployment needs no more permissions than it asks for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::operation::Operation;

/// How often each IAM action was called. Attempts count once each.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<BTreeMap<String, u64>>);

impl Recorder {
    pub(super) fn record(&self, operation: &Operation) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(operation.iam_action()).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
