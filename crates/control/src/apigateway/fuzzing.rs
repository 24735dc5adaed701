//! What the fuzz target `patch` (`fuzz/`) drives: patch operations of every resource that has some, through the whole control plane to a database. Compiled for
//! fuzzing and for the tests alone, which run it over its seeds.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use frontdesk_gateway::apis::agent_api::AgentApi;
use frontdesk_gateway::cache::{CacheScope, CacheSettings};
use frontdesk_gateway::metrics::Metrics;
use frontdesk_gateway::stage_logs::{OpenSink, StageLogs};
use frontdesk_gateway::{ApiService, Backends, KeyService};
use frontdesk_store::{ApiKeyChange, PlanNames, RestApi, SealKey, Stage, Store, UsagePlan};
use serde_json::{Value, json};

use super::{ApiGateway as Op, Call, Rooms, answer};

/// When it is, to the control plane: 2026-11-22.
const NOW_UNIX: i64 = 1_795_305_600;
const API_ID: &str = "abc1234567";
/// More than this is no test of anything but patience.
const STEPS_MAX: usize = 16;

/// An API with a stage, a usage plan and a key, all of which are as at the beginning before each patch.
#[derive(Debug)]
pub struct PatchBench {
    rooms: Rooms,
    store: Arc<Store>,
    api: RestApi,
    stage: Stage,
    plan: UsagePlan,
    key_id: String,
    resource_id: String,
}

impl PatchBench {
    /// A bench with its database in a folder, which counts nothing but what it must.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    #[must_use]
    pub fn new(folder: &Path, metrics: Metrics) -> PatchBench {
        let seal_key = SealKey::from_hex(&"07".repeat(32), "the fuzz target").expect("it is a key");
        let store = Arc::new(Store::open(&folder.join("frontdesk.db"), seal_key).expect("the folder can be written to"));
        let backends = Backends::new(HashMap::new()).expect("this machine has certificate authorities");
        let cache = CacheSettings { scope: CacheScope::PerKey, bytes_max: 1 << 20 };
        let account = "000000000000".to_owned();
        let find = |arn: &str| -> Result<OpenSink, String> {
            let is_known = arn.starts_with("arn:aws:logs:");
            if is_known { Ok(Box::new(|| Ok(Box::new(|_| {})))) } else { Err("Invalid ARN specified in the request".to_owned()) }
        };
        let logs = Arc::new(StageLogs::new(account.clone(), Box::new(find)));
        let apis =
            ApiService::open(store.clone(), account, API_ID.to_owned(), backends, cache, logs, metrics).expect("the database is new");
        let keys = KeyService::open(store.clone(), true, None, NOW_UNIX).expect("the database is new");
        let rooms = Rooms { apis: Arc::new(apis), keys: Arc::new(keys), identities: None, gateway: None };
        let proxy_arn = "arn:aws:lambda:us-east-1:000000000000:function:proxy".to_owned();
        let seed = AgentApi { id: API_ID.to_owned(), stage: "prod".to_owned(), proxy_arn, cache_ttl_s: 0, stream_timeout_ms: 29_000 };
        rooms.apis.put_agent_api(&seed, NOW_UNIX).expect("the API is sound");
        let plan = json!({
            "name": "plan",
            "apiStages": [{ "apiId": API_ID, "stage": "prod", "throttle": { "/invoke/POST": { "rateLimit": 1.0, "burstLimit": 2 } } }],
            "throttle": { "rateLimit": 5.0, "burstLimit": 10 },
            "quota": { "limit": 100, "period": "WEEK" },
        });
        let made = |op: Op, body: &Value| {
            let call = call(op, Vec::new(), body.to_string());
            let (_, document) = answer(&call, &rooms).expect("it is sound");
            document["id"].as_str().expect("it has an id").to_owned()
        };
        let plan_id = made(Op::CreateUsagePlan, &plan);
        let key_id = made(Op::CreateApiKey, &json!({ "name": "key", "enabled": true, "value": "a-key-of-more-than-20-characters" }));
        rooms.keys.join_plan(&plan_id, &key_id, NOW_UNIX).expect("both are there");
        let api = rooms.apis.api(API_ID).expect("it is there");
        let resource_id = api.resources.values().find(|resource| resource.path == "/invoke").expect("it is there").id.clone();
        PatchBench {
            stage: rooms.apis.stage(API_ID, "prod").expect("it is there"),
            plan: rooms.keys.plan(&plan_id).expect("it is there"),
            api,
            key_id,
            resource_id,
            rooms,
            store,
        }
    }

