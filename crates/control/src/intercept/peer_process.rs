//! Who calls the proxy without showing a credential: Java's clients send none unless their code says so. The process at the other end of a connection on this machine is
//! known to the kernel, and what `exec` and `env` gave it stands in its environment.
//!
//! Nothing is weakened by this: who has the credential in its environment could have sent it. Linux only (proc(5)); elsewhere nobody is found, and is refused as before.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::credential::{ProxyCredentials, ProxyUser};

/// Where the kernel tells of processes and connections.
pub(super) const PROC: &str = "/proc";
/// More of an environment is not read; Linux lets `execve` pass no more by default.
const ENVIRONMENT_BYTES_MAX: u64 = 6 * 1024 * 1024;
/// The variables that hold the proxy's URL.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// A connection on this machine, seen from who made it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connection {
    /// The maker's address.
    pub(super) from: SocketAddr,
    /// The port that was called.
    pub(super) to_port: u16,
}

/// A socket, as the kernel numbers it, and the user who made it.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    inode: u64,
    user_id: u32,
}

/// For whom the credential stands that all holders of a connection's other end have in their environment. `None` where one of them has none, or has another; and
/// where there is more than one such connection, or none. Reads a file or more of each process of that user: not for the async threads.
pub(super) fn user(proc: &Path, connection: Connection, credentials: &ProxyCredentials) -> Option<ProxyUser> {
    let socket = socket(proc, connection)?;
    let mut found = None;
    for process in holders(proc, &socket).ok()? {
        // The host's own relays speak for others.
        if process.file_name() == Some(OsStr::new(&std::process::id().to_string())) {
            return None;
        }
        let user = shown(&process, credentials)?;
        if found.is_some_and(|found| found != user) {
            return None;
        }
        found = Some(user);
    }
    found
}

/// The one socket at the other end.
fn socket(proc: &Path, connection: Connection) -> Option<Socket> {
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(proc.join("net").join(name)).unwrap_or_default());
    // One from the same port to another address of this machine could be somebody else's.
    let mut sockets = tables.iter().flat_map(|table| table.lines()).filter_map(|line| of_line(line, connection));
    let socket = sockets.next()?;
    sockets.next().is_none().then_some(socket)
}

/// The socket of a line of `/proc/net/tcp` or `tcp6`, if it is the connection's: `sl local rem st queues timer retransmits uid timeout inode …` (proc(5)).
fn of_line(line: &str, connection: Connection) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let is_it = local.port() == connection.from.port()
        && local.ip() == connection.from.ip().to_canonical()
        && remote.port() == connection.to_port
        && remote.ip().is_loopback();
    if !is_it {
        return None;
    }
    let user_id = fields.nth(4)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Socket { inode, user_id })
}

