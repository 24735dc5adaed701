//! What host, keeper and wardens say to one another: descriptors by message, orders and reports as frames with their length in front.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::system;
use crate::sandbox::{Isolation, Limits, Sandbox, SandboxUser};

/// Longest frame. The kernel takes 2 MiB of arguments and environment (execve(2)).
pub(super) const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most descriptors in a message.
const DESCRIPTORS_MAX: usize = 4;

/// What the host asks of a warden after its order, a byte each.
pub(crate) const TERMINATE: u8 = b'T';
/// End all of it at once.
pub(crate) const KILL: u8 = b'K';

/// A program to be started in a sandbox.
#[derive(Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) working_dir: Option<PathBuf>,
    pub(crate) sandbox: Sandbox,
}

/// What a warden tells its host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The program runs: its id and the warden's.
    Started { pid: i32, warden: i32 },
    /// It could not be started: what failed, and the operating system's number for it (0 where it has none).
    Refused { errno: i32, what: String },
    /// It ended, and nothing of it is left: its wait status, and why the warden ended it if the warden did.
    Ended { status: i32, reason: Option<String> },
}

/// A frame being written.
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Writer {
        Writer(vec![0; 4])
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn maybe(&mut self, number: Option<u64>) {
        self.number(u64::from(number.is_some()));
        self.number(number.unwrap_or_default());
    }

    fn paths<'p>(&mut self, paths: impl ExactSizeIterator<Item = &'p OsStr>) {
        self.number(paths.len() as u64);
        for path in paths {
            self.bytes(path.as_bytes());
        }
    }

    /// The frame with its length in front.
    fn finish(mut self) -> io::Result<Vec<u8>> {
        let length = self.0.len() - 4;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::ArgumentListTooLong, "arguments and environment are too long"));
        }
        let length = u32::try_from(length).expect("the longest frame is shorter");
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        Ok(self.0)
    }
}

/// A frame being read.
struct Reader<'f>(&'f [u8]);

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a damaged frame")
}

impl<'f> Reader<'f> {
    fn take(&mut self, length: usize) -> io::Result<&'f [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    fn integer<N: TryFrom<u64>>(&mut self) -> io::Result<N> {
        N::try_from(self.number()?).map_err(|_| damaged())
    }

    fn text(&mut self) -> io::Result<OsString> {
        let length = self.integer()?;
        Ok(OsString::from_vec(self.take(length)?.to_vec()))
    }

    fn maybe(&mut self) -> io::Result<Option<u64>> {
        let is_some = self.number()? != 0;
        let number = self.number()?;
        Ok(is_some.then_some(number))
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let length = self.number()?;
        (0..length).map(|_| one(self)).collect()
    }

    fn paths(&mut self) -> io::Result<Vec<PathBuf>> {
        self.list(|reader| reader.text().map(PathBuf::from))
    }
}

impl Order {
    /// As a frame.
    pub(crate) fn to_frame(&self) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new();
        writer.bytes(self.program.as_os_str().as_bytes());
        writer.paths(self.arguments.iter().map(OsString::as_os_str));
        writer.number(self.environment.len() as u64);
        for (name, value) in &self.environment {
            writer.bytes(name.as_bytes());
            writer.bytes(value.as_bytes());
        }
        writer.paths(self.working_dir.iter().map(|path| path.as_os_str()));
        let Sandbox { isolation, limits, private_dirs, readable, hidden, user } = &self.sandbox;
        writer.number(match isolation {
            Isolation::None => 0,
            Isolation::Process => 1,
            Isolation::Namespace => 2,
        });
        for limit in
            [limits.memory_bytes, limits.processes.map(u64::from), limits.open_files, limits.file_bytes, limits.cpus.map(f64::to_bits)]
        {
            writer.maybe(limit);
        }
        for paths in [private_dirs, readable, hidden] {
            writer.paths(paths.iter().map(|path| path.as_os_str()));
        }
        writer.maybe(user.map(|user| u64::from(user.uid) << 32 | u64::from(user.gid)));
        writer.finish()
    }

    pub(super) fn parse(frame: &[u8]) -> io::Result<Order> {
        let mut reader = Reader(frame);
        Ok(Order {
            program: reader.text()?.into(),
            arguments: reader.list(Reader::text)?,
            environment: reader.list(|reader| Ok((reader.text()?, reader.text()?)))?,
            working_dir: reader.paths()?.pop(),
            sandbox: Sandbox {
                isolation: match reader.number()? {
                    0 => Isolation::None,
                    1 => Isolation::Process,
                    2 => Isolation::Namespace,
                    _ => return Err(damaged()),
                },
                limits: Limits {
                    memory_bytes: reader.maybe()?,
                    processes: reader.maybe()?.map(u32::try_from).transpose().map_err(|_| damaged())?,
                    open_files: reader.maybe()?,
                    file_bytes: reader.maybe()?,
                    cpus: reader.maybe()?.map(f64::from_bits),
                },
                private_dirs: reader.paths()?,
                readable: reader.paths()?,
                hidden: reader.paths()?,
                user: reader.maybe()?.map(|user| SandboxUser { uid: (user >> 32) as u32, gid: user as u32 }),
            },
        })
    }
}