    /// Patches: the first letter says what (see the match below), the other lines hold an operation each: `+`, `-` or `=`, the path, and after a space the
    /// value. What begins with `{` behind the letter is a body as it comes.
    ///
    /// # Panics
    /// When the control plane breaks, shows something other than it keeps, or changes something by a patch that it refused.
    pub fn patch(&self, input: &[u8]) {
        let Some((what, body)) = input.split_first() else { return };
        let api = || vec![API_ID.to_owned()];
        let stage = || vec![API_ID.to_owned(), "prod".to_owned()];
        let method = || vec![API_ID.to_owned(), self.resource_id.clone(), "POST".to_owned()];
        let (patch, show, parameters) = match what {
            b'a' => (Op::UpdateRestApi, Op::GetRestApi, api()),
            b's' => (Op::UpdateStage, Op::GetStage, stage()),
            b'm' => (Op::UpdateMethod, Op::GetMethod, method()),
            b'i' => (Op::UpdateIntegration, Op::GetIntegration, method()),
            b'p' => (Op::UpdateUsagePlan, Op::GetUsagePlan, vec![self.plan.id.0.clone()]),
            b'k' => (Op::UpdateApiKey, Op::GetApiKey, vec![self.key_id.clone()]),
            b'u' => (Op::UpdateUsage, Op::GetUsagePlan, vec![self.plan.id.0.clone(), self.key_id.clone()]),
            _ => return,
        };
        self.restore(*what);
        let show = || answer(&call(show, parameters.clone(), String::new()), &self.rooms).expect("it is there").1;
        let before = show();
        let body = if body.first() == Some(&b'{') { body.to_vec() } else { operations(&String::from_utf8_lossy(body)).into_bytes() };
        let patched = answer(&call(patch, parameters.clone(), body), &self.rooms);
        let after = show();
        match patched {
            Err(error) => {
                assert!(error.status.is_client_error(), "{error:?}");
                assert_eq!(after, before, "a refused patch changed something: {error:?}");
            }
            Ok((_, shown)) if patch != Op::UpdateUsage => assert_eq!(after, shown, "what is shown is not what is kept"),
            Ok(_) => {}
        }
    }

    fn restore(&self, what: u8) {
        match what {
            b'a' | b'm' | b'i' => self.store.put_rest_api(&self.api).expect("the database takes it"),
            b's' => self.store.put_stage(&self.stage).expect("the database takes it"),
            b'p' => self.store.put_usage_plan(&self.plan, PlanNames::Any).expect("the database takes it"),
            _ => {
                let change = ApiKeyChange { name: Some("key".to_owned()), enabled: Some(true), ..ApiKeyChange::default() };
                let change = ApiKeyChange { description: Some(String::new()), ..change };
                self.rooms.keys.change(&self.key_id, change, NOW_UNIX).expect("the key is there");
            }
        }
    }
}

fn call(operation: Op, parameters: Vec<String>, body: impl Into<Bytes>) -> Call {
    Call { operation, parameters, query: String::new(), body: body.into(), now_unix: NOW_UNIX }
}

fn operations(lines: &str) -> String {
    let operation = |line: &str| {
        let mut letters = line.chars();
        let op = match letters.next() {
            Some('+') => "add",
            Some('-') => "remove",
            Some('=') => "replace",
            _ => "copy",
        };
        match letters.as_str().split_once(' ') {
            None => json!({ "op": op, "path": letters.as_str() }),
            Some((path, value)) => json!({ "op": op, "path": path, "value": value }),
        }
    };
    let operations: Vec<Value> = lines.split('\n').filter(|line| !line.is_empty()).take(STEPS_MAX).map(operation).collect();
    json!({ "patchOperations": operations }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_keep_every_promise() {
        let folder = tempfile::tempdir().unwrap();
        let bench = PatchBench::new(folder.path(), Metrics::register(&mut prometheus_client::registry::Registry::default()));
        let seeds = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/patch")).unwrap();
        let mut count = 0;
        for seed in seeds {
            bench.patch(&std::fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0);
    }
}
