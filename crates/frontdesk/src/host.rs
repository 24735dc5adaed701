//! The composition root of a self-hosted Frontdesk: every room is made here and handed to the next, and ended in the right order.

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use frontdesk_agent::retrieval::SearchKind;
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_aws::Credentials;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_aws::policy::Policy;
use frontdesk_control::{Control, Identities, MetricsSource, Principal, StatusSource};
use frontdesk_gateway::access_log::{AccessLog, LogFormat, LogSink};
use frontdesk_gateway::apis::agent_api::AgentApi;
use frontdesk_gateway::cache::{CacheScope, CacheSettings};
use frontdesk_gateway::integration::{Answering, Body};
use frontdesk_gateway::metrics::{self, Metrics};
use frontdesk_gateway::tls::Tls;
use frontdesk_gateway::{
    Actor, ApiService, Backends, Caller, CreatedKey, Gateway, GatewayLimits, Integration, IntegrationError, KeyService, Listener,
    ListenerLimits, Observers, UsageWriter,
};
use frontdesk_process::{LogFile, Spawner};
use frontdesk_proxy::{Proxy, ProxySettings};
use frontdesk_runtime::{AgentProgram, DEFAULT_ENDPOINT, HostedAgent};
use frontdesk_store::{AccessKey, DataFolder, SealKey, Store, Throttle};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent_metrics::AgentMetrics;
use crate::run_file::{ROOT_KEY_FILE, RUN_FILE, RootKeyFile, RunFile};
use crate::seed::{self, SeededHost};
use crate::settings::{self, CacheScopeSetting, QuotaPeriodSetting, Settings};
use crate::transport::{ControlEnd, InProcess};

/// The name of the function that is the proxy: the host's own, not one that anybody deployed.
const PROXY: &str = "frontdesk-proxy";
/// Variables that an agent inherits: where programs, homes, certificates and proxies are. Nothing else of the host's environment reaches it.
const INHERITED: [&str; 13] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "https_proxy",
    "no_proxy",
    "FRONTDESK_LOG",
];

/// A host that has been set up and is about to serve.
pub(crate) struct Host {
    pub(crate) run: RunFile,
    pub(crate) agent_runtime_arn: AgentRuntimeArn,
    pub(crate) root_key: AccessKey,
    /// The first key, on the first start only.
    pub(crate) first_key: Option<CreatedKey>,
    /// How the agent searches.
    pub(crate) search: SearchKind,
    agent: HostedAgent,
    gateway: Arc<Gateway>,
    gateway_listener: Listener,
    control: Arc<Control>,
    control_listener: Listener,
    keys: Arc<KeyService>,
    data_folder: DataFolder,
}