impl Report {
    pub(super) fn to_frame(&self) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new();
        let (kind, first, second, text) = match self {
            Report::Started { pid, warden } => (0, *pid, *warden, None),
            Report::Refused { errno, what } => (1, *errno, 0, Some(what)),
            Report::Ended { status, reason } => (2, *status, 0, reason.as_ref()),
        };
        writer.number(kind);
        writer.number(u64::from(first.cast_unsigned()));
        writer.number(u64::from(second.cast_unsigned()));
        writer.paths(text.map(OsStr::new).into_iter());
        writer.finish()
    }

    pub(crate) fn parse(frame: &[u8]) -> io::Result<Report> {
        let mut reader = Reader(frame);
        let kind = reader.number()?;
        let first = reader.integer::<u32>()?.cast_signed();
        let second = reader.integer::<u32>()?.cast_signed();
        let text = reader.paths()?.pop().map(|text| text.to_string_lossy().into_owned());
        match kind {
            0 => Ok(Report::Started { pid: first, warden: second }),
            1 => Ok(Report::Refused { errno: first, what: text.unwrap_or_default() }),
            2 => Ok(Report::Ended { status: first, reason: text }),
            _ => Err(damaged()),
        }
    }
}

/// The length of a frame from the four bytes in front of it.
pub(crate) fn frame_length(prefix: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > FRAME_BYTES_MAX { Err(damaged()) } else { Ok(length) }
}

/// Reads one frame.
pub(super) fn read_frame(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let mut frame = vec![0; frame_length(prefix)?];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// Sends bytes with descriptors. The bytes must be few, for they go in one piece.
pub(super) fn send(to: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let descriptors: Vec<RawFd> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let attached: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(bytes)], attached, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives what [`send`] sent: how many bytes, 0 at the end, and the descriptors.
pub(super) fn receive(from: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut buffers = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(arrived) = part {
            descriptors.extend(arrived.into_iter().map(system::owned));
        }
    }
    Ok((message.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_sent() {
        let order = Order {
            program: "/bin/a b".into(),
            arguments: vec!["".into(), OsString::from_vec(vec![0xff, b'x'])],
            environment: vec![("A".into(), "=\n".into())],
            working_dir: Some("/somewhere".into()),
            sandbox: Sandbox {
                isolation: Isolation::Namespace,
                limits: Limits { memory_bytes: Some(u64::MAX), processes: None, open_files: Some(0), file_bytes: None, cpus: Some(0.5) },
                private_dirs: vec!["/p".into(), "/q".into()],
                readable: vec![],
                hidden: vec!["/h".into()],
                user: Some(SandboxUser { uid: u32::MAX - 1, gid: 7 }),
            },
        };
        let frame = order.to_frame().unwrap();
        assert_eq!(Order::parse(&read_frame(frame.as_slice()).unwrap()).unwrap(), order);
        assert!(Order::parse(&frame[4..frame.len() - 1]).is_err());
    }

    #[test]
    fn a_report_arrives_as_it_was_sent() {
        for report in [
            Report::Started { pid: 5, warden: 6 },
            Report::Refused { errno: 2, what: "failed to do it".to_owned() },
            Report::Ended { status: -1, reason: None },
            Report::Ended { status: 9, reason: Some("too much".to_owned()) },
        ] {
            let frame = report.to_frame().unwrap();
            assert_eq!(Report::parse(&read_frame(frame.as_slice()).unwrap()).unwrap(), report);
        }
    }
}
