//! Hosts that share keys, plans and quotas through a real PostgreSQL: what one does counts on the other, one quota is one, and an outage is what the settings say.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use frontdesk_tests::host::{Answer, Host, Ran, Setup, post, send};
use frontdesk_tests::postgres::Postgres;
use serde_json::Value;
use tempfile::TempDir;

const QUESTION: &str = r#"{"prompt":"How do I activate roaming?"}"#;
const UP: [&str; 5] = ["up", "--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];
const SEAL_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A fleet: its database, and folders for its hosts. The database goes last.
struct Fleet {
    folders: Vec<TempDir>,
    postgres: Postgres,
    _postgres_folder: TempDir,
}

impl Fleet {
    fn new() -> Fleet {
        let folder = tempfile::tempdir().unwrap();
        Fleet { postgres: Postgres::start(folder.path()), folders: Vec::new(), _postgres_folder: folder }
    }

    fn folder(&mut self) -> &Path {
        self.folders.push(tempfile::tempdir().unwrap());
        self.folders.last().unwrap().path()
    }

    fn setup(&self, on_outage: &str) -> Setup {
        Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
            .variable("FRONTDESK_FLEET_URL", &self.postgres.url())
            .variable("FRONTDESK_FLEET_ON_OUTAGE", on_outage)
            .variable("FRONTDESK_SEAL_KEY", SEAL_KEY)
            .variable("FRONTDESK_USAGE_PLAN_RATE_LIMIT", "0")
    }

    async fn start(&mut self, on_outage: &str) -> Host {
        let setup = self.setup(on_outage);
        setup.start(self.folder()).await
    }
}

async fn run(host: &Host, arguments: &[&str]) -> String {
    let ran = host.run(arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran.stdout
}

fn check_refused(ran: &Ran, reason: &str) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(reason), "{ran:?}");
}

async fn value_of(host: &Host, arguments: &[&str]) -> String {
    host.run_json(arguments).await["value"].as_str().unwrap().to_owned()
}

async fn status(host: &Host, key: &str) -> u16 {
    host.post(Some(key), QUESTION).await.status.as_u16()
}

