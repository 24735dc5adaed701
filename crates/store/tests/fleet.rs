//! Two stores of a fleet and the PostgreSQL between them: changes that arrive, changes that are refused, leases and counts.

#[path = "../../../tests/src/postgres.rs"]
#[expect(unreachable_pub, dead_code, reason = "it lies with the end-to-end tests' doubles, whose crate would be a long build for one file")]
mod postgres;

use std::path::Path;

use frontdesk_store::{
    ActorCount, ApiKeyChange, ApiKeyId, FleetAddress, FleetConnection, FleetError, Joined, LeaseAsk, NewApiKey, PlanNames, PlanStage,
    Quota, QuotaExtension, QuotaPeriod, SealKey, SecretText, Seeded, StageRef, Store, StoreError, Throttle, UsageCount, UsagePlan,
    UsagePlanId,
};
use postgres::Postgres;

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("frontdesk.db"), SealKey::from_bytes(&[1; 32])).unwrap()
}

fn address(postgres: &Postgres) -> FleetAddress {
    FleetAddress::parse(&SecretText::new(postgres.url())).unwrap()
}

fn join(store: &Store, postgres: &Postgres, host_id: &str) -> Result<Joined, StoreError> {
    store.join_fleet(address(postgres), host_id.to_owned(), true)
}

fn add_key(store: &Store, id: &str, plan_ids: &[&str]) -> Result<(), StoreError> {
    let value = SecretText::new(format!("the-value-of-the-key-{id}"));
    let plan_ids = plan_ids.iter().map(|id| UsagePlanId((*id).to_owned())).collect();
    let about = ApiKeyChange { name: Some(id.to_owned()), ..ApiKeyChange::default() };
    store.add_api_keys(&[NewApiKey { id: ApiKeyId(id.to_owned()), value: &value, keep_value: true, about, plan_ids, now: 1 }])
}

fn plan(id: &str, name: &str) -> UsagePlan {
    let throttle = Throttle { rate_limit: 0.1, burst_limit: 3 };
    UsagePlan {
        id: UsagePlanId(id.to_owned()),
        name: name.to_owned(),
        description: String::new(),
        throttle: Some(throttle),
        quota: Some(Quota { limit: 5, period: QuotaPeriod::Day, offset: 0 }),
        stages: vec![PlanStage {
            stage: StageRef { api_id: "api".to_owned(), stage: "prod".to_owned() },
            method_throttles: [("/invoke/POST".to_owned(), throttle)].into(),
        }],
        key_ids: Vec::new(),
    }
}

/// A machine that tests with all its cores may be slower than a loop has patience, which then tries again.
async fn connect(store: &Store) -> FleetConnection {
    loop {
        match FleetConnection::open(store.fleet().unwrap().0).await {
            Err(FleetError::Silent) => {}
            opened => return opened.unwrap(),
        }
    }
}

