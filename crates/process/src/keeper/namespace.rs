//! Namespaces: what a child sees of the machine's mounts, processes and network, and the first process of a namespace, which opens sockets inside for the host.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::wire::{self, Order};
use super::{files, system};

/// Shared memory that a child in a mount namespace has for itself.
const SHARED_MEMORY: &str = "mode=1777,size=64m";
/// How long a connection inside the namespace may take: it is loopback, so either somebody listens or nobody does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the host asks for inside.
pub(crate) const CONNECT: u8 = b'C';
/// A listening socket on a port of the namespace's loopback.
pub(crate) const LISTEN: u8 = b'L';

/// Whether namespaces are made without a user namespace around them.
pub(super) fn is_privileged() -> bool {
    system::has_capability(system::SYS_ADMIN)
}

/// Makes the next process forked the first of a process namespace. Without privileges that needs a user namespace, in which we are who we were.
pub(super) fn prepare_processes() -> io::Result<()> {
    if is_privileged() {
        return Ok(unshare(CloneFlags::CLONE_NEWPID)?);
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Enters a new network namespace and switches its loopback on.
pub(super) fn own_network() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)?;
    system::loopback_up()
}

const NONE: Option<&str> = None;

/// Enters a new mount namespace in which the hidden folders are empty but for what the order names inside them, and shared memory is nobody else's.
pub(super) fn own_mounts(order: &Order) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Mounts made by the host later still arrive; ours do not reach it.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?;
    let harmless = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let kept = files::resolve(files::named(order).chain(order.sandbox.private_dirs.iter().map(PathBuf::as_path)));
    for hidden in files::resolve(order.sandbox.hidden.iter().map(PathBuf::as_path)) {
        cover(&hidden, &kept)?;
    }
    if Path::new("/dev/shm").is_dir() {
        mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), harmless, Some(SHARED_MEMORY))?;
    }
    Ok(())
}

/// Lays an empty folder over `hidden` and lets `kept` shine through.
fn cover(hidden: &Path, kept: &[PathBuf]) -> io::Result<()> {
    // Held by descriptor, for their paths lead nowhere once they are covered.
    let mut through = Vec::new();
    let inside = |path: &&PathBuf| path.starts_with(hidden) && path.as_path() != hidden;
    // What lies in another that is kept is seen there.
    let is_seen =
        |path: &PathBuf| kept.iter().any(|other| other != path && other.starts_with(hidden) && other != hidden && path.starts_with(other));
    for path in kept.iter().filter(inside).filter(|path| !is_seen(path)) {
        let held = nix::fcntl::open(path, nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
        through.push((path, path.is_dir(), held));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), hidden, Some("tmpfs"), flags, Some("mode=755,size=64k"))?;
    for (path, is_folder, held) in &through {
        if *is_folder {
            fs::create_dir_all(path)?;
        } else {
            fs::create_dir_all(path.parent().unwrap_or(hidden))?;
            fs::File::create_new(path)?;
        }
        let from = format!("/proc/self/fd/{}", held.as_raw_fd());
        mount(Some(from.as_str()), path.as_path(), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
    }
    Ok(mount(NONE, hidden, NONE, flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, NONE)?)
}

/// Replaces `/proc` by one that shows the namespace's own processes only. Some containers forbid it; then the host's names of processes can be read, as at
/// [`crate::Isolation::Process`].
pub(super) fn own_proc() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, NONE);
}

/// Answers one request of the host's for a socket inside. `false` when the host has gone.
pub(super) fn serve(host: &UnixStream) -> bool {
    let mut request = [0; 3];
    match wire::receive(host, &mut request) {
        Ok((3, _)) => {}
        _ => return false,
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::from_le_bytes([request[1], request[2]])));
    let opened: io::Result<OwnedFd> = if request[0] == LISTEN {
        TcpListener::bind(address).map(OwnedFd::from)
    } else {
        TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map(OwnedFd::from)
    };
    match opened {
        Ok(socket) => wire::send(host, &0_i32.to_le_bytes(), &[socket.as_fd()]).is_ok(),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(nix::libc::ETIMEDOUT);
            wire::send(host, &errno.to_le_bytes(), &[]).is_ok()
        }
    }
}

/// The host's side of [`serve`]: asks and waits for the socket.
pub(crate) fn ask(inside: &UnixStream, kind: u8, port: u16) -> io::Result<OwnedFd> {
    let [low, high] = port.to_le_bytes();
    wire::send(inside, &[kind, low, high], &[])?;
    let mut errno = [0; 4];
    let (length, mut descriptors) = wire::receive(inside, &mut errno)?;
    if length != errno.len() {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    match i32::from_le_bytes(errno) {
        0 => descriptors.pop().ok_or_else(|| io::ErrorKind::InvalidData.into()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
