//! The store seen from outside: what was written is there after it is opened again.

use frontdesk_store::{
    AccessKey, ApiKeyId, DataFolder, DataFolderError, NewApiKey, SealKey, SecretText, Seeded, StageRef, Store, StoreError, Throttle,
    UsageCount, UsagePlan, UsagePlanId,
};

fn open(folder: &std::path::Path) -> Store {
    Store::open(&folder.join("frontdesk.db"), SealKey::from_bytes(&[1; 32])).unwrap()
}

fn plan(name: &str) -> UsagePlan {
    UsagePlan {
        id: UsagePlanId(format!("plan-{name}")),
        name: name.to_owned(),
        throttle: Some(Throttle { rate_limit: 0.5, burst_limit: 3 }),
        quota_limit: Some(10),
        stages: vec![StageRef { api_id: "api".to_owned(), stage: "prod".to_owned() }],
        key_ids: Vec::new(),
    }
}

#[test]
fn everything_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let value = SecretText::new("fdabcdefghijklmnopqrstuvwxyz0123456789ABCD".to_owned());
    let id = ApiKeyId("k1".to_owned());
    {
        let store = open(folder.path());
        store.put_usage_plan(&plan("basic")).unwrap();
        let key = NewApiKey { id: id.clone(), name: "first", value: &value, enabled: true, now: 7 };
        store.add_api_key(&key, Some(&plan("basic").id)).unwrap();
        store.record_seeded(Seeded::ApiKey, "k1").unwrap();
        let root = AccessKey { id: "AKIA1".to_owned(), principal: "root".to_owned(), secret: SecretText::new("s".to_owned()) };
        store.add_access_key(&root, 7).unwrap();
    }
    let store = open(folder.path());
    let keys = store.api_keys().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].name.as_str(), keys[0].hint.as_str(), keys[0].enabled), ("first", "ABCD", true));
    assert_eq!(keys[0].digest, store.seal_key().digest(value.expose()));
    assert_eq!(store.api_key_value(&id).unwrap().unwrap(), value);
    assert_eq!(store.seeded(Seeded::ApiKey).unwrap().as_deref(), Some("k1"));
    assert_eq!(store.seeded(Seeded::RestApi).unwrap(), None);
    assert_eq!(store.access_key_of("root").unwrap().unwrap().secret.expose(), "s");
    let mut expected = plan("basic");
    expected.key_ids.push(id.clone());
    assert_eq!(store.usage_plans().unwrap(), [expected]);
    assert!(store.set_api_key_enabled(&id, false, 8).unwrap());
    assert!(!store.api_keys().unwrap()[0].enabled);
    assert!(!store.set_api_key_enabled(&ApiKeyId("nobody".to_owned()), false, 8).unwrap());
}

#[test]
fn the_file_holds_no_secret_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("a-value-that-must-not-be-found".to_owned());
    store.add_api_key(&NewApiKey { id: ApiKeyId("k".into()), name: "n", value: &value, enabled: true, now: 0 }, None).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(value.expose().len()).any(|window| window == value.expose().as_bytes()));
    }
}

#[test]
fn a_count_never_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let count = |used| UsageCount { plan_id: UsagePlanId("p".into()), key_id: ApiKeyId("k".into()), day: 3, used };
    store.write_usage(&[count(5)]).unwrap();
    store.write_usage(&[count(4)]).unwrap();
    assert_eq!(store.usage_on(3).unwrap(), [count(5)]);
    assert_eq!(store.usage_on(4).unwrap(), []);
}

#[test]
fn the_same_value_or_plan_name_twice_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("x".repeat(40));
    let add = |id: &str| store.add_api_key(&NewApiKey { id: ApiKeyId(id.into()), name: "n", value: &value, enabled: true, now: 0 }, None);
    add("k1").unwrap();
    assert!(matches!(add("k2"), Err(StoreError::Exists { .. })));
    store.put_usage_plan(&plan("basic")).unwrap();
    let twin = UsagePlan { id: UsagePlanId("other".into()), ..plan("basic") };
    assert!(store.put_usage_plan(&twin).unwrap_err().to_string().contains("basic"));
}

#[test]
fn a_folder_is_held_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let held = DataFolder::hold(&folder.path().join("data")).unwrap();
    let refused = DataFolder::hold(held.path()).unwrap_err();
    assert!(matches!(&refused, DataFolderError::Held { holder, .. } if *holder == std::process::id().to_string()), "{refused}");
    let path = held.path().to_owned();
    drop(held);
    DataFolder::hold(&path).unwrap();
}

#[test]
fn a_newer_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("frontdesk.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open(&path, SealKey::from_bytes(&[1; 32])).unwrap_err();
    assert!(refused.to_string().contains("newer"), "{refused}");
}
