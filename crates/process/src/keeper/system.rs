//! The few calls of the operating system that have no safe face, each as narrow as it can be.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, Pid};

/// Copies this process. The caller has one thread only, so that the copy may do whatever this process may.
pub(super) fn fork() -> nix::Result<ForkResult> {
    #[expect(
        unsafe_code,
        reason = "keeper, wardens and the first process of a namespace have one thread each: no lock is held by another across the fork"
    )]
    unsafe {
        nix::unistd::fork()
    }
}

/// Waits for any child that has ended: its id and its raw wait status. `None` when none has; an error when there are no children.
pub(super) fn reap() -> nix::Result<Option<(i32, i32)>> {
    let mut status = 0;
    #[expect(
        unsafe_code,
        reason = "nix refuses statuses with real-time signals after having reaped the child; waitpid writes one integer of ours"
    )]
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match Errno::result(pid)? {
        0 => Ok(None),
        pid => Ok(Some((pid, status))),
    }
}

/// Takes possession of a descriptor that arrived by message.
pub(super) fn owned(descriptor: RawFd) -> OwnedFd {
    #[expect(unsafe_code, reason = "the kernel has just made this descriptor for us, and nobody else knows of it")]
    unsafe {
        OwnedFd::from_raw_fd(descriptor)
    }
}

/// Takes over standard input, which the host has made the keeper's end of a socket.
pub(super) fn standard_input() -> io::Result<OwnedFd> {
    nix::unistd::dup(io::stdin()).map_err(io::Error::from)
}

/// The signals that ask a process to end: keeper and wardens leave only when their host does.
pub(super) fn ignore_polite_signals() -> nix::Result<()> {
    for polite in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGPIPE] {
        set_handler(polite, SigHandler::SigIgn)?;
    }
    Ok(())
}

/// Undoes [`ignore_polite_signals`], before a program is executed.
pub(super) fn default_polite_signals() -> nix::Result<()> {
    for polite in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGPIPE] {
        set_handler(polite, SigHandler::SigDfl)?;
    }
    Ok(())
}

fn set_handler(of: Signal, handler: SigHandler) -> nix::Result<()> {
    #[expect(unsafe_code, reason = "ignoring and defaulting install no handler that could run")]
    unsafe { signal(of, handler) }.map(drop)
}

/// Lets no descriptor but the standard three reach the program that is executed next.
pub(super) fn close_on_exec_all() -> nix::Result<()> {
    #[expect(unsafe_code, reason = "sets a flag on descriptors; no memory is involved")]
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop)
}

/// Gives up every capability for whatever is executed later, as root too.
pub(super) fn drop_capabilities() -> nix::Result<()> {
    for capability in 0..64 {
        #[expect(unsafe_code, reason = "an option of this process with integers for arguments")]
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match Errno::result(result) {
            // Beyond the last that this kernel knows.
            Err(Errno::EINVAL) => break,
            result => result?,
        };
    }
    Ok(())
}

/// The version of Landlock in this kernel.
pub(super) fn landlock_version() -> nix::Result<i32> {
    const VERSION: libc::c_uint = 1;
    #[expect(unsafe_code, reason = "asked for its version, the call takes no pointer (landlock_create_ruleset(2))")]
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    Errno::result(version).map(|version| i32::try_from(version).unwrap_or(i32::MAX))
}

/// Switches the loopback interface of a new network namespace on.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
    let mut name = [0; libc::IFNAMSIZ];
    name[0] = b'l' as libc::c_char;
    name[1] = b'o' as libc::c_char;
    let flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("the flags fit, as ifreq has them");
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    #[expect(unsafe_code, reason = "the request is a whole ifreq that outlives the call, as netdevice(7) wants it")]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Whether this process has a capability in the kernel's sense (capabilities(7)).
pub(crate) fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << number) != 0)
}

/// `CAP_SYS_ADMIN`: mounts and namespaces.
pub(crate) const SYS_ADMIN: u32 = 21;

/// `CAP_SETPCAP`: dropping capabilities for good.
pub(super) const SET_PCAP: u32 = 8;

/// `/dev/null`, for reading.
pub(super) fn nothing_to_read() -> io::Result<File> {
    File::open("/dev/null")
}

/// This process's id.
pub(super) fn my_pid() -> i32 {
    Pid::this().as_raw()
}
