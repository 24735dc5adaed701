//! JSON documents as AWS's services answer them.

use serde_json::Value;

/// A document without its members that are null: AWS leaves out what is not there.
pub(crate) fn without_nulls(mut document: Value) -> Value {
    if let Some(members) = document.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    document
}
