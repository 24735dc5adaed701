//! A real PostgreSQL server in a folder of its own, reached by a Unix socket, so that no port can be taken. It is stopped when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The server.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
}

impl Postgres {
    /// Makes a server in an empty folder with a short path, and starts it.
    ///
    /// # Panics
    /// When PostgreSQL is not installed (`tests/install-tools.sh`).
    #[must_use]
    pub fn start(folder: &Path) -> Postgres {
        let postgres = Postgres { folder: folder.to_owned(), programs: programs() };
        if is_root() {
            // The server refuses to run as root; its package made a user for it.
            run(Command::new("chown").arg("postgres").arg(folder));
        }
        // Without flushes: what a power cut does is not tested here.
        run(postgres.program("initdb").args(["--auth=trust", "--no-sync", "--username=postgres", "--pgdata"]).arg(postgres.data()));
        postgres.resume();
        postgres
    }

    /// Where hosts find it.
    #[must_use]
    pub fn url(&self) -> String {
        let folder = self.folder.to_str().expect("a temporary folder's path is text").replace('/', "%2F");
        format!("postgres://postgres@{folder}/postgres")
    }

    /// Stops it as a crash does: connections are cut and nothing is tidied up.
    pub fn stop(&self) {
        run(self.program("pg_ctl").args(["--mode=immediate", "--wait", "stop", "--pgdata"]).arg(self.data()));
    }

    /// Starts it again.
    pub fn resume(&self) {
        let options = format!("-c listen_addresses= -c fsync=off -k {}", self.folder.display());
        let mut command = self.program("pg_ctl");
        command.args(["--wait", "--silent", "--options", &options, "start", "--pgdata"]).arg(self.data());
        run(command.arg("--log").arg(self.folder.join("log")));
    }

    /// Sends a signal to the server and all its processes: `-STOP` makes it deaf and dumb with its connections open, `-CONT` wakes it.
    pub fn signal(&self, signal: &str) {
        run(&mut self.kill(signal).expect("the server runs"));
    }

    /// The command that sends a signal; none while the server is stopped.
    fn kill(&self, signal: &str) -> Option<Command> {
        let pid_file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid = pid_file.lines().next()?;
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", pid]).output().expect("ps(1) is there");
        let mut kill = Command::new("kill");
        // The parent first: it starts a process for each connection.
        kill.args([signal, pid]).args(String::from_utf8_lossy(&children.stdout).split_whitespace());
        Some(kill)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        if !is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path).current_dir(&self.folder);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test may have failed while nobody here could hear; or all is stopped already.
        let _ = self.kill("-CONT").map(|mut kill| kill.output());
        let _ = self.program("pg_ctl").args(["--mode=immediate", "stop", "--pgdata"]).arg(self.data()).output();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("--user").output().expect("id(1) is there");
    id.stdout == b"0\n"
}

/// The folder of `initdb`: in the path, or where Debian keeps it, the newest version.
fn programs() -> PathBuf {
    let in_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let mut versions: Vec<PathBuf> = versions.collect();
    versions.sort();
    let found = in_path.into_iter().chain(versions.into_iter().rev()).find(|folder| folder.join("initdb").exists());
    found.expect("PostgreSQL is installed (tests/install-tools.sh)")
}

fn run(command: &mut Command) {
    let ran = command.stdin(std::process::Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {ran:?}");
}