/// An address as the tables write it: words of 32 bits in the machine's own order, in hexadecimal, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for word in words.as_bytes().chunks(8) {
        bytes.extend(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// The folders of the processes that hold a socket and are of the user who made it: a socket that was handed to another user's process proves nothing of its maker.
fn holders(proc: &Path, socket: &Socket) -> io::Result<Vec<PathBuf>> {
    let link = OsString::from(format!("socket:[{}]", socket.inode));
    let holds = |process: &Path| {
        let is_its_user_s = process.metadata().is_ok_and(|about| about.uid() == socket.user_id);
        // Others' are not for us to see, unless we are root.
        is_its_user_s
            && std::fs::read_dir(process.join("fd")).is_ok_and(|mut files| {
                files.any(|file| file.and_then(|file| std::fs::read_link(file.path())).is_ok_and(|target| target.as_os_str() == link))
            })
    };
    let processes = std::fs::read_dir(proc)?.filter_map(Result::ok);
    let processes = processes.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    Ok(processes.map(|entry| entry.path()).filter(|process| holds(process)).collect())
}

/// For whom the credential stands in the environment that a process was started with.
fn shown(process: &Path, credentials: &ProxyCredentials) -> Option<ProxyUser> {
    let mut environment = Vec::new();
    File::open(process.join("environ")).ok()?.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment).ok()?;
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='));
    variables.filter(|(name, _)| PROXY_VARIABLES.contains(name)).find_map(|(_, url)| credentials.user_of_url(url))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    const CONNECTION: &str = "127.0.0.1:50000";
    const CONTROL: &str = "http://127.0.0.1:4566";

    /// A `/proc` of processes of this test's user, each with its environment and the inodes of its sockets.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(connections: &[(&str, &str, u64)], processes: &[(u32, &str, &[u64])]) -> Machine {
            let machine = Machine(tempfile::tempdir().unwrap());
            let user_id = machine.0.path().metadata().unwrap().uid();
            machine.write("net/tcp", HEADING);
            let line = |(from, to, inode): &(&str, &str, u64)| {
                format!("   0: {} {} 01 00000000:00000000 00:00000000 00000000 {user_id:>5}        0 {inode} 1\n", hex(from), hex(to))
            };
            // What a client with sockets of both families has: mapped addresses in the second table.
            machine.write("net/tcp6", &format!("{HEADING}\n{}", connections.iter().map(line).collect::<String>()));
            for (id, environment, inodes) in processes {
                machine.write(&format!("{id}/environ"), &environment.replace(' ', "\0"));
                machine.write(&format!("{id}/fd/0"), "");
                for inode in *inodes {
                    symlink(format!("socket:[{inode}]"), machine.0.path().join(format!("{id}/fd/{inode}"))).unwrap();
                }
            }
            machine
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn check(&self, expected: Option<ProxyUser>, about: &str) {
            let connection = Connection { from: CONNECTION.parse().unwrap(), to_port: 4566 };
            assert_eq!(user(self.0.path(), connection, &ProxyCredentials::new("secret")), expected, "{about}");
        }
    }

    /// An address as `tcp6` has it, mapped where it is of the older family.
    fn hex(address: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let words = ip.octets().chunks(4).map(|word| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap()))).collect::<String>();
        format!("{words}:{:04X}", address.port())
    }

    fn environment(user: ProxyUser, secret: &str) -> String {
        format!("A=b HTTPS_PROXY={} LANG=C", ProxyCredentials::new(secret).url(user, CONTROL))
    }

    #[test]
    fn who_was_started_by_exec_needs_to_show_nothing_more() {
        let here = (CONNECTION, "127.0.0.1:4566", 777);
        let exec = environment(ProxyUser::Exec, "secret");
        Machine::new(&[here], &[(10, &exec, &[777])]).check(Some(ProxyUser::Exec), "of exec's");
        Machine::new(&[here], &[(10, &exec.replace("HTTPS", "https").replace("PROXY", "proxy"), &[777])])
            .check(Some(ProxyUser::Exec), "small");
        Machine::new(&[here], &[(10, &exec, &[777]), (11, &exec, &[777]), (12, "A=b", &[778])])
            .check(Some(ProxyUser::Exec), "one with its child");
        let function = environment(ProxyUser::Function, "secret");
        Machine::new(&[here], &[(10, &function, &[777])]).check(Some(ProxyUser::Function), "a function");
        let elsewhere = (CONNECTION, "127.0.0.1:4567", 778);
        Machine::new(&[here, elsewhere], &[(10, &exec, &[777]), (11, "A=b", &[778])])
            .check(Some(ProxyUser::Exec), "another server, the same port");
    }

    #[test]
    fn nobody_else_is_let_in() {
        let here = (CONNECTION, "127.0.0.1:4566", 777);
        let exec = environment(ProxyUser::Exec, "secret");
        Machine::new(&[], &[(10, &exec, &[777])]).check(None, "no such connection");
        Machine::new(&[here], &[(10, &exec, &[778])]).check(None, "another's connection");
        Machine::new(&[here], &[(10, "A=b", &[777])]).check(None, "an environment without it");
        Machine::new(&[here], &[(10, &environment(ProxyUser::Exec, "other"), &[777])]).check(None, "a wrong one");
        Machine::new(&[here], &[(10, &exec.replace("HTTPS_PROXY", "PROXY"), &[777])]).check(None, "another variable");
        Machine::new(&[here], &[(10, &exec, &[777]), (11, "A=b", &[777])]).check(None, "a holder without it");
        let function = environment(ProxyUser::Function, "secret");
        Machine::new(&[here], &[(10, &exec, &[777]), (11, &function, &[777])]).check(None, "two of them");
        Machine::new(&[here, (CONNECTION, "127.0.0.2:4566", 778)], &[(10, &exec, &[777])]).check(None, "two connections");
        Machine::new(&[here], &[(std::process::id(), &exec, &[777])]).check(None, "the host itself");
        Machine::new(&[(CONNECTION, "192.0.2.1:4566", 777)], &[(10, &exec, &[777])]).check(None, "somebody else's server");
        let machine = Machine::new(&[here], &[(10, &exec, &[777])]);
        let table = std::fs::read_to_string(machine.0.path().join("net/tcp6")).unwrap();
        let user_id = machine.0.path().metadata().unwrap().uid();
        machine.write("net/tcp6", &table.replace(&format!(" {user_id:>5} "), &format!(" {:>5} ", user_id + 1)));
        machine.check(None, "another user's socket");
        machine.write("net/tcp6", "nonsense\n 0: a b c\n 1: 0:0 1:1\n");
        machine.check(None, "a table that cannot be read");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_s_own_tables_are_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let called = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(called).unwrap();
        let connection = Connection { from: stream.local_addr().unwrap(), to_port: called.port() };
        let socket = socket(Path::new(PROC), connection).unwrap();
        let holders = holders(Path::new(PROC), &socket).unwrap();
        assert_eq!(holders, [Path::new(PROC).join(std::process::id().to_string())]);
    }
}