impl Host {
    /// Takes the data folder and the ports, and joins the rooms.
    pub(crate) async fn set_up(settings: &Settings) -> anyhow::Result<Host> {
        let now_unix = now_unix();
        let data_folder = DataFolder::hold(&settings.data_dir)?;
        let gateway_listener = bind(&settings.gateway.listen, "gateway.listen", "--gateway-listen").await?;
        let control_listener = bind(&settings.control.listen, "control.listen", "--control-listen").await?;
        let run = run_file(settings, &gateway_listener, &control_listener)?;

        let store = Arc::new(Store::open(&data_folder.path().join("frontdesk.db"), seal_key(settings, &data_folder)?)?);
        let SeededHost { rest_api_id, agent_runtime_arn, root_key } = seed::seed(&store, settings, now_unix)?;
        let keys = Arc::new(KeyService::open(store.clone(), settings.keys.keep_values, now_unix)?);
        let first_key = seed::first_key(&store, &keys, now_unix)?;

        let search = match ModelFiles::locate(&settings.agent.model_dir)? {
            Some(_) => settings.agent.search,
            None => SearchKind::Keyword,
        };
        let spawner = Spawner::start().context("failed to start the spawning thread")?;
        let program = agent_program(settings, data_folder.path())?;
        let agent = HostedAgent::new(agent_runtime_arn.clone(), program, spawner, settings.gateway.in_flight_max);

        let proxy_role = proxy_role(settings, &agent_runtime_arn)?;
        let identities = Identities::new([root(&root_key), proxy_role.clone()]);
        let status = StatusSource {
            gateway: run.gateway.clone(),
            endpoint: run.endpoint.clone(),
            control: run.control.clone(),
            search: search.to_string(),
            embedding_model_missing: search != settings.agent.search,
            model: model_name(settings),
            usage_plan: usage_plan_in_words(settings),
            rest_api_id: rest_api_id.clone(),
        };
        let mut registry = Registry::default();
        let access_log = access_log(settings, data_folder.path())?.map(Arc::new);
        registry.register_collector(Box::new(AgentMetrics(agent.clone())));
        let metrics = Metrics::register(&mut registry);
        let gateway_listener = Listener {
            socket: gateway_listener,
            limits: ListenerLimits {
                connections_max: settings.gateway.connections_max,
                connections_per_address_max: settings.gateway.connections_per_address_max,
                ..ListenerLimits::default()
            },
            tls: tls(settings)?.map(Arc::new),
            connections: metrics.connections().clone(),
        };
        let control_listener =
            Listener { socket: control_listener, limits: ListenerLimits::default(), tls: None, connections: Default::default() };
        let observers = Observers { access_log, metrics: metrics.clone() };
        let source = settings.control.metrics.then(|| metrics_source(registry, &observers));
        let control_end = ControlEnd::default();
        let proxy = Proxy::new(
            ProxySettings {
                agent_runtime_arn: agent_runtime_arn.clone(),
                qualifier: DEFAULT_ENDPOINT.to_owned(),
                endpoint: run.control.clone(),
                prompt_chars_max: settings.gateway.prompt_chars_max,
            },
            proxy_role.credentials,
            Arc::new(InProcess::new(control_end.clone())),
        )?;
        let proxy_arn = format!("arn:aws:lambda:{}:{}:function:{PROXY}", settings.region, settings.account_id);
        let function: Arc<dyn Integration> = Arc::new(ProxyIntegration { proxy: Arc::new(proxy) });
        let backends = Backends::new(HashMap::from([(proxy_arn.clone(), function)]))
            .context("failed to read this machine's certificate authorities (SSL_CERT_FILE names others)")?;
        let cache = cache_settings(settings);
        let apis = ApiService::open(store.clone(), settings.account_id.clone(), rest_api_id.clone(), backends, cache, metrics)?;
        let apis = Arc::new(apis);
        let stage = settings.gateway.stage.clone();
        let cache_ttl_s = settings.gateway.cache_ttl_s;
        seed::agent_api(&store, &apis, &AgentApi { id: rest_api_id, stage, proxy_arn, cache_ttl_s }, now_unix)?;
        let region = settings.region.clone();
        let control = Control::new(region, identities, vec![agent.clone()], keys.clone(), apis.clone(), status, source);
        let control = Arc::new(control);
        control_end.put(&control);
        let limits = GatewayLimits {
            body_bytes_max: settings.gateway.body_bytes_max,
            integration_timeout: Duration::from_millis(settings.gateway.integration_timeout_ms),
            in_flight_max: settings.gateway.in_flight_max,
            throttle: Throttle { rate_limit: settings.gateway.rate_limit, burst_limit: settings.gateway.burst_limit },
            trusted_proxies: settings.gateway.trusted_networks()?,
            ..GatewayLimits::default()
        };
        let gateway = Arc::new(Gateway::new(apis, keys.clone(), limits, observers));

        Ok(Host {
            run,
            agent_runtime_arn,
            root_key,
            first_key,
            search,
            agent,
            gateway,
            gateway_listener,
            control,
            control_listener,
            keys,
            data_folder,
        })
    }

    /// Starts the agent, so that the first caller does not wait for it and a broken FAQ is told now.
    pub(crate) async fn start_agent(&self) -> anyhow::Result<()> {
        self.agent.start().await.map_err(|reason| anyhow::anyhow!("the agent could not be started: {reason}"))
    }

    /// Tells the command line where this host is.
    pub(crate) fn announce(&self) -> anyhow::Result<()> {
        let root_key = RootKeyFile { access_key_id: self.root_key.id.clone(), secret_access_key: self.root_key.secret.expose().to_owned() };
        self.data_folder.write_private(ROOT_KEY_FILE, &serde_json::to_vec_pretty(&root_key)?)?;
        self.data_folder.write_private(RUN_FILE, &serde_json::to_vec_pretty(&self.run)?)?;
        Ok(())
    }

    /// Serves until `shutdown` ends; then requests in flight are finished, the agent ended and the last counts written, in that order.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) {
        let (end_doors, doors_end) = watch::channel(false);
        let (end_rest, rest_ends) = watch::channel(false);
        let gateway = self.gateway;
        let front = move |request, peer| gateway.clone().handle(request, peer);
        let certificate = self.gateway_listener.tls.clone().map(|tls| tokio::spawn(tls.watch()));
        let front = tokio::spawn(frontdesk_gateway::run(self.gateway_listener, front, ended(doors_end.clone())));
        let control = self.control;
        let back = move |request, _peer| control.clone().handle(request);
        let back = tokio::spawn(frontdesk_gateway::run(self.control_listener, back, ended(doors_end)));
        let writer = tokio::spawn(UsageWriter::new(self.keys).run(ended(rest_ends)));

