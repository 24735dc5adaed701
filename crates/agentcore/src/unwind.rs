//! A panic in a handler ends that one request, not the program.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};

use crate::HandlerError;

/// What the caller is told. The panic's own text is for the log: it may quote what it worked on.
const MESSAGE: &str = "the agent's handler panicked";

/// Awaits `future`; a panic inside becomes [`HandlerError::Internal`].
pub(crate) async fn guard<T, E: Into<HandlerError>>(future: impl Future<Output = Result<T, E>>) -> Result<T, HandlerError> {
    let mut future = pin!(future);
    poll_fn(|context| poll_guarded(context, |context| future.as_mut().poll(context))).await
}

/// Calls `poll`; a panic inside is logged and becomes a finished poll with an error.
///
/// The caller must not poll again what panicked: that is why a panic reads as `Ready`.
pub(crate) fn poll_guarded<T, E: Into<HandlerError>>(
    context: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<Result<T, E>>,
) -> Poll<Result<T, HandlerError>> {
    match catch_unwind(AssertUnwindSafe(|| poll(context))) {
        Ok(polled) => polled.map_err(Into::into),
        Err(panic) => {
            tracing::error!(errorType = "panic", errorMessage = text_of(&*panic), "Handler panicked");
            Poll::Ready(Err(HandlerError::Internal(MESSAGE.to_owned())))
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without text")
}
