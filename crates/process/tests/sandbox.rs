//! Real programs in real sandboxes. This executable is the keeper too, and with `host` for an argument a host that a test can kill.
//!
//! Run as root it does everything twice, the second time as the user `nobody`.

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    frontdesk_process::supervise_if_asked();
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use frontdesk_process::{Child, ChildSpec, Isolation, Limits, LogFile, Sandbox, SandboxUser, SpawnError, Spawner, enforcement};
    use tempfile::TempDir;

    const MIB: u64 = 1024 * 1024;
    const NOBODY: u32 = 65534;
    /// A user without a name, for children of a host that is root.
    const OWN: SandboxUser = SandboxUser { uid: 190_317, gid: 190_317 };
    /// A failing test must end, whatever it waits for.
    const PATIENCE: Duration = Duration::from_secs(60);

    pub(crate) fn main() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if let Some([name, folder]) = arguments.strip_prefix(&["host".to_owned()]) {
            return host(name, Path::new(folder));
        }
        let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
        let is_wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter.as_str()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for isolation in [Isolation::Process, Isolation::Namespace] {
            for (name, test) in TESTS {
                let name = format!("{name} ({isolation:?}, user {})", nix::unistd::geteuid());
                if is_wanted(&name) {
                    println!("{name}");
                    let bench = Bench::new(isolation);
                    runtime.block_on(async { tokio::time::timeout(PATIENCE, test(bench)).await.expect("the test takes too long") });
                }
            }
        }
        if nix::unistd::geteuid().is_root() {
            // The build folder may lie where nobody may look: the executable goes where it can be read.
            let place = tempfile::tempdir().unwrap();
            fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let copy = place.path().join("sandbox-test");
            fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
            let mut again = Command::new(copy);
            again.args(&arguments).uid(NOBODY).gid(NOBODY).current_dir("/").env("TMPDIR", "/tmp");
            assert!(again.status().unwrap().success(), "as nobody");
        }
        println!("all passed");
    }

    type Test = fn(Bench) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

    macro_rules! tests {
        ($($name:ident),* $(,)?) => {
            const TESTS: &[(&str, Test)] = &[$((stringify!($name), |bench| Box::pin($name(bench)))),*];
        };
    }

    tests! {
        output_and_status_are_told,
        the_environment_is_exactly_what_was_given,
        what_cannot_be_executed_is_refused_with_the_reason,
        private_folders_can_be_written_and_no_others,
        hidden_folders_cannot_be_read,
        no_privileges_are_left,
        other_processes_cannot_be_touched,
        limits_of_open_files_and_file_sizes_bind,
        whoever_eats_memory_is_ended_and_the_reason_told,
        whoever_forks_without_end_is_ended_and_the_reason_told,
        memory_is_that_of_all_together,
        what_ignores_sigterm_is_killed_after_the_grace,
        what_heeds_sigterm_ends_by_itself,
        what_detaches_itself_ends_with_the_program,
        what_detaches_itself_ends_when_stopped,
        nothing_outlives_a_killed_host,
        nothing_outlives_a_killed_warden,
        a_killed_keeper_is_replaced,
        usage_is_that_of_the_whole_tree,
        a_flood_of_output_is_read_and_turned_over,
        a_port_of_the_child_can_be_reached,
        control_groups_are_entered_and_removed,
        processes_leave_no_zombies,
        enforcement_is_told,
    }

    /// A place to try things at: private and hidden folders, and a spawner.
    struct Bench {
        folder: TempDir,
        isolation: Isolation,
    }

    impl Bench {
        fn new(isolation: Isolation) -> Bench {
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let bench = Bench { folder, isolation };
            fs::create_dir_all(bench.path("code/data/sessions")).unwrap();
            fs::write(bench.path("code/main.txt"), "code").unwrap();
            fs::write(bench.path("code/data/secret.txt"), "classified").unwrap();
            bench
        }

        fn path(&self, below: &str) -> PathBuf {
            self.folder.path().join(below)
        }

        /// The private folder lies inside the hidden one, which lies inside the readable one: as a data folder in a project does.
        fn sandbox(&self) -> Sandbox {
            Sandbox {
                isolation: self.isolation,
                limits: Limits::default(),
                private_dirs: vec![self.path("code/data/sessions/1")],
                readable: vec![self.path("code")],
                hidden: vec![self.path("code/data")],
                user: nix::unistd::geteuid().is_root().then_some(OWN),
            }
        }

        fn shell(&self, script: &str) -> ChildSpec {
            self.program("/bin/sh", &["-c", script])
        }

        fn program(&self, program: &str, arguments: &[&str]) -> ChildSpec {
            ChildSpec {
                program: program.into(),
                arguments: arguments.iter().map(OsString::from).collect(),
                environment: vec![
                    ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
                    ("CODE".into(), self.path("code").into()),
                    ("OWN".into(), self.path("code/data/sessions/1").into()),
                ],
                working_dir: None,
                log_file: None,
                listener: None,
                sandbox: self.sandbox(),
            }
        }

        async fn start(&self, spec: ChildSpec) -> Child {
            Spawner::start().unwrap().spawn(spec).await.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
        }

        /// Runs a script to its end: how it ended, and what it printed.
        async fn run(&self, script: &str) -> (String, String) {
            self.run_with(script, Limits::default()).await
        }

        async fn run_with(&self, script: &str, limits: Limits) -> (String, String) {
            let mut spec = self.shell(script);
            spec.sandbox.limits = limits;
            let child = self.start(spec).await;
            (child.wait().await.to_string(), child.tail())
        }
    }

    /// Waits until something is so. There is no event for it, since it happens among strangers.
    async fn until(mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The processes that have a word among their arguments, zombies left out.
    fn processes_with(word: &str) -> Vec<i32> {
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).split('\0').any(|argument| argument == word))
        })
        .collect()
    }

    /// A length of sleep that no other test uses, so that its processes can be found by it.
    fn unique_sleep() -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        format!("{}.{}", 100_000 + std::process::id(), NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    async fn output_and_status_are_told(bench: Bench) {
        assert_eq!(bench.run("echo out; echo err >&2; exit 3").await.0, "exit status: 3");
        assert_eq!(bench.run("echo out").await, ("exit status: 0".to_owned(), "out".to_owned()));
        assert_eq!(bench.run("kill -9 $$").await.0, "signal: 9 (SIGKILL)");
    }

    async fn the_environment_is_exactly_what_was_given(bench: Bench) {
        let mut spec = bench.program("/usr/bin/env", &[]);
        spec.environment = vec![("ONE".into(), "1".into()), ("TWO".into(), "a=b c".into())];
        let child = bench.start(spec).await;
        child.wait().await;
        assert_eq!(child.tail(), "ONE=1\nTWO=a=b c");
        // Nor are there descriptors but the standard three (and the one that lists them), nor the host's session.
        assert_eq!(bench.run("ls /proc/self/fd | tr '\\n' ' '").await.1, "0 1 2 3");
    }

    async fn what_cannot_be_executed_is_refused_with_the_reason(bench: Bench) {
        let spawner = Spawner::start().unwrap();
        match spawner.spawn(bench.program("/nowhere/at/all", &[])).await {
            Err(SpawnError::Refused { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
        let mut spec = bench.shell("true");
        spec.working_dir = Some("/nowhere".into());
        match spawner.spawn(spec).await {
            Err(SpawnError::Refused { source, .. }) => assert!(source.to_string().contains("failed to enter /nowhere"), "{source}"),
            other => panic!("{other:?}"),
        }
    }

    async fn private_folders_can_be_written_and_no_others(bench: Bench) {
        let (_, printed) = bench.run("echo hello > $OWN/file && cat $OWN/file").await;
        assert_eq!(printed, "hello");
        assert_eq!(fs::metadata(bench.path("code/data/sessions/1")).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(bench.path("open")).unwrap();
        fs::set_permissions(bench.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(bench.path("code"), fs::Permissions::from_mode(0o777)).unwrap();
        for place in [bench.path("open"), bench.path("code"), "/tmp".into(), "/var/tmp".into()] {
            let (ended, printed) = bench.run(&format!("echo hello > {}/file", place.display())).await;
            assert_ne!(ended, "exit status: 0", "{}", place.display());
            assert!(printed.contains("ermission denied"), "{printed}");
        }
        assert!(!bench.path("open/file").exists());
    }

    async fn hidden_folders_cannot_be_read(bench: Bench) {
        // The files' own rights would allow it.
        fs::create_dir_all(bench.path("code/data/sessions/2")).unwrap();
        fs::write(bench.path("code/data/sessions/2/other.txt"), "another's").unwrap();
        assert_eq!(bench.run("cat $CODE/main.txt").await.1, "code");
        for file in ["data/secret.txt", "data/sessions/2/other.txt"] {
            let (ended, printed) = bench.run(&format!("cat $CODE/{file}")).await;
            assert_eq!(ended, "exit status: 1", "{file}");
            assert!(!printed.contains("classified") && !printed.contains("another's"), "{printed}");
        }
        // A folder that was never named is not readable either.
        fs::write(bench.path("else.txt"), "else").unwrap();
        assert_eq!(bench.run(&format!("cat {}", bench.path("else.txt").display())).await.0, "exit status: 1");
    }

    async fn no_privileges_are_left(bench: Bench) {
        let (_, status) = bench.run("cat /proc/self/status").await;
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        if nix::unistd::geteuid().is_root() {
            assert_eq!(bench.run("id -u; id -G").await.1, format!("{0}\n{0}", OWN.uid));
            // As root, but without what makes root mighty.
            let mut spec = bench.shell("cat /proc/self/status");
            spec.sandbox.user = None;
            let child = bench.start(spec).await;
            child.wait().await;
            assert!(child.tail().contains("CapEff:\t0000000000000000"), "{}", child.tail());
        }
    }

    async fn other_processes_cannot_be_touched(bench: Bench) {
        let me = std::process::id();
        assert_ne!(bench.run(&format!("kill -0 {me}")).await.0, "exit status: 0");
        let (_, printed) = bench.run(&format!("cat /proc/{me}/environ")).await;
        assert!(printed.contains("ermission denied") || printed.contains("No such file"), "{printed}");
        if bench.isolation == Isolation::Namespace {
            // Its first process, the shell and what lists.
            assert_eq!(bench.run("echo /proc/[0-9]*").await.1, "/proc/1 /proc/2");
        }
    }

    async fn limits_of_open_files_and_file_sizes_bind(bench: Bench) {
        let limits = Limits { open_files: Some(16), file_bytes: Some(64 * 1024), ..Limits::default() };
        assert_eq!(bench.run_with("ulimit -n; ulimit -c", limits).await.1, "16\n0");
        let (_, printed) = bench.run_with("python3 -c 'files = [open(\"/dev/null\") for _ in range(20)]'", limits).await;
        assert!(printed.contains("Too many open files"), "{printed}");
        let (ended, _) = bench.run_with("exec dd if=/dev/zero of=$OWN/big bs=4096 count=100", limits).await;
        assert_eq!(ended, "killed: wrote a file of more than 64 KB");
        assert_eq!(fs::metadata(bench.path("code/data/sessions/1/big")).unwrap().len(), 64 * 1024);
    }

    async fn whoever_eats_memory_is_ended_and_the_reason_told(bench: Bench) {
        let limits = Limits { memory_bytes: Some(64 * MIB), ..Limits::default() };
        let eater = "exec python3 -c 'held = []\nwhile len(held) < 1000: held.append(bytearray(b\"x\") * 1048576)'";
        assert_eq!(bench.run_with(eater, limits).await.0, "killed: used more than 64 MB of memory");
        // Address space is not memory.
        let (ended, printed) = bench.run_with("exec python3 -c 'import mmap; mmap.mmap(-1, 1 << 30); print(1)'", limits).await;
        assert_eq!((ended.as_str(), printed.as_str()), ("exit status: 0", "1"));
    }

    async fn memory_is_that_of_all_together(bench: Bench) {
        let limits = Limits { memory_bytes: Some(96 * MIB), ..Limits::default() };
        let forty = "python3 -c 'import time; held = bytearray(b\"x\") * (40 << 20); time.sleep(600)'";
        assert_eq!(
            bench.run_with(&format!("{forty} & {forty} & {forty} & wait"), limits).await.0,
            "killed: used more than 96 MB of memory"
        );
    }

    async fn whoever_forks_without_end_is_ended_and_the_reason_told(bench: Bench) {
        let limits = Limits { processes: Some(40), ..Limits::default() };
        let seconds = unique_sleep();
        // At most 200, should the limit not bind.
        let script = format!("i=0; while [ $i -lt 200 ]; do setsid sleep {seconds} & i=$((i+1)); done; wait");
        assert_eq!(bench.run_with(&script, limits).await.0, "killed: wanted more than 40 processes and threads");
        assert_eq!(processes_with(&seconds), []);
        // Doubling as fast as it can, for a few generations only.
        let bomb = "import os,time\nfor _ in range(8):\n  try: os.fork()\n  except OSError: pass\ntime.sleep(600)";
        let (ended, _) = bench.run_with(&format!("exec python3 -c '{bomb}'"), limits).await;
        assert_eq!(ended, "killed: wanted more than 40 processes and threads");
    }

    async fn what_ignores_sigterm_is_killed_after_the_grace(bench: Bench) {
        let seconds = unique_sleep();
        let child = bench.start(bench.shell(&format!("trap '' TERM; echo up; while true; do sleep {seconds}; done"))).await;
        until(|| child.tail() == "up" && !processes_with(&seconds).is_empty()).await;
        assert_eq!(child.stop(Duration::from_millis(100)).await.to_string(), "signal: 9 (SIGKILL)");
        assert_eq!(processes_with(&seconds), []);
        assert_eq!(child.usage(), None);
    }

    async fn what_heeds_sigterm_ends_by_itself(bench: Bench) {
        let seconds = unique_sleep();
        let child = bench.start(bench.shell(&format!("trap 'echo bye; exit 7' TERM; echo up; sleep {seconds} & wait"))).await;
        until(|| child.tail() == "up").await;
        assert_eq!(child.stop(PATIENCE).await.to_string(), "exit status: 7");
        assert!(child.tail().ends_with("bye"));
        assert_eq!(processes_with(&seconds), []);
    }

    /// Starts something that has a session of its own and whose parents have ended.
    fn daemon(seconds: &str) -> String {
        format!("(setsid setsid sh -c 'setsid sleep {seconds} & sleep {seconds} & ' &) ; ")
    }

    async fn what_detaches_itself_ends_with_the_program(bench: Bench) {
        let seconds = unique_sleep();
        // Two, and the one that looks for them.
        let ready = format!(
            "{} until [ $(grep -lxz {seconds} /proc/[0-9]*/cmdline 2>/dev/null | wc -l) -ge 3 ]; do :; done; exit 4",
            daemon(&seconds)
        );
        assert_eq!(bench.run(&ready).await.0, "exit status: 4");
        assert_eq!(processes_with(&seconds), []);
    }

    async fn what_detaches_itself_ends_when_stopped(bench: Bench) {
        let seconds = unique_sleep();
        let child = bench.start(bench.shell(&format!("{} exec sleep {seconds}", daemon(&seconds)))).await;
        until(|| processes_with(&seconds).len() == 3).await;
        child.stop(PATIENCE).await;
        assert_eq!(processes_with(&seconds), []);
    }

    /// The host that is killed: starts what it is told and waits.
    fn host(seconds: &str, folder: &Path) {
        let isolation = if folder.join("namespace").exists() { Isolation::Namespace } else { Isolation::Process };
        let bench = Bench::new(isolation);
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let spawner = Spawner::start().unwrap();
            let mut children = Vec::new();
            for _ in 0..3 {
                children.push(
                    spawner.spawn(bench.shell(&format!("trap '' TERM HUP; {} sleep {seconds}; true", daemon(seconds)))).await.unwrap(),
                );
            }
            println!("started {}", keeper_of_this_process());
            std::future::pending::<()>().await;
        });
    }

    /// The keeper is this process's only child.
    fn keeper_of_this_process() -> i32 {
        let me = std::process::id();
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mut mine = pids.filter(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line == format!("PPid:\t{me}")) && status.starts_with("Name:\tagent-keeper")
        });
        mine.next().expect("the keeper runs")
    }

    async fn nothing_outlives_a_killed_host(bench: Bench) {
        let seconds = unique_sleep();
        if bench.isolation == Isolation::Namespace {
            fs::write(bench.path("namespace"), "").unwrap();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        #[expect(clippy::disallowed_methods, reason = "the host under test is no child of a host")]
        let mut host = command
            .args(["host", &seconds])
            .arg(bench.folder.path())
            .env("TMPDIR", bench.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let keeper: i32 = line.trim().strip_prefix("started ").unwrap().parse().unwrap();
        // Three times three, and the host itself.
        until(|| processes_with(&seconds).len() == 9 + 1).await;
        host.kill().unwrap();
        assert_eq!(host.wait().unwrap().signal(), Some(9));
        until(|| processes_with(&seconds).is_empty()).await;
        until(|| !Path::new("/proc").join(keeper.to_string()).join("exe").exists()).await;
    }

    async fn nothing_outlives_a_killed_warden(bench: Bench) {
        let seconds = unique_sleep();
        let child = bench.start(bench.shell(&format!("{} exec sleep {seconds}", daemon(&seconds)))).await;
        until(|| processes_with(&seconds).len() == 3).await;
        let mut above = i32::try_from(child.pid()).unwrap();
        while !fs::read_to_string(format!("/proc/{above}/comm")).unwrap().starts_with("agent-warden") {
            above = parent(above);
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(above), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(child.wait().await.to_string(), "ended with its warden, which was killed");
        until(|| processes_with(&seconds).is_empty()).await;
    }

    fn parent(pid: i32) -> i32 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap()
    }

    async fn a_killed_keeper_is_replaced(bench: Bench) {
        let spawner = Spawner::start().unwrap();
        let first = spawner.spawn(bench.shell("echo up; read line; sleep 600")).await.unwrap();
        let seconds = unique_sleep();
        let held = spawner.spawn(bench.shell(&format!("exec sleep {seconds}"))).await.unwrap();
        first.stop(PATIENCE).await;
        let mut keeper = i32::try_from(held.pid()).unwrap();
        while !fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap().starts_with("agent-keeper") {
            keeper = parent(keeper);
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(keeper), nix::sys::signal::Signal::SIGKILL).unwrap();
        until(|| !Path::new("/proc").join(keeper.to_string()).join("exe").exists()).await;
        // Who runs goes on, who comes gets another.
        assert!(held.is_running());
        let next = spawner.spawn(bench.shell("echo again")).await.unwrap();
        next.wait().await;
        assert_eq!(next.tail(), "again");
        held.stop(PATIENCE).await;
        assert_eq!(processes_with(&seconds), []);
    }

    async fn usage_is_that_of_the_whole_tree(bench: Bench) {
        let seconds = unique_sleep();
        let script = format!(
            "python3 -c 'held = bytearray(b\"x\") * (30 << 20)\nfor _ in range(3000000): pass'; {} echo up; sleep {seconds}; true",
            daemon(&seconds)
        );
        let child = bench.start(bench.shell(&script)).await;
        until(|| child.tail() == "up" && processes_with(&seconds).len() >= 3).await;
        until(|| child.usage().is_some_and(|usage| usage.processes == 4)).await;
        let usage = child.usage().unwrap();
        // Of the program that has ended too.
        assert!(usage.cpu > Duration::from_millis(20), "{usage:?}");
        assert!(usage.resident_bytes > MIB / 2 && usage.resident_bytes < 30 * MIB, "{usage:?}");
        child.stop(PATIENCE).await;
        assert_eq!(child.usage(), None);
    }

    async fn a_flood_of_output_is_read_and_turned_over(bench: Bench) {
        let path = bench.path("flood.log");
        let mut spec = bench.shell("exec dd if=/dev/zero bs=1M count=100 status=none | tr '\\0' 'x'; echo; echo end");
        spec.log_file = Some(LogFile::open(&path).unwrap());
        let child = bench.start(spec).await;
        assert_eq!(child.wait().await.to_string(), "exit status: 0");
        assert!(child.tail().ends_with("\nend"));
        for file in [path.clone(), path.with_extension("log.1")] {
            assert!(fs::metadata(file).unwrap().len() < 17 * MIB);
        }
    }

    async fn a_port_of_the_child_can_be_reached(bench: Bench) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let serve = |word: &str| {
            format!(
                "import socket\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\ns.bind((\"127.0.0.1\", {port}))\ns.listen()\n\
                 print(\"up\", flush=True)\nwhile True:\n  c, _ = s.accept()\n  c.sendall(b\"{word}\")\n  c.close()"
            )
        };
        let words: &[&str] = if bench.isolation == Isolation::Namespace { &["one", "two"] } else { &["one"] };
        let mut children = Vec::new();
        for word in words {
            let child = bench.start(bench.shell(&format!("exec python3 -c '{}'", serve(word)))).await;
            until(|| !child.is_running() || child.tail() == "up").await;
            children.push((word, child));
        }
        // In namespaces both listen on the same port.
        for (word, child) in &children {
            for _ in 0..3 {
                let mut stream = child.connect(port).await.unwrap();
                let mut said = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said).await.unwrap();
                assert_eq!(&said, *word);
            }
        }
        if bench.isolation == Isolation::Namespace {
            let refused = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let nobody = children[0].1.connect(1).await.unwrap_err();
            assert_eq!(nobody.kind(), std::io::ErrorKind::ConnectionRefused);
            // The way out is what the host opens inside.
            let relay = children[0].1.listen_inside(9).await.unwrap();
            let mut calling = children[0].1.connect(9).await.unwrap();
            let (mut called, _) = relay.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut called, b"x").await.unwrap();
            assert_eq!(tokio::io::AsyncReadExt::read_u8(&mut calling).await.unwrap(), b'x');
            // The host's own loopback is out of reach.
            let of_host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = of_host.local_addr().unwrap().port();
            let script = format!("exec python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'");
            assert_eq!(bench.run(&script).await.0, "exit status: 1");
        }
        for (_, child) in children {
            child.stop(PATIENCE).await;
            assert!(child.connect(port).await.is_err());
        }
    }

    async fn control_groups_are_entered_and_removed(bench: Bench) {
        let limits = Limits { memory_bytes: Some(64 * MIB), processes: Some(40), cpus: Some(0.5), ..Limits::default() };
        let sandbox = Sandbox { limits, ..bench.sandbox() };
        let by_groups = enforcement(&sandbox).iter().filter(|entry| entry.by.is_some_and(|by| by.starts_with("control group"))).count();
        let (_, groups) = bench.run_with("cat /proc/self/cgroup", limits).await;
        let entered: Vec<&str> = groups.lines().filter_map(|line| line.rsplit_once("/frontdesk-")).map(|(_, warden)| warden).collect();
        assert_eq!(by_groups > 0, !entered.is_empty(), "{groups}");
        let mut left = Vec::new();
        let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(folder) = open.pop() {
            let below =
                fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            open.extend(below.map(|entry| entry.path()));
            left.extend(entered.iter().map(|warden| folder.join(format!("frontdesk-{warden}"))).filter(|group| group.exists()));
        }
        assert_eq!(left, Vec::<PathBuf>::new());
    }

    async fn processes_leave_no_zombies(bench: Bench) {
        let spawner = Spawner::start().unwrap();
        for _ in 0..20 {
            let child = spawner.spawn(bench.shell("sleep 0.001 & true")).await.unwrap();
            child.wait().await;
        }
        drop(spawner);
        let zombies = || {
            let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            let states = pids.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
            states.filter(|status| status.starts_with("Name:\tagent-") && status.contains("State:\tZ")).count()
        };
        until(|| zombies() == 0).await;
    }

    async fn enforcement_is_told(bench: Bench) {
        let limits = Limits { memory_bytes: Some(MIB), processes: Some(9), open_files: Some(9), file_bytes: Some(9), cpus: Some(0.5) };
        let sandbox = Sandbox { limits, ..bench.sandbox() };
        for entry in enforcement(&sandbox) {
            println!("    {}: {}{}", entry.what, entry.by.unwrap_or("-"), entry.why_not.map(|why| format!(" ({why})")).unwrap_or_default());
        }
        // Whatever is said to be enforced here was held to it by the tests above.
        assert!(enforcement(&sandbox).iter().any(|entry| entry.what == "files" && entry.by == Some("Landlock")));
    }
}
