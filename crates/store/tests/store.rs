//! The store seen from outside: what was written is there after it is opened again.

use std::collections::BTreeMap;

use frontdesk_store::{
    AccessKey, ActorCount, AgentRuntime, ApiKeyChange, ApiKeyId, Artifact, DataFolder, DataFolderError, Identity, IdentityChange,
    IdentityKind, KeyUse, ManagedPolicy, NewApiKey, PlanNames, PlanStage, PolicyVersion, Quota, QuotaExtension, QuotaPeriod, RoleTerms,
    RuntimeConfiguration, RuntimeEndpoint, RuntimeStatus, RuntimeVersion, SealKey, SecretText, Seeded, StageRef, Store, StoreError,
    StoredRuntime, Throttle, UsageCount, UsagePlan, UsagePlanId, UserAccessKey,
};

fn open(folder: &std::path::Path) -> Store {
    Store::open(&folder.join("frontdesk.db"), SealKey::from_bytes(&[1; 32])).unwrap()
}

fn plan(name: &str) -> UsagePlan {
    UsagePlan {
        id: UsagePlanId(format!("plan-{name}")),
        name: name.to_owned(),
        description: "for tests".to_owned(),
        throttle: Some(Throttle { rate_limit: 0.5, burst_limit: 3 }),
        quota: Some(Quota { limit: 10, period: QuotaPeriod::Month, offset: 14 }),
        stages: vec![PlanStage {
            stage: StageRef { api_id: "api".to_owned(), stage: "prod".to_owned() },
            method_throttles: BTreeMap::from([("/invoke/POST".to_owned(), Throttle { rate_limit: 0.1, burst_limit: 1 })]),
        }],
        key_ids: Vec::new(),
    }
}

fn key<'a>(id: &str, value: &'a SecretText) -> NewApiKey<'a> {
    let about = ApiKeyChange { name: Some(format!("name of {id}")), ..ApiKeyChange::default() };
    NewApiKey { id: ApiKeyId(id.to_owned()), value, keep_value: true, about, plan_ids: Vec::new(), now: 7 }
}

#[test]
fn everything_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let value = SecretText::new("fdabcdefghijklmnopqrstuvwxyz0123456789ABCD".to_owned());
    let id = ApiKeyId("k1".to_owned());
    {
        let store = open(folder.path());
        store.put_usage_plan(&plan("basic"), PlanNames::Distinct).unwrap();
        store.add_api_keys(&[NewApiKey { plan_ids: vec![plan("basic").id], ..key("k1", &value) }]).unwrap();
        store.record_seeded(Seeded::ApiKey, "k1").unwrap();
        let root = AccessKey { id: "AKIA1".to_owned(), principal: "root".to_owned(), secret: SecretText::new("s".to_owned()) };
        store.add_access_key(&root, 7).unwrap();
    }
    let store = open(folder.path());
    let keys = store.api_keys().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].name.as_str(), keys[0].hint.as_str(), keys[0].enabled), ("name of k1", "ABCD", true));
    assert_eq!(keys[0].digest, store.seal_key().digest(value.expose()));
    assert_eq!(store.api_key_value(&id).unwrap().unwrap(), value);
    assert_eq!(store.seeded(Seeded::ApiKey).unwrap().as_deref(), Some("k1"));
    assert_eq!(store.seeded(Seeded::RestApi).unwrap(), None);
    assert_eq!(store.access_key_of("root").unwrap().unwrap().secret.expose(), "s");
    let mut expected = plan("basic");
    expected.key_ids.push(id.clone());
    assert_eq!(store.usage_plans().unwrap(), [expected]);
}

#[test]
fn a_key_is_changed_as_far_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("v".repeat(20));
    store.add_api_keys(&[key("k1", &value)]).unwrap();
    let id = ApiKeyId("k1".to_owned());
    let tags = BTreeMap::from([("team".to_owned(), "a, b".to_owned())]);
    let change = ApiKeyChange {
        enabled: Some(false),
        expires_at: Some(Some(99)),
        source_ranges: Some(vec!["10.0.0.0/8".to_owned(), "::1/128".to_owned()]),
        tags: Some(tags.clone()),
        ..ApiKeyChange::default()
    };
    assert!(store.change_api_key(&id, &change, 8).unwrap());
    let changed = store.api_keys().unwrap().remove(0);
    assert_eq!((changed.name.as_str(), changed.enabled, changed.expires_at, changed.updated_at), ("name of k1", false, Some(99), 8));
    assert_eq!((changed.source_ranges.join(" "), changed.tags), ("10.0.0.0/8 ::1/128".to_owned(), tags));
    store.change_api_key(&id, &ApiKeyChange { expires_at: Some(None), ..ApiKeyChange::default() }, 9).unwrap();
    assert_eq!(store.api_keys().unwrap()[0].expires_at, None);
    assert!(!store.change_api_key(&ApiKeyId("nobody".to_owned()), &change, 8).unwrap());
}

