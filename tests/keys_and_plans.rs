//! Keys, usage plans and usage, by the command line beside a running host and as callers feel them.

use std::time::Duration;

use frontdesk_tests::host::{Answer, Host, Setup, post};
use serde_json::{Value, json};
use tempfile::TempDir;

const QUESTION: &str = r#"{"prompt":"How do I activate roaming?"}"#;

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

async fn host() -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    (folder, host)
}

/// Runs a command that must succeed, and returns what it printed.
async fn run(host: &Host, arguments: &[&str]) -> String {
    let ran = host.run(arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran.stdout
}

/// Runs a command that must be refused with this reason.
async fn check_refused(host: &Host, arguments: &[&str], reason: &str) {
    let ran = host.run(arguments).await;
    assert_eq!(ran.code, Some(1), "{arguments:?}: {ran:?}");
    assert!(ran.stderr.contains(reason), "{arguments:?}: {}", ran.stderr);
}

async fn value_of(host: &Host, arguments: &[&str]) -> String {
    host.run_json(arguments).await["value"].as_str().unwrap().to_owned()
}

async fn status(host: &Host, key: &str) -> u16 {
    host.post(Some(key), QUESTION).await.status.as_u16()
}

fn left(answer: &Answer) -> &str {
    answer.header("ratelimit").split(";r=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default()
}

#[tokio::test]
async fn a_key_opens_only_when_and_where_it_may() {
    let (_folder, host) = host().await;
    let here = value_of(&host, &["keys", "create", "here", "--from", "127.0.0.0/8", "--from", "::1/128", "--json"]).await;
    let far = value_of(&host, &["keys", "create", "far", "--from", "192.0.2.0/24", "--json"]).await;
    let old = value_of(&host, &["keys", "create", "old", "--expires", "2020-01-01", "--json"]).await;
    let lasting = value_of(&host, &["keys", "create", "lasting", "--expires", "30d", "--tag", "team=a", "--json"]).await;
    assert_eq!(
        [status(&host, &here).await, status(&host, &far).await, status(&host, &old).await, status(&host, &lasting).await],
        [200, 403, 403, 200]
    );
    run(&host, &["keys", "update", "far", "--from-anywhere"]).await;
    run(&host, &["keys", "update", "old", "--never-expires"]).await;
    run(&host, &["keys", "update", "lasting", "--expires", "2020-01-01", "--tag", "team=", "--tag", "size=2", "--name", "spent"]).await;
    assert_eq!([status(&host, &far).await, status(&host, &old).await, status(&host, &lasting).await], [200, 200, 403]);

    let list = host.run_json(&["keys", "list", "--json"]).await;
    let spent = list["keys"].as_array().unwrap().iter().find(|key| key["name"] == "spent").unwrap();
    assert_eq!((&spent["tags"], &spent["expires_at"]), (&json!({ "size": "2" }), &json!(1_577_836_800)));
    run(&host, &["keys", "delete", "here"]).await;
    assert_eq!(status(&host, &here).await, 403);
    check_refused(&host, &["keys", "delete", "here"], "no API key has the id or name here").await;
    check_refused(&host, &["keys", "update", "far"], "nothing to change").await;
    check_refused(&host, &["plans", "update", "ThirdPartyUsagePlan"], "nothing to change").await;
    run(&host, &["keys", "create", "planless", "--no-usage-plan"]).await;
    run(&host, &["keys", "disable", "far"]).await;
    let table = run(&host, &["keys", "list"]).await;
    for (key, opens) in [("spent", "no: expired"), ("planless", "no: in no plan"), ("far", "no: disabled"), ("old", "yes")] {
        assert!(table.lines().any(|line| line.contains(key) && line.contains(opens)), "{key}: {table}");
    }
    check_refused(&host, &["keys", "create", "x", "--from", "everywhere"], "`everywhere` is no network in CIDR notation").await;
}

#[tokio::test]
async fn a_rotation_loses_no_request_and_the_first_value_retires_by_itself() {
    let (_folder, host) = host().await;
    let first = host.key().to_owned();
    let name = "ThirdPartyServerKey";
    let second = value_of(&host, &["keys", "rotate", name, "--overlap", "15s", "--json"]).await;
    assert_eq!([status(&host, &first).await, status(&host, &second).await], [200, 200]);
    check_refused(&host, &["keys", "rotate", name], "was rotated already").await;
    while status(&host, &first).await == 200 {
        assert_eq!(status(&host, &second).await, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!([status(&host, &first).await, status(&host, &second).await], [403, 200]);
    // Both values were one key, and are counted as one.
    let list = host.run_json(&["keys", "list", "--json"]).await;
    assert_eq!(list["keys"].as_array().unwrap().len(), 1);

    let third = value_of(&host, &["keys", "rotate", name, "--overlap", "1h", "--json"]).await;
    let fourth = value_of(&host, &["keys", "rotate", name, "--overlap", "0", "--json"]).await;
    let statuses = [status(&host, &second).await, status(&host, &third).await, status(&host, &fourth).await];
    assert_eq!(statuses, [403, 403, 200], "an overlap of 0 ends all former values");
    let shown = run(&host, &["keys", "show", "--value-only"]).await;
    assert_eq!(shown.trim(), fourth);
    // A restart keeps all of it.
    let folder = _folder;
    host.end("-KILL").await;
    let host = setup().start(folder.path()).await;
    assert_eq!([status(&host, &third).await, status(&host, &fourth).await], [403, 200]);
}

#[tokio::test]
async fn keys_come_from_a_file_all_or_none() {
    let (folder, host) = host().await;
    let file = folder.path().join("keys.csv");
    let import = |text: &str| std::fs::write(&file, text).unwrap();
    import("enabled,Key,Name,UsageplanIds\ntrue,abcdefghij0123456789,One,ThirdPartyUsagePlan\nFALSE,abcdefghij0123456780,Two,\n");
    let file_name = file.to_str().unwrap().to_owned();
    let imported = host.run_json(&["keys", "import", &file_name, "--usage-plan", "ThirdPartyUsagePlan", "--json"]).await;
    assert_eq!(imported["ids"].as_array().unwrap().len(), 2);
    assert_eq!([status(&host, "abcdefghij0123456789").await, status(&host, "abcdefghij0123456780").await], [200, 403]);
    // The same values again change the keys that have them.
    import("key,name,enabled\nabcdefghij0123456789,Uno,false\nabcdefghij0123456780,Due,true\n");
    run(&host, &["keys", "import", &file_name]).await;
    assert_eq!([status(&host, "abcdefghij0123456789").await, status(&host, "abcdefghij0123456780").await], [403, 200]);
    import("key,name\nabcdefghij0123456700,Three\nshort,Four\n");
    check_refused(&host, &["keys", "import", &file_name], "line 3: API Key value should be at least 20 characters").await;
    assert_eq!(status(&host, "abcdefghij0123456700").await, 403);
    check_refused(&host, &["keys", "import", "nowhere.csv"], "failed to read nowhere.csv").await;
    let list = host.run_json(&["keys", "list", "--json"]).await;
    assert_eq!(list["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_plan_has_its_own_speed_quota_and_methods() {
    let (folder, host) = host().await;
    let plan = ["plans", "create", "small", "--quota", "3", "--period", "month", "--method-throttle", "/stream/POST=0.01:1"];
    run(&host, &plan).await;
    let key = value_of(&host, &["keys", "create", "k", "--usage-plan", "small", "--json"]).await;
    check_refused(&host, &["plans", "add", "ThirdPartyUsagePlan", "k"], "is in the usage plan small for the stage prod already").await;
    check_refused(&host, &plan, "small exists already").await;

    // The stream has a speed of its own; a request turned away for speed costs no quota.
    let stream = host.ready.endpoint.replace("/invoke", "/stream");
    assert_eq!(post(&stream, Some(&key), QUESTION.to_owned()).await.status, 200);
    let refused = post(&stream, Some(&key), QUESTION.to_owned()).await;
    assert_eq!((refused.status.as_u16(), refused.json()), (429, json!({ "message": "Too Many Requests" })));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 50, "{refused:?}");

    let second = host.post(Some(&key), QUESTION).await;
    assert_eq!((second.status.as_u16(), left(&second)), (200, "1"));
    assert!(second.header("ratelimit-policy").starts_with("\"monthly\";q=3;w="), "{second:?}");
    assert!(second.header("access-control-expose-headers").contains("RateLimit"));
    assert_eq!(left(&host.post(Some(&key), QUESTION).await), "0");
    let spent = host.post(Some(&key), QUESTION).await;
    assert_eq!((spent.status.as_u16(), spent.json()), (429, json!({ "message": "Limit Exceeded" })));

    // More for this month, for this key; it lasts.
    assert_eq!(run(&host, &["usage", "extend", "k", "--by", "2"]).await.trim(), "k has 2 requests left in small.");
    assert_eq!(left(&host.post(Some(&key), QUESTION).await), "1");
    host.end("-INT").await;
    let host = setup().start(folder.path()).await;
    let last = host.post(Some(&key), QUESTION).await;
    assert_eq!((last.status.as_u16(), left(&last)), (200, "0"));
    assert_eq!(status(&host, &key).await, 429);

    // A change counts from the next request on.
    run(&host, &["plans", "update", "small", "--no-quota", "--rate", "0.01", "--burst", "1", "--no-method-throttle", "/stream/POST"]).await;
    let free = host.post(Some(&key), QUESTION).await;
    assert_eq!((free.status.as_u16(), free.header("ratelimit"), free.header("ratelimit-policy")), (200, "", "\"burst\";q=1;w=100"));
    assert_eq!(status(&host, &key).await, 429);
    run(&host, &["plans", "delete", "small"]).await;
    assert_eq!(status(&host, &key).await, 403);
    run(&host, &["plans", "add", "ThirdPartyUsagePlan", "k"]).await;
    assert_eq!(status(&host, &key).await, 200);
    check_refused(&host, &["plans", "remove", "small", "k"], "no usage plan has the id or name small").await;
    let monday = ["plans", "create", "from-monday", "--quota", "3", "--period", "week", "--offset", "1"];
    assert!(run(&host, &monday).await.contains("3 a week from Monday"));
    host.end("-INT").await;
    let host = setup().start(folder.path()).await;
    let list = host.run_json(&["plans", "list", "--json"]).await;
    let plan = list["usage_plans"].as_array().unwrap().iter().find(|plan| plan["name"] == "from-monday").unwrap();
    assert_eq!(plan["quota"], json!({ "limit": 3, "period": "WEEK", "offset": 1 }));
    check_refused(&host, &["plans", "update", "from-monday", "--quota", "3", "--offset", "1"], "offset must be zero in the DAY period")
        .await;
    check_refused(&host, &["plans", "create", "wrong", "--method-throttle", "invoke=1:1"], "`invoke` is no method").await;
}

#[tokio::test]
async fn usage_is_told_by_key_day_and_actor() {
    let (folder, host) = host().await;
    let key = host.key().to_owned();
    for actor in ["anna", "bob", "anna"] {
        let body = json!({ "prompt": "How do I pay my bill?", "actor_id": actor }).to_string();
        let answer = host.post(Some(&key), &body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json());
    }
    assert_eq!(host.post(Some(&key), r#"{"prompt":""}"#).await.status, 400);
    let check = |usage: &Value| {
        let of_key = &usage["keys"][0];
        assert_eq!(
            (&of_key["used"], &of_key["remaining"], &of_key["usage_plan"]),
            (&json!(4), &json!(9_996), &json!("ThirdPartyUsagePlan")),
            "{usage}"
        );
        let actors: Vec<_> = usage["actors"].as_array().unwrap().iter().map(|row| (row["actor"].clone(), row["used"].clone())).collect();
        assert_eq!(actors, [(json!("anna"), json!(2)), (json!("bob"), json!(1))]);
    };
    check(&host.run_json(&["usage", "--json"]).await);
    check(&host.run_json(&["usage", "--json", "--key", "ThirdPartyServerKey"]).await);
    assert_eq!(host.run_json(&["usage", "--json", "--key", "nobody"]).await, json!({ "keys": [], "actors": [] }));
    assert_eq!(
        host.run_json(&["usage", "--json", "--to", "2020-01-02", "--from", "2020-01-01"]).await,
        json!({ "keys": [], "actors": [] })
    );
    let table = run(&host, &["usage"]).await;
    assert!(table.contains("USED") && table.contains("9996"), "{table}");
    assert!(run(&host, &["usage", "--actors"]).await.contains("anna"));
    let nobody = run(&host, &["usage", "--key", "nobody"]).await;
    assert!(nobody.starts_with("Nothing was counted from ") && nobody.contains("the id or name nobody"), "{nobody}");
    check_refused(&host, &["usage", "--from", "2026-02-01", "--to", "2026-01-01"], "from must not be after to").await;

    // What was counted a second ago survives the worst; the rest of the wait is for a disk that other tests keep busy.
    tokio::time::sleep(Duration::from_secs(3)).await;
    host.end("-KILL").await;
    let host = setup().start(folder.path()).await;
    check(&host.run_json(&["usage", "--json"]).await);
}

#[tokio::test]
async fn values_are_not_kept_when_so_configured() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().variable("FRONTDESK_KEYS_KEEP_VALUES", "false").start(folder.path()).await;
    assert_eq!(status(&host, host.key()).await, 200);
    check_refused(&host, &["keys", "show"], "is not kept").await;
}

#[tokio::test]
async fn who_guesses_keys_is_answered_late_and_a_right_key_never() {
    let (_folder, host) = host().await;
    // More than the patience, at once: the first ten are answered, the others wait.
    let guesses = (0..14).map(|index| format!("guess-number-{index:02}-of-many"));
    let answers = guesses.map(|guess| {
        let endpoint = host.ready.endpoint.clone();
        tokio::spawn(async move { post(&endpoint, Some(&guess), QUESTION.to_owned()).await.status })
    });
    let mut answers: Vec<_> = answers.collect();
    let slow = answers.split_off(13);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), 403);
    }
    // While the address is being slowed, its right key comes through, again and again.
    for _ in 0..3 {
        assert_eq!(status(&host, host.key()).await, 200);
    }
    for answer in slow {
        assert_eq!(answer.await.unwrap(), 403);
    }
}
