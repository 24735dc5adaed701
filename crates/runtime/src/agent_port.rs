//! The way to an agent's port.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frontdesk_process::Child;
use tokio::net::TcpStream;

/// An agent of this machine takes a connection at once or never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The kernel may offer a port that an agent was given and has not bound yet, but hardly so often in a row.
const LEASE_ATTEMPTS_MAX: usize = 64;

/// The port that one agent listens on, of the loopback address as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AgentPort(u16);

/// The way to a port of a child, whose network may not be the host's.
#[derive(Debug, Clone)]
pub(crate) struct AgentDoor {
    child: Arc<Child>,
    port: AgentPort,
}

/// The ports that agents have. Two that are started at once must not be given the same one: the pings and the calls of one session would reach the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ports(Arc<Mutex<HashSet<AgentPort>>>);

/// An agent's port, its own until this is dropped.
#[derive(Debug)]
pub(crate) struct PortLease {
    pub(crate) port: AgentPort,
    ports: Ports,
}

impl Ports {
    /// A port that is free now. A program that is no agent may take it before the agent binds it; the agent then ends with "address in use", which the caller is
    /// told, and the next call tries another port.
    pub(crate) fn lease(&self) -> io::Result<PortLease> {
        for _ in 0..LEASE_ATTEMPTS_MAX {
            let port = AgentPort(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port());
            if self.leased().insert(port) {
                return Ok(PortLease { port, ports: self.clone() });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn leased(&self) -> MutexGuard<'_, HashSet<AgentPort>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        self.ports.leased().remove(&self.port);
    }
}

impl AgentPort {
    pub(crate) fn number(self) -> u16 {
        self.0
    }
}

impl AgentDoor {
    pub(crate) fn new(child: Arc<Child>, port: AgentPort) -> AgentDoor {
        AgentDoor { child, port }
    }

    /// Where the agent listens, as it sees it itself.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.0).into()
    }

    /// Connects. This is the one place that reaches agents.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.child.connect(self.port.0)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_agents_have_the_same_port() {
        let ports = Ports::default();
        let leases: Vec<PortLease> = (0..200).map(|_| ports.lease().unwrap()).collect();
        let different: HashSet<u16> = leases.iter().map(|lease| lease.port.number()).collect();
        assert_eq!(different.len(), leases.len());
        drop(leases);
        assert!(ports.leased().is_empty());
    }
}
