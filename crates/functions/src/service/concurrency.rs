//! Reserved concurrency, and tags.

use std::collections::BTreeMap;

use super::FunctionService;
use crate::error::FunctionError;

impl FunctionService {
    /// Reserves places for a function, and keeps it to them; `None` takes the reservation back. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::Invalid`] for more than there are.
    pub fn reserve_concurrency(&self, name: &str, reserved: Option<u32>) -> Result<(), FunctionError> {
        if reserved.is_some_and(|reserved| reserved > self.place.invocations_max) {
            return Err(FunctionError::Invalid(format!(
                "Specified ReservedConcurrentExecutions for function is greater than account's unreserved concurrency [{}].",
                self.place.invocations_max
            )));
        }
        self.change(name, |stored| {
            stored.function.reserved_concurrency = reserved;
            Ok(())
        })
    }

    /// Puts tags on a function. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`].
    pub fn tag(&self, name: &str, tags: BTreeMap<String, String>) -> Result<(), FunctionError> {
        self.change(name, |stored| {
            stored.function.tags.extend(tags);
            Ok(())
        })
    }

    /// Takes tags off a function. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`].
    pub fn untag(&self, name: &str, keys: &[String]) -> Result<(), FunctionError> {
        self.change(name, |stored| {
            stored.function.tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }
}