        shutdown.await;
        let _ = end_doors.send(true);
        let _ = tokio::join!(front, back);
        if let Some(certificate) = certificate {
            certificate.abort();
        }
        self.agent.stop().await;
        let _ = end_rest.send(true);
        let _ = writer.await;
        let _ = std::fs::remove_file(self.data_folder.path().join(RUN_FILE));
    }
}

async fn ended(mut signal: watch::Receiver<bool>) {
    let _ = signal.wait_for(|ended| *ended).await;
}

async fn bind(address: &str, setting: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("failed to listen on {address} ({setting}): is another program using the port? Choose another with {flag} HOST:PORT, or port 0 for any")
    })
}

fn run_file(settings: &Settings, gateway: &TcpListener, control: &TcpListener) -> anyhow::Result<RunFile> {
    let scheme = if settings.gateway.tls_certificate.is_some() { "https" } else { "http" };
    let gateway = format!("{scheme}://{}", gateway.local_addr()?);
    Ok(RunFile {
        pid: std::process::id(),
        endpoint: format!("{gateway}/{}/invoke", settings.gateway.stage),
        gateway,
        control: format!("http://{}", control.local_addr()?),
        region: settings.region.clone(),
    })
}

/// From the variable, else the named file, else a file beside the database.
fn seal_key(settings: &Settings, data_folder: &DataFolder) -> anyhow::Result<SealKey> {
    match std::env::var("FRONTDESK_SEAL_KEY") {
        Ok(digits) => Ok(SealKey::from_hex(&digits, "FRONTDESK_SEAL_KEY")?),
        Err(_) => {
            let beside_the_database = data_folder.path().join("seal-key");
            Ok(SealKey::from_file(settings.seal_key_file.as_ref().unwrap_or(&beside_the_database))?)
        }
    }
}

/// This executable in its other place to live.
fn agent_program(settings: &Settings, data_folder: &Path) -> anyhow::Result<AgentProgram> {
    let logs = data_folder.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("failed to make the folder {}", logs.display()))?;
    let mut agent = settings.agent.clone();
    agent.faq = std::path::absolute(&agent.faq)?;
    agent.model_dir = std::path::absolute(&agent.model_dir)?;
    let cache_dir = agent.cache_dir.take().unwrap_or_else(|| data_folder.join("cache"));
    agent.cache_dir = Some(std::path::absolute(cache_dir)?);
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| reaches_the_agent(name)).collect();
    environment.extend(settings::agent_variables(&agent)?.into_iter().map(|(name, value)| (name.into(), value.into())));
    Ok(AgentProgram {
        executable: executable()?,
        arguments: vec!["agent".into()],
        port_flag: Some("--port".into()),
        environment,
        working_dir: None,
        log_path: Some(logs.join("agent.log")),
    })
}

/// An agent gets the providers' keys and the few variables that every program needs.
fn reaches_the_agent(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    INHERITED.contains(&&*name) || (name.ends_with("_API_KEY") && !name.starts_with("FRONTDESK_"))
}

/// On Linux the running file itself, so that a replaced or deleted one does not start another version's agent.
fn executable() -> anyhow::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())));
    }
    std::env::current_exe().context("failed to find this program's own file")
}

fn root(key: &AccessKey) -> Principal {
    let credentials = Credentials::new(key.id.clone(), key.secret.expose());
    Principal { arn: key.principal.clone(), credentials, policies: Vec::new(), is_root: true }
}

/// The proxy's role: it may invoke this agent and nothing else. Its access key lives as long as the process.
fn proxy_role(settings: &Settings, agent: &AgentRuntimeArn) -> anyhow::Result<Principal> {
    let arn = format!("arn:aws:sts::{}:assumed-role/AgentCoreLambdaProxyRole/AgentCoreProxy", settings.account_id);
    let key = seed::new_access_key(&arn)?;
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "InvokeAgentCore",
            "Effect": "Allow",
            "Action": "bedrock-agentcore:InvokeAgentRuntime",
            "Resource": [agent.to_string(), agent.endpoint(DEFAULT_ENDPOINT)?.to_string()],
        }],
    });
    let policy = Policy::parse(&policy.to_string()).context("the proxy's own policy is wrong")?;
    let credentials = Credentials::new(key.id, key.secret.expose());
    Ok(Principal { arn, credentials, policies: vec![policy], is_root: false })
}