#[test]
fn a_rotated_key_keeps_its_former_value_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (old, new) = (SecretText::new("o".repeat(20)), SecretText::new("n".repeat(20)));
    store.add_api_keys(&[key("k1", &old)]).unwrap();
    let id = ApiKeyId("k1".to_owned());
    assert!(store.rotate_api_key(&id, &new, true, 100, 8).unwrap());
    let rotated = store.api_keys().unwrap().remove(0);
    let former = rotated.former.unwrap();
    assert_eq!((former.digest, former.retires_at), (store.seal_key().digest(old.expose()), 100));
    assert_eq!((rotated.hint.as_str(), store.api_key_value(&id).unwrap().unwrap()), ("nnnn", new));
    // Until it retires, nobody else can have the former value.
    assert!(matches!(store.add_api_keys(&[NewApiKey { now: 99, ..key("k2", &old) }]), Err(StoreError::Exists { .. })));
    store.add_api_keys(&[NewApiKey { now: 100, ..key("k2", &old) }]).unwrap();
}

#[test]
fn a_value_that_is_not_kept_cannot_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("v".repeat(20));
    store.add_api_keys(&[NewApiKey { keep_value: false, ..key("k1", &value) }]).unwrap();
    assert_eq!(store.api_key_value(&ApiKeyId("k1".to_owned())).unwrap(), None);
    assert_eq!(store.api_keys().unwrap()[0].digest, store.seal_key().digest(value.expose()));
}

#[test]
fn an_import_changes_the_keys_it_knows_and_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (known, other) = (SecretText::new("k".repeat(20)), SecretText::new("o".repeat(20)));
    store.add_api_keys(&[key("k1", &known)]).unwrap();
    let renamed = NewApiKey { about: ApiKeyChange { name: Some("renamed".to_owned()), ..ApiKeyChange::default() }, ..key("k9", &known) };
    let ids = store.import_api_keys(&[renamed, key("k2", &other)]).unwrap();
    assert_eq!(ids, [ApiKeyId("k1".to_owned()), ApiKeyId("k2".to_owned())]);
    let names: Vec<String> = store.api_keys().unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(names, ["name of k2", "renamed"]);
    let (third, fourth) = (SecretText::new("3".repeat(20)), SecretText::new("4".repeat(20)));
    assert!(store.import_api_keys(&[key("k3", &third), key("k2", &fourth)]).is_err());
    assert_eq!(store.api_keys().unwrap().len(), 2);
}

#[test]
fn a_key_is_found_by_its_id_before_others_by_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let values = ["1", "2", "3"].map(|digit| SecretText::new(digit.repeat(20)));
    let named = |name: &str| ApiKeyChange { name: Some(name.to_owned()), ..ApiKeyChange::default() };
    let one = NewApiKey { about: named("k2"), ..key("k1", &values[0]) };
    let three = NewApiKey { about: named("twice"), ..key("k3", &values[2]) };
    store.add_api_keys(&[one, NewApiKey { about: named("twice"), ..key("k2", &values[1]) }, three]).unwrap();
    let called = |name: &str| store.api_keys_called(name).unwrap().into_iter().map(|key| key.id.0).collect::<Vec<_>>().join(" ");
    assert_eq!([called("k2"), called("twice"), called("nobody")], ["k2", "k3 k2", ""]);
    store.put_usage_plan(&plan("basic"), PlanNames::Distinct).unwrap();
    store.join_usage_plan(&plan("basic").id, &ApiKeyId("k2".to_owned())).unwrap();
    assert_eq!(store.usage_plan_ids_of(&ApiKeyId("k2".to_owned())).unwrap(), [plan("basic").id]);
    let count = UsageCount { plan_id: plan("basic").id, key_id: ApiKeyId("k2".to_owned()), day: 3, used: 5 };
    store.write_usage(std::slice::from_ref(&count), &[]).unwrap();
    assert_eq!(store.usage_of(&count.plan_id, &count.key_id, 3, 9).unwrap(), std::slice::from_ref(&count));
    assert_eq!(store.usage_of(&count.plan_id, &count.key_id, 4, 9).unwrap(), []);
}

