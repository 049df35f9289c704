//! A body with a limit of time, whose panics are failures.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;

use crate::body::panicked;
use crate::env::SendFuture;
use crate::failure::Failure;
use crate::guard;

/// The user's future, ended by a panic of its own or by the timer, with the failure to end with.
#[pin_project]
pub(crate) struct Limited<F> {
    #[pin]
    body: F,
    limit: Option<(SendFuture, Failure)>,
}

impl<F> Limited<F> {
    pub(crate) fn new(body: F, limit: Option<(SendFuture, Failure)>) -> Self {
        Self { body, limit }
    }
}

impl<T, F: Future<Output = Result<T, Failure>>> Future for Limited<F> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match guard::catch(|| this.body.poll(cx)) {
            Ok(Poll::Ready(result)) => return Poll::Ready(result),
            Ok(Poll::Pending) => {}
            Err(caught) => return Poll::Ready(Err(panicked(caught))),
        }
        match this.limit {
            Some((timer, late)) => timer.as_mut().poll(cx).map(|()| Err(late.clone())),
            None => Poll::Pending,
        }
    }
}