/// Asks until the answer is what is waited for, and returns it. That it never is, the test's own time limit tells.
async fn until<T, F: Future<Output = T>>(mut ask: impl FnMut() -> F, is_it: impl Fn(&T) -> bool) -> T {
    loop {
        let answer = ask().await;
        if is_it(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_status(host: &Host, key: &str, expected: u16) {
    until(|| status(host, key), |status| *status == expected).await;
}

#[tokio::test]
async fn a_key_of_one_host_is_a_key_of_all() {
    let mut fleet = Fleet::new();
    let one = fleet.start("open").await;
    let first = one.key().to_owned();
    // The first host founded the fleet; the second, with an empty folder, has what it has and makes no first key of its own.
    let other = fleet.start("open").await;
    assert_eq!(other.ready.api_key, None);
    assert_eq!(other.ready.agent_runtime_arn, one.ready.agent_runtime_arn);
    assert_eq!([status(&one, &first).await, status(&other, &first).await], [200, 200]);
    assert_eq!(value_of(&other, &["keys", "show", "ThirdPartyServerKey", "--json"]).await, first);

    let made = value_of(&one, &["keys", "create", "k", "--json"]).await;
    until_status(&other, &made, 200).await;
    let rotated = value_of(&other, &["keys", "rotate", "k", "--overlap", "0", "--json"]).await;
    assert_eq!(status(&other, &rotated).await, 200);
    until_status(&one, &rotated, 200).await;
    assert_eq!(status(&one, &made).await, 403);
    run(&one, &["keys", "disable", "k"]).await;
    until_status(&other, &rotated, 403).await;
    run(&other, &["keys", "enable", "k"]).await;
    until_status(&one, &rotated, 200).await;
    run(&one, &["plans", "remove", "ThirdPartyUsagePlan", "k"]).await;
    until_status(&other, &rotated, 403).await;
    run(&one, &["keys", "delete", "k"]).await;
    until(|| other.run(&["keys", "show", "k"]), |ran| ran.code == Some(1)).await;

    // A name that another host took a moment ago is taken.
    run(&one, &["plans", "create", "small"]).await;
    check_refused(&other.run(&["plans", "create", "small"]).await, "exists already");
}

#[tokio::test]
async fn two_hosts_keep_one_quota() {
    const QUOTA: u64 = 400;
    const WORKERS: usize = 8;
    let mut fleet = Fleet::new();
    let (one, other) = (fleet.start("open").await, fleet.start("open").await);
    run(&one, &["plans", "create", "small", "--quota", &QUOTA.to_string()]).await;
    let key = value_of(&one, &["keys", "create", "k", "--usage-plan", "small", "--json"]).await;
    until_status(&other, &key, 200).await;
    let answered = Arc::new(AtomicU64::new(1));
    let work = |host: &Host| {
        let (endpoint, key, answered) = (host.ready.endpoint.clone(), key.clone(), answered.clone());
        tokio::spawn(async move {
            loop {
                let answer = post(&endpoint, Some(&key), QUESTION.to_owned()).await;
                match (answer.status.as_u16(), answer.json()["message"].as_str()) {
                    (200, _) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                    (429, Some("Limit Exceeded")) => return,
                    // The next slice is on its way.
                    (429, Some("Too Many Requests")) => {}
                    _ => panic!("{answer:?}"),
                }
            }
        })
    };
    let workers: Vec<_> = (0..WORKERS).flat_map(|_| [work(&one), work(&other)]).collect();
    for worker in workers {
        worker.await.unwrap();
    }
    // The rest that one host gave back when the other had stopped asking.
    let (mut is_spent_on_one, mut is_spent_on_other) = (false, false);
    while !(is_spent_on_one && is_spent_on_other) {
        for (host, is_spent) in [(&one, &mut is_spent_on_one), (&other, &mut is_spent_on_other)] {
            let answer = host.post(Some(&key), QUESTION).await;
            *is_spent = answer.json()["message"] == "Limit Exceeded";
            answered.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
        }
    }
    let answered = answered.load(Ordering::Relaxed);
    assert!((QUOTA - QUOTA / 100..=QUOTA + QUOTA / 100).contains(&answered), "{answered} of {QUOTA}");

    // Both tell of both.
    let used = |usage: &Value| usage["keys"].as_array().unwrap().iter().find(|row| row["key_name"] == "k").map(|row| row["used"].clone());
    for host in [&one, &other] {
        let usage = until(|| host.run_json(&["usage", "--json"]), |usage| used(usage) == Some(answered.into())).await;
        assert_eq!(used(&usage), Some(answered.into()));
    }
    // What is granted on one may be used on the other, and what was counted survives both.
    run(&one, &["usage", "extend", "k", "--by", "5"]).await;
    until_status(&other, &key, 200).await;
    assert_eq!([one.end("-INT").await, other.end("-KILL").await], [Some(0), None]);
    let again = fleet.setup("open").start(fleet.folders[0].path()).await;
    let usage = again.run_json(&["usage", "--json"]).await;
    assert!(used(&usage).is_some_and(|used| used.as_u64() >= Some(answered)), "{usage}");
}

async fn connected(host: &Host) -> bool {
    let answer = send(http::Method::GET, &format!("{}/metrics", host.ready.control), &[], "").await;
    String::from_utf8_lossy(&answer.body).contains("frontdesk_fleet_connected 1")
}

#[tokio::test]
async fn an_outage_is_what_the_settings_say_and_passes() {
    let mut fleet = Fleet::new();
    let (open, closed) = (fleet.start("open").await, fleet.start("closed").await);
    let key = open.key().to_owned();
    assert_eq!([status(&open, &key).await, status(&closed, &key).await], [200, 200]);
    until(|| connected(&open), |connected| *connected).await;

    fleet.postgres.stop();
    until(|| connected(&open), |connected| !connected).await;
    let refused: Answer = until(|| closed.post(Some(&key), QUESTION), |answer| answer.status != 200).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    assert_eq!(&refused.body[..], br#"{"message":"Service Unavailable"}"#);
    for _ in 0..200 {
        assert_eq!(status(&open, &key).await, 200);
    }
    check_refused(&open.run(&["keys", "create", "k"]).await, "the fleet's database cannot be reached");
    check_refused(&open.run(&["usage"]).await, "the fleet's database cannot be reached");
    assert!(run(&open, &["keys", "list"]).await.contains("ThirdPartyServerKey"));

    fleet.postgres.resume();
    until_status(&closed, &key, 200).await;
    until(|| connected(&open), |connected| *connected).await;
    let made = value_of(&open, &["keys", "create", "k", "--json"]).await;
    until_status(&closed, &made, 200).await;

    // A server that keeps its connections open and says nothing any more.
    fleet.postgres.signal("-STOP");
    assert_eq!(status(&open, &key).await, 200);
    until(|| connected(&open), |connected| !connected).await;
    let refused = until(|| closed.post(Some(&key), QUESTION), |answer| answer.status == 503).await;
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(status(&open, &key).await, 200);
    check_refused(&open.run(&["keys", "create", "l"]).await, "the fleet's database");
    fleet.postgres.signal("-CONT");
    until_status(&closed, &key, 200).await;

    // A start during an outage.
    fleet.postgres.stop();
    open.end("-INT").await;
    closed.end("-INT").await;
    let ran = fleet.setup("closed").run(fleet.folders[1].path(), &UP).await;
    check_refused(&ran, "the host could not join its fleet");
    let open = fleet.setup("open").start(fleet.folders[0].path()).await;
    assert_eq!(status(&open, &key).await, 200);
    assert!(!connected(&open).await);
}

#[tokio::test]
async fn a_stranger_does_not_join() {
    let mut fleet = Fleet::new();
    let _one = fleet.start("open").await;
    let other_seal_key = fleet.setup("open").variable("FRONTDESK_SEAL_KEY", &SEAL_KEY.replace('0', "1"));
    check_refused(&other_seal_key.run(fleet.folder(), &UP).await, "this host's seal key is not the fleet's");

    let with_keys_of_its_own = fleet.folder().to_owned();
    let alone = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_SEAL_KEY", SEAL_KEY).start(&with_keys_of_its_own).await;
    alone.end("-INT").await;
    check_refused(&fleet.setup("open").run(&with_keys_of_its_own, &UP).await, "keys and plans of its own");
}