/// Brings a replica up to date, as the gateway's loop does; returns whether something came in.
fn take_over(store: &Store) -> bool {
    tokio_runtime().block_on(async {
        let connection = connect(store).await;
        let news = connection.news_since(store.fleet_revision().unwrap()).await.unwrap();
        if news.is_empty() {
            return;
        }
        if let Err(StoreError::Sql(_)) = store.take_over(&news) {
            store.take_over(&connection.everything().await.unwrap()).unwrap();
        }
    });
    store.has_fleet_news()
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn check_alike(one: &Store, other: &Store) {
    assert_eq!(one.api_keys().unwrap(), other.api_keys().unwrap());
    let plans = |store: &Store| {
        let mut plans = store.usage_plans().unwrap();
        plans.iter_mut().for_each(|plan| plan.key_ids.sort());
        plans
    };
    assert_eq!(plans(one), plans(other));
    assert_eq!(one.quota_extensions_since(0).unwrap(), other.quota_extensions_since(0).unwrap());
    assert_eq!(one.fleet_revision().unwrap(), other.fleet_revision().unwrap());
}

#[test]
fn what_one_changes_the_other_has() {
    let (database, folders) = (tempfile::tempdir().unwrap(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let postgres = Postgres::start(database.path());
    let [one, other] = [open(folders[0].path()), open(folders[1].path())];
    // The first host has been alone before.
    one.put_usage_plan(&plan("p", "basic"), PlanNames::Distinct).unwrap();
    add_key(&one, "k1", &["p"]).unwrap();
    assert_eq!(one.record_seeded_first(Seeded::RestApi, "api-of-one").unwrap(), "api-of-one");
    assert!(matches!(join(&one, &postgres, "h1").unwrap(), Joined::Reached));
    assert!(matches!(join(&other, &postgres, "h2").unwrap(), Joined::Reached));
    check_alike(&one, &other);
    assert_eq!(other.record_seeded_first(Seeded::RestApi, "api-of-other").unwrap(), "api-of-one");
    assert_eq!(other.api_key_value(&ApiKeyId("k1".into())).unwrap().unwrap().expose(), "the-value-of-the-key-k1");

    add_key(&other, "k2", &["p"]).unwrap();
    one.change_api_key(&ApiKeyId("k1".into()), &ApiKeyChange { enabled: Some(false), ..ApiKeyChange::default() }, 2).unwrap();
    // Its own change brought the other's with it.
    assert!(one.has_fleet_news());
    assert!(!take_over(&one));
    assert!(take_over(&other));
    check_alike(&one, &other);
    assert_eq!(one.api_keys().unwrap().len(), 2);

    let extension = |extra| QuotaExtension { plan_id: UsagePlanId("p".into()), key_id: ApiKeyId("k1".into()), period_day: 3, extra };
    assert_eq!([one.add_quota_extension(&extension(2)).unwrap(), other.add_quota_extension(&extension(3)).unwrap()], [2, 5]);
    assert!(matches!(other.put_usage_plan(&plan("q", "basic"), PlanNames::Distinct), Err(StoreError::Exists { .. })));
    one.put_usage_plan(&plan("q", "other"), PlanNames::Distinct).unwrap();
    // A change is judged by what the fleet has, not by a replica that is behind.
    assert!(matches!(other.put_usage_plan(&plan("r", "other"), PlanNames::Distinct), Err(StoreError::Exists { .. })));
    // Deletions cascade on the one, and are the other's too.
    one.delete_api_key(&ApiKeyId("k1".into())).unwrap();
    one.put_usage_plan(&UsagePlan { stages: Vec::new(), ..plan("p", "basic") }, PlanNames::Distinct).unwrap();
    take_over(&other);
    check_alike(&one, &other);
    // Two plans trade names between two looks.
    for (id, name) in [("p", "for a moment"), ("q", "basic"), ("p", "other")] {
        one.put_usage_plan(&plan(id, name), PlanNames::Distinct).unwrap();
    }
    take_over(&other);
    check_alike(&one, &other);
    one.delete_usage_plan(&UsagePlanId("p".into())).unwrap();
    take_over(&other);
    check_alike(&one, &other);
}

#[test]
fn a_change_is_made_in_both_or_in_neither() {
    let (database, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let postgres = Postgres::start(database.path());
    let store = open(folder.path());
    join(&store, &postgres, "h1").unwrap();
    add_key(&store, "k1", &[]).unwrap();
    postgres.stop();
    for refused in [add_key(&store, "k2", &[]), store.delete_api_key(&ApiKeyId("k1".into())).map(drop)] {
        assert!(matches!(&refused, Err(StoreError::Fleet(reason)) if reason.is_outage()), "{refused:?}");
    }
    assert_eq!(store.api_keys().unwrap().len(), 1);
    // A start in the meantime: with the replica, or not at all.
    drop(store);
    let store = open(folder.path());
    let refused = store.join_fleet(address(&postgres), "h1".to_owned(), false);
    assert!(matches!(refused, Err(StoreError::Fleet(FleetError::Unreachable(_)))), "{refused:?}");
    assert!(matches!(join(&store, &postgres, "another").unwrap(), Joined::FromReplica(_)));
    assert_eq!(store.fleet().unwrap().1, "h1");
    postgres.resume();
    add_key(&store, "k2", &[]).unwrap();
    assert_eq!(store.api_keys().unwrap().len(), 2);
    // From an empty folder there is nothing to start with.
    postgres.stop();
    let empty = tempfile::tempdir().unwrap();
    assert!(join(&open(empty.path()), &postgres, "h3").is_err());
}

#[test]
fn who_does_not_belong_there_does_not_come_in() {
    let (database, folders) = (tempfile::tempdir().unwrap(), [(); 3].map(|()| tempfile::tempdir().unwrap()));
    let postgres = Postgres::start(database.path());
    join(&open(folders[0].path()), &postgres, "h1").unwrap();
    let other_seal_key = Store::open(&folders[1].path().join("frontdesk.db"), SealKey::from_bytes(&[2; 32])).unwrap();
    assert!(matches!(join(&other_seal_key, &postgres, "h2"), Err(StoreError::Fleet(FleetError::OtherSealKey))));
    let with_keys = open(folders[2].path());
    add_key(&with_keys, "k1", &[]).unwrap();
    assert!(matches!(join(&with_keys, &postgres, "h3"), Err(StoreError::Fleet(FleetError::KeysOfItsOwn))));
    // It was not changed by trying.
    assert_eq!(with_keys.api_keys().unwrap().len(), 1);
}

#[test]
fn leases_and_counts_are_summed_over_hosts() {
    let (database, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let postgres = Postgres::start(database.path());
    let store = open(folder.path());
    join(&store, &postgres, "h1").unwrap();
    let ask = |key: &str, used| LeaseAsk {
        plan_id: UsagePlanId("p".into()),
        key_id: ApiKeyId(key.into()),
        first_day: 3,
        used,
        limit: 100,
        wants_more: true,
    };
    let count = |key: &str, used| UsageCount { plan_id: UsagePlanId("p".into()), key_id: ApiKeyId(key.into()), day: 3, used };
    let actor = |used| ActorCount { key_id: ApiKeyId("k1".into()), actor: "an\0na".into(), day: 3, used };
    tokio_runtime().block_on(async {
        let connection = connect(&store).await;
        assert_eq!([connection.beat("h1").await.unwrap(), connection.beat("h2").await.unwrap()], [1, 2]);
        let ten_more = |ask: &LeaseAsk, others: u64| (ask.used + 10).min(ask.limit - others);
        let leased = connection.lease("h1", &[ask("k1", 5), ask("k2", 0)], ten_more).await.unwrap();
        assert_eq!(leased.iter().map(|leased| (leased.granted, leased.others)).collect::<Vec<_>>(), [(15, 0), (10, 0)]);
        let leased = connection.lease("h2", &[ask("k2", 85), ask("k1", 1)], ten_more).await.unwrap();
        assert_eq!(leased.iter().map(|leased| (leased.granted, leased.others)).collect::<Vec<_>>(), [(90, 10), (11, 15)]);
        connection.write_usage("h2", &[count("k1", 5), count("k1", 4), count("k2", 1)], &[actor(5)]).await.unwrap();
        connection.write_usage("h2", &[count("k1", 3)], &[actor(3)]).await.unwrap();
        connection.write_usage("h1", &[count("k1", 50)], &[]).await.unwrap();
        assert_eq!(connection.last_counted_day("h2").await.unwrap(), Some(3));
        connection.leave("h2", 4).await.unwrap();
        assert_eq!(connection.beat("h1").await.unwrap(), 1);
    });
    let (mut counts, actors) = store.usage_of_other_hosts(0, 9).unwrap();
    counts.sort_by(|one, other| one.key_id.cmp(&other.key_id));
    assert_eq!(counts, [count("k1", 5), count("k2", 1)]);
    assert_eq!((actors[0].actor.as_str(), actors[0].used), ("an\u{fffd}na", 5));
}
