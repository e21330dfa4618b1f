//! One hop to a thread for blocking work, with the view and a handler's errors.

use qfs_store::blocking;

use crate::error::HandlerError;
use crate::view::View;

/// Runs `work` on what `view` shows, where blocking is allowed.
///
/// # Errors
/// What `work` failed with; [`HandlerError::Store`] when it panicked.
pub(super) async fn step<S: Send + Sync + 'static, T: Send + 'static>(
    view: &View<S>,
    work: impl FnOnce(&View<S>) -> Result<T, HandlerError> + Send + 'static,
) -> Result<T, HandlerError> {
    let view = view.clone();
    blocking(move || Ok(work(&view))).await?
}
