//! Moto: AWS's services in a Python process, as far as its authors know them. It ends when dropped.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::host::repository;

/// The server.
#[derive(Debug)]
pub struct Moto {
    /// Where it answers for every service.
    pub url: String,
    process: Child,
}

impl Moto {
    /// Starts a server with nothing in it.
    ///
    /// # Panics
    /// When moto is not installed (`tests/install-tools.sh`).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test's own server, which no host keeps")]
    pub fn start() -> Moto {
        let program = repository().join("tests/clients/moto_server.py");
        let mut command = Command::new("python3");
        let mut process = command.arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3");
        let output = process.stdout.take().expect("it is piped");
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).expect("moto's address is text");
        assert!(url.starts_with("http://"), "moto did not start: is it installed (tests/install-tools.sh)?");
        Moto { url: url.trim().to_owned(), process }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
