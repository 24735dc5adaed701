//! CloudWatch and Cost Explorer on a running host: AWS's own clients in all their protocols, figures that are the traffic's own and outlive a killed host, and an
//! alarm that goes off, is heard of, and goes back.

use frontdesk_tests::host::{Host, Setup, post};
use frontdesk_tests::webhook::Webhook;
use serde_json::{Value, json};

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

fn question() -> String {
    json!({ "prompt": "How do I activate roaming?" }).to_string()
}

#[tokio::test]
async fn aws_s_clients_put_and_read_metrics_and_alarms() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("cloudwatch.py", &["api"], &[]).await;
    assert!(said.contains("CloudWatch answered as it should"), "{said}");
}

/// Speaks as long as `expect` says of the figures.
async fn check_figures(host: &Host, asked: &str, refused: &str) {
    let said = host.play("cloudwatch.py", &["traffic", asked, refused], &[]).await;
    assert!(said.contains("the figures are the traffic's"), "{said}");
}

#[tokio::test]
async fn figures_are_the_traffic_s_and_outlive_a_killed_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let (key, endpoint) = (host.key().to_owned(), host.ready.endpoint.clone());
    for _ in 0..5 {
        assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(post(&endpoint, None, question()).await.status, 403);
    }
    check_figures(&host, "5", "3").await;
    host.end("-KILL").await;

    let host = setup().start(folder.path()).await;
    check_figures(&host, "5", "3").await;
    assert_eq!(post(&host.ready.endpoint, Some(&key), question()).await.status, 200);
    check_figures(&host, "6", "3").await;

    // The same for people.
    let cost = host.run_json(&["cost", "--json"]).await;
    let lines = cost["lines"].as_array().unwrap();
    let requests = lines.iter().find(|line| line["service"] == "Amazon API Gateway").unwrap();
    assert_eq!((&requests["quantity"], &requests["unit"]), (&json!(9.0), &json!("Requests")), "{cost}");
    let dollars = requests["dollars"].as_f64().unwrap();
    assert!((dollars - 9.0 * 3.5 / 1e6).abs() < 1e-12, "{cost}");
    let table = host.run(&["cost"]).await;
    assert!(table.stdout.contains("Amazon API Gateway") && table.stdout.contains(cost["prices_of"].as_str().unwrap()), "{table:?}");
    let wrong = host.run(&["cost", "--month", "November"]).await;
    assert!(wrong.code != Some(0) && wrong.stderr.contains("write it as 2026-01"), "{wrong:?}");
}

#[tokio::test]
async fn an_alarm_goes_off_under_a_burst_is_told_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    // Away at first: it is tried again.
    let mut webhook = Webhook::start(1).await.unwrap();
    let command = folder.path().join("told.sh");
    std::fs::write(
        &command,
        "#!/bin/sh\necho \"$ALARM_NAME $OLD_STATE $NEW_STATE$FRONTDESK_ALARMS_WEBHOOK\" >> told.txt\ncat >> told.json\necho >> told.json\n",
    )
    .unwrap();
    std::fs::set_permissions(&command, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let host = setup()
        .variable("FRONTDESK_ALARMS_WEBHOOK", webhook.url())
        .variable("FRONTDESK_ALARMS_COMMAND", command.to_str().unwrap())
        .variable("FRONTDESK_USAGE_PLAN_RATE_LIMIT", "0.1")
        .variable("FRONTDESK_USAGE_PLAN_BURST_LIMIT", "2")
        .start(folder.path())
        .await;
    let said = host.play("cloudwatch.py", &["alarm"], &[]).await;
    assert!(said.contains("the alarm is set"), "{said}");
    let settled = webhook.next().await;
    assert_eq!((&settled["OldStateValue"], &settled["NewStateValue"]), (&json!("INSUFFICIENT_DATA"), &json!("OK")), "{settled}");

    let mut throttled = 0;
    for _ in 0..40 {
        throttled += u32::from(host.ask("How do I activate roaming?").await.status == 429);
    }
    assert!(throttled > 30, "{throttled}");
    let alarm = webhook.next().await;
    check_notification(&alarm, "OK", "ALARM");
    let reason = alarm["NewStateReason"].as_str().unwrap();
    assert!(reason.starts_with("Threshold Crossed: 1 out of the last 1 datapoints ["), "{reason}");
    assert!(reason.ends_with("was greater than the threshold (10.0) (minimum 1 datapoint for OK -> ALARM transition)."), "{reason}");

    let ok = webhook.next().await;
    check_notification(&ok, "ALARM", "OK");
    let said = host.play("cloudwatch.py", &["history"], &[]).await;
    assert!(said.contains("the history tells it all"), "{said}");
    let told = std::fs::read_to_string(folder.path().join("told.txt")).unwrap();
    assert!(told.starts_with("Throttled INSUFFICIENT_DATA OK\nThrottled OK ALARM\n"), "{told}");
    let documents = std::fs::read_to_string(folder.path().join("told.json")).unwrap();
    let second: Value = serde_json::from_str(documents.lines().nth(1).unwrap()).unwrap();
    assert_eq!(second, alarm, "the command is told what the webhook is");
}

fn check_notification(document: &Value, old: &str, new: &str) {
    assert_eq!((&document["OldStateValue"], &document["NewStateValue"]), (&json!(old), &json!(new)), "{document}");
    assert_eq!(document["AlarmArn"], "arn:aws:cloudwatch:us-east-1:000000000000:alarm:Throttled");
    let trigger = &document["Trigger"];
    assert_eq!((&trigger["MetricName"], &trigger["Statistic"], &trigger["Period"]), (&json!("4XXError"), &json!("SUM"), &json!(60)));
    assert_eq!(trigger["Dimensions"], json!([{ "value": "AgentCore-FAQ-API", "name": "ApiName" }]));
}

#[tokio::test]
async fn a_webhook_that_is_none_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ran = setup()
        .variable("FRONTDESK_ALARMS_WEBHOOK", "example.com/hook")
        .run(folder.path(), &["up", "--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"])
        .await;
    assert!(ran.code != Some(0) && ran.stderr.contains("alarms.webhook"), "{ran:?}");
}