#[test]
fn a_deleted_key_or_plan_leaves_its_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("v".repeat(20));
    store.put_usage_plan(&plan("basic"), PlanNames::Distinct).unwrap();
    store.add_api_keys(&[key("k1", &value)]).unwrap();
    let (plan_id, id) = (plan("basic").id, ApiKeyId("k1".to_owned()));
    assert!(store.join_usage_plan(&plan_id, &id).unwrap());
    assert!(!store.join_usage_plan(&plan_id, &id).unwrap());
    let count = UsageCount { plan_id: plan_id.clone(), key_id: id.clone(), day: 3, used: 5 };
    store.write_usage(std::slice::from_ref(&count), &[]).unwrap();
    assert!(store.delete_api_key(&id).unwrap());
    assert!(!store.delete_api_key(&id).unwrap());
    assert!(store.usage_plans().unwrap()[0].key_ids.is_empty());
    assert!(store.delete_usage_plan(&plan_id).unwrap());
    assert!(store.usage_plans().unwrap().is_empty());
    assert_eq!(store.usage_between(0, 9).unwrap(), [count]);
}

/// A folder that version 1 of the schema has written is brought to today's and keeps what it holds.
#[test]
fn the_first_version_s_database_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("frontdesk.db")).unwrap();
    connection.execute_batch(include_str!("../src/schema.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO api_key VALUES ('k1', 'old', zeroblob(32), NULL, 'ABCD', 1, 5, 5);
             INSERT INTO usage_plan VALUES ('p1', 'old plan', 50.0, 100, 10000);
             INSERT INTO usage_plan_key VALUES ('p1', 'k1');
             INSERT INTO usage VALUES ('p1', 'k1', 3, 7);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let store = open(folder.path());
    let key = store.api_keys().unwrap().remove(0);
    assert_eq!((key.name.as_str(), key.expires_at, key.former, key.source_ranges.len()), ("old", None, None, 0));
    let plan = store.usage_plans().unwrap().remove(0);
    assert_eq!((plan.quota, plan.key_ids), (Some(Quota { limit: 10_000, period: QuotaPeriod::Day, offset: 0 }), vec![key.id]));
    assert_eq!(store.usage_between(3, 3).unwrap()[0].used, 7);
}

#[test]
fn the_file_holds_no_secret_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("a-value-that-must-not-be-found".to_owned());
    store.add_api_keys(&[key("k", &value)]).unwrap();
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
    let actor = |used| ActorCount { key_id: ApiKeyId("k".into()), actor: "anna".into(), day: 3, used };
    store.write_usage(&[count(5)], &[actor(5)]).unwrap();
    store.write_usage(&[count(4)], &[actor(4)]).unwrap();
    assert_eq!(store.usage_between(3, 3).unwrap(), [count(5)]);
    assert_eq!(store.usage_between(4, 9).unwrap(), []);
    assert_eq!(store.actor_usage_between(0, 3).unwrap(), [actor(5)]);
    let extension = |extra| QuotaExtension { plan_id: UsagePlanId("p".into()), key_id: ApiKeyId("k".into()), period_day: 3, extra };
    assert_eq!(store.add_quota_extension(&extension(10)).unwrap(), 10);
    assert_eq!(store.add_quota_extension(&extension(20)).unwrap(), 30);
    assert_eq!(store.quota_extensions_since(3).unwrap(), [extension(30)]);
    assert_eq!(store.quota_extensions_since(4).unwrap(), []);
}

#[test]
fn the_same_value_twice_is_refused_and_a_plan_s_name_where_it_must_be_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let value = SecretText::new("x".repeat(40));
    let add = |id: &str| store.add_api_keys(&[key(id, &value)]);
    add("k1").unwrap();
    assert!(matches!(add("k2"), Err(StoreError::Exists { .. })));
    store.put_usage_plan(&plan("basic"), PlanNames::Distinct).unwrap();
    let twin = UsagePlan { id: UsagePlanId("other".into()), ..plan("basic") };
    assert!(store.put_usage_plan(&twin, PlanNames::Distinct).unwrap_err().to_string().contains("basic"));
    store.put_usage_plan(&twin, PlanNames::Any).unwrap();
    assert_eq!(store.usage_plans().unwrap().len(), 2);
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