fn tls(settings: &Settings) -> anyhow::Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&settings.gateway.tls_certificate, &settings.gateway.tls_key) else { return Ok(None) };
    Ok(Some(Tls::open(certificate, key).context("gateway.tls_certificate, gateway.tls_key")?))
}

fn cache_settings(settings: &Settings) -> CacheSettings {
    let gateway = &settings.gateway;
    let scope = match gateway.cache_scope {
        CacheScopeSetting::Key => CacheScope::PerKey,
        CacheScopeSetting::Shared => CacheScope::Shared,
    };
    CacheSettings { scope, bytes_max: gateway.cache_bytes_max }
}

/// The access log: standard output, a file, or none.
fn access_log(settings: &Settings, data_folder: &Path) -> anyhow::Result<Option<AccessLog>> {
    let path = settings.access_log.path.clone().unwrap_or_else(|| data_folder.join("logs/access.log"));
    let sink: LogSink = match path.to_str() {
        Some("off") => return Ok(None),
        // Nobody may be listening; the host lives on.
        Some("-") => Box::new(|line| drop(writeln!(std::io::stdout(), "{line}"))),
        _ => {
            let open = || {
                path.parent().map(std::fs::create_dir_all).transpose()?;
                LogFile::open(&path)
            };
            let file = open().with_context(|| format!("failed to open the access log {} (access_log.path)", path.display()))?;
            Box::new(move |line| file.append(line))
        }
    };
    let format = LogFormat::parse(&settings.access_log.format)?;
    Ok(Some(AccessLog::start(format, settings.account_id.clone(), sink).context("failed to start the access log's thread")?))
}

fn metrics_source(registry: Registry, observers: &Observers) -> MetricsSource {
    let (gateway, access_log) = (observers.metrics.clone(), observers.access_log.clone());
    Box::new(move || {
        gateway.set_log_lines_lost(access_log.as_ref().map_or(0, |access_log| access_log.lost()));
        metrics::text(&registry)
    })
}

/// What answers, in a word.
pub(crate) fn model_name(settings: &Settings) -> String {
    settings.agent.model.clone().resolve(|name| std::env::var(name).ok()).to_string()
}

/// The usage plan's limits in words.
pub(crate) fn usage_plan_in_words(settings: &Settings) -> String {
    let plan = &settings.usage_plan;
    let speed = if plan.rate_limit > 0.0 {
        format!("{} requests/s, burst {}", plan.rate_limit, plan.burst_limit)
    } else {
        "unlimited requests/s".to_owned()
    };
    let period = match plan.quota_period {
        QuotaPeriodSetting::Day => "day",
        QuotaPeriodSetting::Week => "week",
        QuotaPeriodSetting::Month => "month",
    };
    let quota = if plan.quota_limit > 0 { format!("{} a {period}", plan.quota_limit) } else { "no quota".to_owned() };
    format!("{speed}, {quota}")
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the start's moment is read")]
fn now_unix() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// The gateway's seam, filled by the proxy.
struct ProxyIntegration {
    proxy: Arc<Proxy>,
}

impl Integration for ProxyIntegration {
    fn call(&self, request: Request<Body>) -> Answering {
        let proxy = self.proxy.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(|| IntegrationError::Failed("no caller".into()))?;
            let body = body.collect().await.map_err(IntegrationError::Failed)?.to_bytes();
            let is_streaming = caller.is_streaming;
            let caller = frontdesk_proxy::Caller {
                api_key_id: caller.api_key_id.map(|id| id.0),
                request_id: caller.request_id,
                amzn_trace_id: caller.trace.amzn_trace_id,
                traceparent: caller.trace.traceparent,
                tracestate: caller.trace.tracestate,
                time_left: caller.time_left,
            };
            if is_streaming {
                let answered = proxy.handle_stream(&body, &caller, now()).await.map_err(|_| IntegrationError::TimedOut)?;
                return Ok(naming_its_actor(answered).map(|body| body.map_err(Into::into).boxed_unsync()));
            }
            let answered = proxy.handle(&body, &caller, now()).await;
            let response: Response<bytes::Bytes> = answered.map_err(|_| IntegrationError::TimedOut)?;
            Ok(naming_its_actor(response).map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
        })
    }
}

/// The proxy and the gateway do not know each other's types.
fn naming_its_actor<B>(mut response: Response<B>) -> Response<B> {
    if let Some(frontdesk_proxy::Actor(actor)) = response.extensions_mut().remove() {
        response.extensions_mut().insert(Actor(actor));
    }
    response
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a signature's moment is read")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
