//! What is still done for a request that is refused.

use std::time::Duration;

use bytes::Buf as _;
use http::{Request, Version};
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// How much is read of who is refused, in bytes, and for how long: as much as a client sends before it hears anything.
const BYTES_MAX: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_millis(500);

/// Reads the body of a request that is refused, if it is short. An HTTP/2 client that has not sent all of it when its stream is closed may take that for a failure
/// and never look at the answer (curl 7.88 does); an HTTP/1.1 connection is closed in its time by hyper.
pub async fn discard_refused<B: Body + Unpin>(request: Request<B>) {
    if request.version() != Version::HTTP_2 || request.body().size_hint().lower() > BYTES_MAX as u64 {
        return;
    }
    let mut body = request.into_body();
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await
            && bytes <= BYTES_MAX
        {
            bytes += frame.data_ref().map_or(0, |data| data.remaining());
        }
    };
    let _ = tokio::time::timeout(TIMEOUT, reading).await;
}