fn runtime(name: &str) -> StoredRuntime {
    let id = format!("{name}-a1B2c3D4e5");
    let artifact = Artifact::Container { uri: "public.ecr.aws/x/y:1".to_owned() };
    let mut configuration = RuntimeConfiguration::new(artifact, "arn:aws:iam::123456789012:role/R".to_owned());
    configuration.environment = BTreeMap::from([("SECRET".to_owned(), "hunter2-hunter2".to_owned())]);
    let version = |version| RuntimeVersion {
        version,
        status: RuntimeStatus::Ready,
        failure_reason: None,
        created_at_ms: 7,
        client_token: None,
        configuration: configuration.clone(),
    };
    let endpoint = RuntimeEndpoint {
        name: "DEFAULT".to_owned(),
        id_suffix: "0123456789".to_owned(),
        description: None,
        status: RuntimeStatus::Ready,
        failure_reason: None,
        live_version: Some(2),
        target_version: 2,
        created_at_ms: 7,
        updated_at_ms: 8,
        client_token: None,
        tags: BTreeMap::new(),
    };
    StoredRuntime {
        runtime: AgentRuntime { id, name: name.to_owned(), created_at_ms: 7, is_deleting: false, tags: BTreeMap::new() },
        versions: [1, 2].map(|number| (number, version(number))).into(),
        endpoints: BTreeMap::from([("DEFAULT".to_owned(), endpoint)]),
    }
}

#[test]
fn a_runtime_is_written_as_a_whole_and_its_variables_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = runtime("one");
    {
        let store = open(folder.path());
        store.put_agent_runtime(&one).unwrap();
        store.put_agent_runtime(&runtime("two")).unwrap();
        one.versions.remove(&1);
        store.put_agent_runtime(&one).unwrap();
        let mut namesake = runtime("one");
        namesake.runtime.id = "one-9999999999".to_owned();
        assert!(matches!(store.put_agent_runtime(&namesake), Err(StoreError::Exists { .. })));
        assert!(store.delete_agent_runtime("two-a1B2c3D4e5").unwrap());
        assert!(!store.delete_agent_runtime("two-a1B2c3D4e5").unwrap());
    }
    assert_eq!(open(folder.path()).agent_runtimes().unwrap(), [one]);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "a variable lies open");
    }
}

fn identity(kind: IdentityKind, id: &str, name: &str) -> Identity {
    let terms = RoleTerms { trust: "{}".to_owned(), description: Some("for tests".to_owned()), session_s_max: 3600 };
    Identity {
        kind,
        id: id.to_owned(),
        name: name.to_owned(),
        path: "/".to_owned(),
        created_at: 7,
        tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
        inline: BTreeMap::from([("p".to_owned(), "{}".to_owned())]),
        attached: vec!["arn:aws:iam::aws:policy/AdministratorAccess".to_owned()],
        boundary: None,
        groups: Default::default(),
        role: (kind == IdentityKind::Role).then_some(terms),
    }
}

#[test]
fn identities_last_and_their_names_have_no_case() {
    let folder = tempfile::tempdir().unwrap();
    let (user, role) = (identity(IdentityKind::User, "AIDA1", "ann"), identity(IdentityKind::Role, "AROA1", "ann"));
    let policy = ManagedPolicy {
        id: "ANPA1".to_owned(),
        name: "P".to_owned(),
        path: "/".to_owned(),
        description: None,
        created_at: 7,
        updated_at: 8,
        versions: BTreeMap::from([(2, PolicyVersion { document: "{}".to_owned(), created_at: 8 })]),
        default_version: 2,
        newest_version: 2,
        tags: BTreeMap::new(),
    };
    let last_used = Some(KeyUse { at: 9, service: "sts".to_owned(), region: "us-east-1".to_owned() });
    let secret = SecretText::new("a secret that must not be read".to_owned());
    let key = UserAccessKey { id: "AKIA1".to_owned(), user_id: "AIDA1".to_owned(), secret, is_active: false, created_at: 7, last_used };
    {
        let store = open(folder.path());
        let put = |identity: &Identity| IdentityChange::PutIdentity(identity.clone());
        store.change_identities(&[put(&user), put(&role), IdentityChange::PutPolicy(policy.clone())]).unwrap();
        store.change_identities(&[IdentityChange::PutAccessKey(key.clone())]).unwrap();
        // All or none: the role of the same name in another case is refused, and what came before it is undone.
        let renamed = Identity { name: "bob".to_owned(), ..user.clone() };
        let refused = store.change_identities(&[put(&renamed), put(&identity(IdentityKind::Role, "AROA2", "ANN"))]);
        assert!(matches!(refused, Err(StoreError::Exists { .. })), "{refused:?}");
    }
    let bytes = std::fs::read(folder.path().join("frontdesk.db")).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"a secret"));
    let store = open(folder.path());
    let stored = store.identities().unwrap();
    assert_eq!((stored.identities, stored.policies, stored.access_keys), (vec![user, role], vec![policy], vec![key]));
    // A user's access keys go with it.
    store.change_identities(&[IdentityChange::DeleteIdentity("AIDA1".to_owned())]).unwrap();
    let stored = store.identities().unwrap();
    assert_eq!((stored.identities.len(), stored.access_keys.len()), (1, 0));
}
