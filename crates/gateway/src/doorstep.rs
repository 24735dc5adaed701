//! The last word to who sent no HTTP/1.1 request: a status and a sentence instead of a closed connection.
//!
//! hyper refuses such a request by itself, with an empty body, or not at all, and says why only by the error that its connection ends with. So its refusal is
//! kept back on the way to the socket until that error is there; then it is answered in its place. Afterwards what the caller is still sending is read and thrown
//! away for a while, since a socket that is closed over unread bytes takes the answer with it (RFC 9112, section 9.6).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use frontdesk_upstream::{JOINED_BYTES_MAX, joined};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// What begins a refusal of hyper's own.
const REFUSAL_BEGINS: &[u8] = b"HTTP/1.1 4";
/// None is longer.
const REFUSAL_BYTES_MAX: usize = 512;
/// How long, and how much, a refused caller's bytes are thrown away.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 1 << 20;

/// What the handler tells of its answers.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// An answer was given and has not begun to be written.
    is_due: AtomicBool,
    /// The connection is the handler's own from here on.
    is_upgraded: AtomicBool,
}

impl Answers {
    /// Notes an answer of the handler's, before it is written.
    pub(crate) fn give(&self, status: StatusCode, is_tunnel: bool) {
        self.is_due.store(true, Ordering::Relaxed);
        if status == StatusCode::SWITCHING_PROTOCOLS || is_tunnel && status.is_success() {
            self.is_upgraded.store(true, Ordering::Relaxed);
        }
    }
}

/// A stream on which hyper's own refusals are kept back.
#[derive(Debug)]
pub(crate) struct Doorstep<Stream> {
    stream: Stream,
    answers: Arc<Answers>,
    kept_back: Vec<u8>,
    /// Whether anything was read since the last answer.
    was_spoken_to: bool,
}

impl<Stream: AsyncRead + AsyncWrite + Unpin> Doorstep<Stream> {
    pub(crate) fn new(stream: Stream) -> Doorstep<Stream> {
        Doorstep { stream, answers: Arc::default(), kept_back: Vec::new(), was_spoken_to: false }
    }

    /// Where the handler's answers are noted.
    pub(crate) fn answers(&self) -> Arc<Answers> {
        self.answers.clone()
    }

    /// Says why a connection ends that hyper ended with this error, if there is anything to say and an answer can still be written.
    pub(crate) async fn refuse(self, error: &hyper::Error) {
        let kept_back = self.kept_back.get(REFUSAL_BEGINS.len() - 1..).and_then(|rest| StatusCode::from_bytes(rest.get(..3)?).ok());
        let status = match kept_back {
            Some(status) => status,
            // Who has said nothing is not answered: it may be about to, and would take this for the answer to that.
            None if error.is_timeout() && self.was_spoken_to => StatusCode::REQUEST_TIMEOUT,
            None if error.is_parse() && !error.is_parse_version_h2() => StatusCode::BAD_REQUEST,
            None => return,
        };
        refuse(self.stream, status, reason(status)).await;
    }

    /// Writes what hyper took for written: its connection ended, and with no error.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        if !self.kept_back.is_empty() {
            self.stream.write_all(&self.kept_back).await?;
            self.stream.shutdown().await?;
        }
        Ok(())
    }

    /// Whether this is hyper's own refusal: the handler gave no answer that it could be.
    fn keeps_back(&self, bytes: &[u8]) -> bool {
        let is_the_handler_s = self.answers.is_due.swap(false, Ordering::Relaxed) || self.answers.is_upgraded.load(Ordering::Relaxed);
        !is_the_handler_s && bytes.starts_with(REFUSAL_BEGINS) && bytes.len() <= REFUSAL_BYTES_MAX
    }

    /// Writes what was kept back: hyper goes on, so it was no last word.
    fn release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept_back.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.kept_back))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept_back.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Answers who sent the beginning of a request and no more.
pub(crate) async fn refuse_slow<Stream: AsyncRead + AsyncWrite + Unpin>(stream: Stream) {
    refuse(stream, StatusCode::REQUEST_TIMEOUT, reason(StatusCode::REQUEST_TIMEOUT)).await;
}

/// Answers, in the plain, who spoke plainly where TLS is spoken.
pub(crate) async fn refuse_plain<Stream: AsyncRead + AsyncWrite + Unpin>(stream: Stream) {
    refuse(stream, StatusCode::BAD_REQUEST, "TLS is spoken here: call https://").await;
}

/// Answers who sent no request, and closes. Errors are the caller's loss.
async fn refuse<Stream: AsyncRead + AsyncWrite + Unpin>(mut stream: Stream, status: StatusCode, reason: &str) {
    let (body, status_text) = (format!("{{\"message\":\"{reason}\"}}"), status.canonical_reason().unwrap_or_default());
    let head = format!(
        "HTTP/1.1 {} {status_text}\r\ncontent-type: application/json\r\nx-amzn-errortype: BadRequestException\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        body.len()
    );
    let saying = async {
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER, saying).await;
}

fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::REQUEST_TIMEOUT => "The request line and headers did not arrive in time",
        StatusCode::URI_TOO_LONG => "The request's path is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The request's headers are too large",
        _ => "The request cannot be read as HTTP/1.1",
    }
}

impl<Stream: AsyncRead + AsyncWrite + Unpin> AsyncRead for Doorstep<Stream> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.release(context))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.was_spoken_to |= buffer.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl<Stream: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Doorstep<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.release(context))?;
        if self.keeps_back(bytes) {
            self.kept_back.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.was_spoken_to = false;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(context, only);
        }
        ready!(self.release(context))?;
        // More than a head: it is the handler's.
        self.answers.is_due.store(false, Ordering::Relaxed);
        self.was_spoken_to = false;
        match joined(slices, &mut [0; JOINED_BYTES_MAX]) {
            Some(bytes) => Pin::new(&mut self.stream).poll_write(context, bytes),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.kept_back.is_empty() {
            // Either the connection ends with its error now, or hyper reads on when it is asked again.
            context.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper shuts down before it tells its error. The socket stays open until the last word is said.
        if !self.kept_back.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
