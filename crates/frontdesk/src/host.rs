//! The composition root of a self-hosted Frontdesk: every room is made here and handed to the next, and ended in the right order.

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context as _;
use frontdesk_agent::retrieval::SearchKind;
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_aws::Credentials;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_control::{
    Authority, BuiltInRole, CallerAddress, Control, FigureSource, ForeignHosts, IdentityService, Interceptor, LogPlace, LogService,
    MetricService, MetricsSource, ProxyCredentials, ProxyUser, StatusSource,
};
use frontdesk_functions::{FunctionFigures, FunctionPlace, FunctionService, LogSinks, RoleCredentials};
use frontdesk_gateway::access_log::{AccessLog, LogFormat, LogSink};
use frontdesk_gateway::apis::agent_api::AgentApi;
use frontdesk_gateway::cache::{CacheScope, CacheSettings};
use frontdesk_gateway::metrics::{self, Metrics};
use frontdesk_gateway::stage_logs::StageLogs;
use frontdesk_gateway::tls::Tls;
use frontdesk_gateway::{
    ApiService, Backends, CreatedKey, Fleet, Gateway, GatewayLimits, Integration, KeyService, LeaseDesk, Listener, ListenerLimits,
    Observers, OnOutage, UsageWriter, key,
};
use frontdesk_process::{LogFile, Sandbox, SandboxUser, Spawner};
use frontdesk_proxy::{Proxy, ProxySettings};
use frontdesk_runtime::{
    DEFAULT_ENDPOINT, EgressRules, RuntimePlace, RuntimeService, SESSION_USERS, SeededProgram, SeededRuntime, SessionLimits,
};
use frontdesk_store::{
    AccessKey, Artifact, DataFolder, FleetAddress, IsolationLevel, Joined, LocalProgram, LogStore, RuntimeConfiguration, SealKey,
    SecretText, SessionMode, Store, Throttle,
};
use frontdesk_trace::Spans;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent_metrics::AgentMetrics;
use crate::agentcore_calls::{self, AgentCoreCalls};
use crate::alarm_teller::AlarmTeller;
use crate::ca_bundle;
use crate::exec_environment;
use crate::fetch;
use crate::front_door::FrontDoor;
use crate::function_calls::FunctionCalls;
use crate::log_groups::{self, FilteredMetrics, StageLogGroups};
use crate::run_file::{ROOT_KEY_FILE, RUN_FILE, RootKeyFile, RunFile};
use crate::seed::{self, SeededHost};
use crate::session_meter;
use crate::settings::{self, CacheScopeSetting, ForeignHostsSetting, OnOutageSetting, QuotaPeriodSetting, RuntimeHostSettings, Settings};
use crate::transport::{ControlEnd, InProcess};

/// The name of the function that is the proxy: the host's own, not one that anybody deployed.
const PROXY: &str = "frontdesk-proxy";
/// The name of its role: not the guide's, which whoever follows the guide makes.
const PROXY_ROLE: &str = "FrontdeskProxyRole";
/// The role that methods with AgentCore straight behind them name.
const GATEWAY_ROLE: &str = "FrontdeskGatewayRole";
/// Variables that every agent inherits: where programs, homes, certificates and proxies are. For the host's own see [`is_for_own_agent`].
const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "LANG",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "https_proxy",
    "no_proxy",
];
/// Variables that the host's own agent inherits besides.
const INHERITED_BY_OWN: [&str; 2] = ["FRONTDESK_LOG", "TMPDIR"];

/// Writes the page of all metrics.
pub(crate) type MetricsPage = Arc<dyn Fn() -> String + Send + Sync>;

/// A host that has been set up and is about to serve.
pub(crate) struct Host {
    pub(crate) run: RunFile,
    pub(crate) agent_runtime_arn: AgentRuntimeArn,
    /// The name of the agent that answers at the endpoint.
    front_agent: String,
    pub(crate) root_key: AccessKey,
    /// The first key, on the first start only.
    pub(crate) first_key: Option<CreatedKey>,
    /// How the agent searches.
    pub(crate) search: SearchKind,
    pub(crate) metrics: MetricsPage,
    runtimes: Arc<RuntimeService>,
    functions: Arc<FunctionService>,
    logs: Arc<LogService>,
    gateway: Arc<Gateway>,
    gateway_listener: Listener,
    control: Arc<Control>,
    interceptor: Arc<Interceptor>,
    control_listener: Listener,
    keys: Arc<KeyService>,
    fleet: Option<Fleet>,
    figures: Arc<MetricService>,
    alarm_teller: AlarmTeller,
    data_folder: DataFolder,
}

impl Host {
    /// Takes the data folder and the ports, and joins the rooms, which tell `spans` of requests.
    pub(crate) async fn set_up(settings: &Settings, spans: Spans) -> anyhow::Result<Host> {
        let now_unix = now_unix();
        let data_folder = DataFolder::hold(&settings.data_dir)?;
        let gateway_listener = bind(&settings.gateway.listen, "gateway.listen", "--gateway-listen").await?;
        let control_listener = bind(&settings.control.listen, "control.listen", "--control-listen").await?;
        let run = run_file(settings, &gateway_listener, &control_listener)?;
        let control_port = control_listener.local_addr().context("failed to read the control face's own address")?.port();

        let store = Arc::new(Store::open(&data_folder.path().join("frontdesk.db"), seal_key(settings, &data_folder)?)?);
        let desk = join_fleet(settings, &store)?;
        let SeededHost { rest_api_id, agent_runtime_arn, root_key } = seed::seed(&store, settings, now_unix)?;
        let keys = Arc::new(KeyService::open(store.clone(), settings.keys.keep_values, desk, now_unix)?);
        let first_key = seed::first_key(&store, &keys, now_unix)?;

        let search = match ModelFiles::locate(&settings.agent.model_dir)? {
            Some(_) => settings.agent.search,
            None => SearchKind::Keyword,
        };
        let spawner = Spawner::start().context("failed to start the spawning thread")?;
        let filtered = Arc::new(FilteredMetrics::default());
        let logs = logs(settings, data_folder.path(), filtered.clone())?;
        let runtimes = runtimes(settings, data_folder.path(), store.clone(), spawner.clone(), logs.clone())?;
        runtimes.seed(own_agent(settings, data_folder.path(), &agent_runtime_arn)?, now_unix * 1000)?;

        let front_agent = settings.gateway.agent.clone().unwrap_or_else(|| agent_runtime_arn.name().to_owned());
        let proxy_role = proxy_role(settings, &front_agent)?;
        let gateway_role = gateway_role(settings)?;
        let root = Credentials::new(root_key.id.clone(), root_key.secret.expose());
        let built_in = vec![proxy_role.clone(), gateway_role.clone()];
        let identities = Arc::new(IdentityService::open(store.clone(), &settings.account_id, root, built_in)?);
        let roles = roles_of_functions(identities.clone());
        let authority = Authority::open(&data_folder, now()).context("the intercepting proxy has no certificates")?;
        std::fs::write(data_folder.path().join(exec_environment::CERTIFICATE_FILE), authority.certificate_pem())
            .context("failed to write the local authority's certificate")?;
        let proxy_credentials = ProxyCredentials::new(root_key.secret.expose());
        let way_here = WayHere::of_functions(data_folder.path(), &authority, &proxy_credentials, &run.control)?;
        let sinks = log_groups::of_functions(logs.clone(), identities.clone());
        let functions = functions(settings, data_folder.path(), store.clone(), spawner, way_here, roles, sinks)?;
        let status = StatusSource {
            gateway: run.gateway.clone(),
            endpoint: run.endpoint.clone(),
            control: run.control.clone(),
            search: search.to_string(),
            embedding_model_missing: search != settings.agent.search,
            model: model_name(settings),
            faq: std::path::absolute(&settings.agent.faq)?.display().to_string(),
            endpoint_agent: front_agent.clone(),
            usage_plan: usage_plan_in_words(settings),
            rest_api_id: rest_api_id.clone(),
            agent_runtime_arn: agent_runtime_arn.clone(),
        };
        let mut registry = Registry::default();
        let access_log = access_log(settings, data_folder.path())?.map(Arc::new);
        let stage_logs = Arc::new(StageLogs::new(settings.account_id.clone(), Box::new(StageLogGroups(logs.clone()))));
        registry.register_collector(Box::new(AgentMetrics(runtimes.clone())));
        let metrics = Metrics::register(&mut registry);
        let (alarm_sink, alarm_teller) = AlarmTeller::new(&settings.alarms)?;
        let of_gateway = metrics.clone();
        let of_proxy = Arc::new(FunctionFigures::default());
        let (of_functions, of_runtimes, figures_of_proxy) = (functions.clone(), runtimes.clone(), of_proxy.clone());
        let closing = Arc::downgrade(&logs);
        let sources: Vec<FigureSource> = vec![
            // Not figures of the logs themselves: what their filters owe for minutes that are over.
            Box::new(move || {
                if let Some(logs) = closing.upgrade() {
                    logs.close_minutes(log_groups::now_ms());
                }
                Vec::new()
            }),
            Box::new(move || of_gateway.take_figures()),
            Box::new(move || of_functions.take_figures()),
            Box::new(move || of_runtimes.take_figures()),
            Box::new(move || figures_of_proxy.take(PROXY)),
        ];
        let figures = Arc::new(MetricService::open(store.clone(), &settings.region, &settings.account_id, sources, alarm_sink)?);
        filtered.tell(figures.clone());
        let fleet = Fleet::new(keys.clone(), Gauge::default());
        if let Some(fleet) = &fleet {
            registry.register("frontdesk_fleet_connected", "Whether the fleet's database answers: 1 or 0", fleet.connected().clone());
        }
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
        let observers = Observers { access_log, metrics: metrics.clone(), spans: spans.clone() };
        let metrics_page = metrics_page(registry, &observers, &stage_logs, &logs);
        let metrics_source = settings.control.metrics.then(|| {
            let metrics_page = metrics_page.clone();
            Box::new(move || metrics_page()) as MetricsSource
        });
        let control_end = ControlEnd::default();
        let transport = Arc::new(InProcess::new(control_end.clone()));
        let agentcore: Arc<dyn Integration> = Arc::new(AgentCoreCalls {
            region: settings.region.clone(),
            endpoint: run.control.clone(),
            roles: Arc::new([
                (role_arn(settings, PROXY_ROLE), proxy_role.credentials.clone()),
                (role_arn(settings, GATEWAY_ROLE), gateway_role.credentials),
            ]),
            signing_keys: Arc::default(),
            transport: transport.clone(),
        });
        let front_door = {
            let (control, prompt_chars_max) = (run.control.clone(), settings.gateway.prompt_chars_max);
            let (credentials, spans) = (proxy_role.credentials, spans.clone());
            let make = move |arn: &AgentRuntimeArn| {
                let settings = ProxySettings {
                    agent_runtime_arn: arn.clone(),
                    qualifier: DEFAULT_ENDPOINT.to_owned(),
                    endpoint: control.clone(),
                    prompt_chars_max,
                };
                Ok(Proxy::new(settings, credentials.clone(), transport.clone(), spans.clone())?)
            };
            FrontDoor::new(front_agent.clone(), runtimes.clone(), Box::new(make), of_proxy, settings.deploy.function_memory_mb)
        };
        let proxy_arn = proxy_arn(&settings.region, &settings.account_id);
        let function: Arc<dyn Integration> = Arc::new(front_door);
        let function_calls = FunctionCalls {
            functions: functions.clone(),
            identities: identities.clone(),
            region: settings.region.clone(),
            account_id: settings.account_id.clone(),
        };
        let backends = Backends::new(HashMap::from([(proxy_arn.clone(), function)]))
            .context("failed to read this machine's certificate authorities (SSL_CERT_FILE names others)")?
            .with_lambda(Arc::new(function_calls))
            .with_services(HashMap::from([(agentcore_calls::SERVICE.to_owned(), agentcore)]));
        let cache = cache_settings(settings);
        let apis = ApiService::open(store.clone(), settings.account_id.clone(), rest_api_id.clone(), backends, cache, stage_logs, metrics)?;
        let apis = Arc::new(apis);
        let stage = settings.gateway.stage.clone();
        let (cache_ttl_s, stream_timeout_ms) = (settings.gateway.cache_ttl_s, settings.gateway.stream_timeout_ms);
        seed::agent_api(&store, &apis, &AgentApi { id: rest_api_id, stage, proxy_arn, cache_ttl_s, stream_timeout_ms }, now_unix)?;
        let limits = GatewayLimits {
            body_bytes_max: settings.gateway.body_bytes_max,
            integration_timeout: Duration::from_millis(settings.gateway.integration_timeout_ms),
            in_flight_max: settings.gateway.in_flight_max,
            throttle: Throttle { rate_limit: settings.gateway.rate_limit, burst_limit: settings.gateway.burst_limit },
            trusted_proxies: settings.gateway.trusted_networks()?,
            ..GatewayLimits::default()
        };
        let gateway = Arc::new(Gateway::new(apis.clone(), keys.clone(), limits, observers));
        let region = settings.region.clone();
        let control = Control::new(region, identities, runtimes.clone(), keys.clone(), apis, status, metrics_source);
        let control = control.with_functions(functions.clone()).with_logs(logs.clone()).with_metrics(figures.clone());
        let control = control.with_spans(spans).with_fetch(fetch::documents()?).with_gateway(gateway.clone());
        let control = Arc::new(control);
        control_end.put(&control);
        let foreign = match settings.control.foreign_hosts {
            ForeignHostsSetting::Tunnel => ForeignHosts::Tunnel,
            ForeignHostsSetting::Refuse => ForeignHosts::Refuse,
        };
        let interceptor = Arc::new(Interceptor::new(control_port, control.clone(), gateway.clone(), authority, proxy_credentials, foreign));

        Ok(Host {
            run,
            agent_runtime_arn,
            front_agent,
            root_key,
            first_key,
            search,
            metrics: metrics_page,
            runtimes,
            functions,
            logs,
            gateway,
            gateway_listener,
            control,
            interceptor,
            control_listener,
            keys,
            fleet,
            figures,
            alarm_teller,
            data_folder,
        })
    }

    /// Starts the built-in agent, so that the first caller does not wait for it and a broken FAQ is told now. Where another answers at the endpoint, it starts
    /// when it is called.
    pub(crate) async fn start_agent(&self) -> anyhow::Result<()> {
        if !self.is_faq_in_front() {
            return Ok(());
        }
        let started = self.runtimes.start_shared(self.agent_runtime_arn.id()).await;
        started.map_err(|reason| anyhow::anyhow!("the agent could not be started: {reason}"))
    }

    /// Whether the built-in agent answers at the endpoint.
    pub(crate) fn is_faq_in_front(&self) -> bool {
        self.front_agent == self.agent_runtime_arn.name()
    }

    /// The agent that answers at the endpoint, in words.
    pub(crate) fn front_agent_in_words(&self) -> String {
        let agent = &self.front_agent;
        match self.runtimes.arn_of(agent) {
            Some(arn) => arn.to_string(),
            None => format!("{agent}, once it is here: `frontdesk launch` in its folder brings it"),
        }
    }

    /// Whether the agent is at work besides its calls: the built-in one embeds a large FAQ then.
    pub(crate) fn agent_is_busy(&self) -> bool {
        self.runtimes.shared_status(self.agent_runtime_arn.id()).is_busy
    }

    /// Tells the command line where this host is.
    pub(crate) fn announce(&self) -> anyhow::Result<()> {
        let root_key = RootKeyFile { access_key_id: self.root_key.id.clone(), secret_access_key: self.root_key.secret.expose().to_owned() };
        self.data_folder.write_private(ROOT_KEY_FILE, &serde_json::to_vec_pretty(&root_key)?)?;
        self.data_folder.write_private(RUN_FILE, &serde_json::to_vec_pretty(&self.run)?)?;
        Ok(())
    }

    /// Serves until `shutdown` ends; then requests in flight are finished, the agents ended and the last counts written, in that order.
    ///
    /// # Errors
    /// When it cannot begin to.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let (end_doors, doors_end) = watch::channel(false);
        let (end_rest, rest_ends) = watch::channel(false);
        let certificate = self.gateway_listener.tls.clone().map(|tls| tokio::spawn(tls.watch()));
        let threads = available_parallelism().map_or(1, usize::from);
        let front = self.gateway.listen(self.gateway_listener, threads).context("failed to start the gateway's threads")?;
        let (control, interceptor) = (self.control, self.interceptor.clone());
        let back = move |mut request: http::Request<hyper::body::Incoming>, peer: SocketAddr| {
            let (control, interceptor) = (control.clone(), interceptor.clone());
            async move {
                if Interceptor::concerns(&request) {
                    return interceptor.handle(request, peer).await;
                }
                request.extensions_mut().insert(CallerAddress(peer.ip()));
                control.handle(request).await
            }
        };
        let back = tokio::spawn(frontdesk_gateway::run(self.control_listener, back, ended(doors_end)));
        let alarm_teller = tokio::spawn(self.alarm_teller.run(self.figures.clone()));
        let session_meter = tokio::spawn(session_meter::run(self.runtimes.clone(), self.figures.clone()));
        let figures = tokio::spawn(self.figures.run(ended(rest_ends.clone())));
        let writer = tokio::spawn(UsageWriter::new(self.keys).run(ended(rest_ends)));
        let (end_fleet, fleet_ends) = watch::channel(false);
        let fleet = self.fleet.map(|fleet| tokio::spawn(fleet.run(ended(fleet_ends))));

        shutdown.await;
        self.logs.end_tails();
        // First the front, for functions that finish behind its methods call through the other door.
        let lingering = front.end().await;
        let _ = end_doors.send(true);
        let _ = tokio::join!(back, self.interceptor.end());
        if let Some(certificate) = certificate {
            certificate.abort();
        }
        session_meter.abort();
        tokio::join!(self.runtimes.shut_down(), self.functions.shut_down());
        drop(lingering);
        // After those who print: their last lines are written.
        let logs = self.logs;
        let _ = tokio::task::spawn_blocking(move || logs.flush()).await;
        let _ = end_rest.send(true);
        let _ = tokio::join!(writer, figures);
        // What it is telling it may tell no more: a receiver may be away for long.
        alarm_teller.abort();
        // After the writer: the fleet is told the last counts.
        let _ = end_fleet.send(true);
        if let Some(fleet) = fleet {
            let _ = fleet.await;
        }
        let _ = std::fs::remove_file(self.data_folder.path().join(RUN_FILE));
        Ok(())
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
        control: format!("http://{}", reached_at(control.local_addr()?)),
        region: settings.region.clone(),
        certificate: settings.gateway.tls_certificate.as_ref().map(std::path::absolute).transpose()?,
    })
}

/// Where programs on this machine reach what listens here: an address of its own where that is all of them.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) if address.ip().is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) if address.ip().is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Makes the host one of its fleet, if the settings name one.
fn join_fleet(settings: &Settings, store: &Store) -> anyhow::Result<Option<Arc<LeaseDesk>>> {
    let Some(url) = &settings.fleet.url else { return Ok(None) };
    let on_outage = match settings.fleet.on_outage {
        OnOutageSetting::Open => OnOutage::Open,
        OnOutageSetting::Closed => OnOutage::Closed,
    };
    let address = FleetAddress::parse(&SecretText::new(url.clone()))?;
    let host_id = key::generate_id().context("the system's random generator failed")?;
    let joined = store.join_fleet(address, host_id, on_outage == OnOutage::Open).context("the host could not join its fleet")?;
    if let Joined::FromReplica(reason) = &joined {
        tracing::warn!(
            error = reason as &dyn std::error::Error,
            "starting without the fleet's database, with keys and plans as they were (fleet.on_outage = open)"
        );
    }
    Ok(Some(Arc::new(LeaseDesk::new(on_outage, matches!(joined, Joined::Reached)))))
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

/// The logs: what functions, agents and stages print, and what anybody puts.
fn logs(settings: &Settings, data_folder: &Path, filtered: Arc<FilteredMetrics>) -> anyhow::Result<Arc<LogService>> {
    let store = LogStore::open(&data_folder.join("logs.db"))?;
    let (region, account_id) = (settings.region.clone(), settings.account_id.clone());
    let opened = LogService::open(store, LogPlace { region, account_id, bytes_max: settings.logs.bytes_max }, filtered);
    opened.map_err(anyhow::Error::from_boxed).context("failed to open the logs")
}

/// The agents' host.
fn runtimes(
    settings: &Settings,
    data_folder: &Path,
    store: Arc<Store>,
    spawner: Spawner,
    logs: Arc<LogService>,
) -> anyhow::Result<Arc<RuntimeService>> {
    let data_folder = std::path::absolute(data_folder)?;
    let place = RuntimePlace {
        region: settings.region.clone(),
        account_id: settings.account_id.clone(),
        logs: data_folder.join("logs").join("agents"),
        lines: log_groups::of_agents(logs),
        sessions: sessions_folder(&data_folder)?,
        environment: inherited(&INHERITED),
        hidden: vec![data_folder.clone()],
        egress: EgressRules::parse(&settings.runtime.egress_allow).context("runtime.egress_allow")?,
        session_users_from: session_users_from(settings),
    };
    let RuntimeHostSettings { sessions_max, queue_max, queue_wait_ms, warm_processes, egress_allow: _, session_users_from: _ } =
        settings.runtime;
    let queue_wait = Duration::from_millis(queue_wait_ms);
    let limits = SessionLimits { sessions_max, queue_max, queue_wait, warm_processes, calls_max: settings.gateway.in_flight_max };
    Ok(RuntimeService::open(store, spawner, place, limits)?)
}

/// What functions sign with: temporary credentials of their role, where there is such a role and it trusts Lambda.
fn roles_of_functions(identities: Arc<IdentityService>) -> RoleCredentials {
    Arc::new(move |role_arn, function| {
        let session = identities.assume_role_for_service("lambda.amazonaws.com", role_arn, function, now_unix());
        match session {
            Ok(session) => Some(session.credentials),
            Err(error) => {
                tracing::warn!(function, role_arn, reason = error.message, "a function finds no credentials: its role cannot be assumed");
                None
            }
        }
    })
}

/// How a process that the host keeps apart finds the host: what is in its environment, and what it must be able to read.
struct WayHere {
    variables: Vec<(OsString, OsString)>,
    readable: PathBuf,
}

impl WayHere {
    /// For functions: their SDKs call the control face, and a URL of AWS's that stands in their code leads there by the proxy.
    fn of_functions(data_folder: &Path, authority: &Authority, credentials: &ProxyCredentials, control: &str) -> anyhow::Result<WayHere> {
        // The data folder is closed to them.
        let readable = sessions_folder(&std::path::absolute(data_folder)?)?.join("certificates");
        let bundle = readable.join("ca-bundle.pem");
        ca_bundle::write(&bundle, authority.certificate_pem())?;
        let mut variables = vec![("AWS_ENDPOINT_URL".into(), control.into())];
        let found = exec_environment::proxy(credentials, ProxyUser::Function, control, &inherited_texts());
        variables.extend(found.into_iter().chain(exec_environment::trust(&bundle)).map(|(name, value)| (name.into(), value)));
        Ok(WayHere { variables, readable })
    }
}

/// The host's own variables, as far as they are text.
fn inherited_texts() -> Vec<(String, OsString)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
}

/// The Lambda functions.
fn functions(
    settings: &Settings,
    data_folder: &Path,
    store: Arc<Store>,
    spawner: Spawner,
    way_here: WayHere,
    roles: RoleCredentials,
    sinks: LogSinks,
) -> anyhow::Result<Arc<FunctionService>> {
    let data_folder = std::path::absolute(data_folder)?;
    let mut environment = inherited(&INHERITED);
    environment.retain(|(name, _)| way_here.variables.iter().all(|(named, _)| named != name));
    environment.extend(way_here.variables);
    let place = FunctionPlace {
        region: settings.region.clone(),
        account_id: settings.account_id.clone(),
        code: data_folder.join("functions"),
        clients: settings.programs_folder()?.join("runtime-interface-clients"),
        environments: sessions_folder(&data_folder)?.join("functions"),
        environment,
        readable: vec![way_here.readable],
        hidden: vec![data_folder.clone()],
        isolation: IsolationLevel::Process,
        invocations_max: u32::try_from(settings.runtime.sessions_max).unwrap_or(u32::MAX),
    };
    Ok(FunctionService::open(store, spawner, place, roles, sinks)?)
}

/// The first of the users that sessions have for themselves: only root gives them any, and in a container only those that the container has.
fn session_users_from(settings: &Settings) -> Option<u32> {
    let first = settings.runtime.session_users_from;
    if first == 0 || !nix::unistd::geteuid().is_root() {
        return None;
    }
    // Lines of three numbers: the first id inside, the first outside, how many.
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let has_all = map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers.as_slice(), [inside, _, count] if *inside <= first.into() && u64::from(first) + u64::from(SESSION_USERS) <= inside + count)
    });
    has_all.then_some(first)
}

/// A sandbox as this host gives it, with a user of its own where there are any.
pub(crate) fn with_own_user(sandbox: Sandbox, settings: &Settings) -> Sandbox {
    let user = session_users_from(settings).map(|id| SandboxUser { uid: id, gid: id });
    Sandbox { user, ..sandbox }
}

/// The folder of the sessions' own folders: outside the data folder, which no agent is to see, at a place that nobody can guess. A note says where, so that a
/// start after a killed one finds it again.
fn sessions_folder(data_folder: &Path) -> anyhow::Result<PathBuf> {
    const PREFIX: &str = "frontdesk-sessions-";
    let note = data_folder.join("sessions-folder");
    let owner = std::fs::metadata(data_folder)?.uid();
    let noted = std::fs::read_to_string(&note).ok().map(PathBuf::from).filter(|folder| {
        let is_ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        // Another user may have put one there since, were it gone.
        let found = std::fs::symlink_metadata(folder);
        is_ours && found.is_ok_and(|found| found.is_dir() && found.uid() == owner)
    });
    if let Some(folder) = noted {
        return Ok(folder);
    }
    let mut builder = tempfile::Builder::new();
    // Each session's folder in it is closed to all others; a user of its own must be able to reach its one.
    builder.prefix(PREFIX).permissions(std::fs::Permissions::from_mode(0o711));
    let folder = builder.tempdir().context("failed to make a folder for the sessions (TMPDIR says where)")?.keep();
    std::fs::write(&note, folder.as_os_str().as_encoded_bytes()).with_context(|| format!("failed to write {}", note.display()))?;
    Ok(folder)
}

/// This executable in its other place to live: one process for all sessions, which keeps their threads apart by itself.
fn own_agent(settings: &Settings, data_folder: &Path, arn: &AgentRuntimeArn) -> anyhow::Result<SeededRuntime> {
    let logs = data_folder.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("failed to make the folder {}", logs.display()))?;
    let mut agent = settings.agent.clone();
    agent.faq = std::path::absolute(&agent.faq)?;
    agent.model_dir = std::path::absolute(&agent.model_dir)?;
    let cache_dir = agent.cache_dir.take().unwrap_or_else(|| data_folder.join("cache"));
    agent.cache_dir = Some(std::path::absolute(cache_dir)?);
    let program = LocalProgram {
        executable: std::env::current_exe().context("failed to find this program's own file")?,
        arguments: vec!["agent".to_owned()],
        port_flag: Some("--port".to_owned()),
        working_dir: None,
        readable: Vec::new(),
    };
    let role_arn = format!("arn:aws:iam::{}:role/{}", arn.account(), arn.name());
    let configuration = RuntimeConfiguration {
        environment: settings::agent_variables(&agent)?.into_iter().collect(),
        sessions: SessionMode::Shared,
        // It is this program itself, and reads its FAQ, its model and its cache wherever the settings say that they are.
        isolation: IsolationLevel::None,
        ..RuntimeConfiguration::new(Artifact::Program(program), role_arn)
    };
    let mut environment = inherited(&INHERITED_BY_OWN);
    environment.extend(std::env::vars_os().filter(|(name, _)| is_for_own_agent(name)));
    Ok(SeededRuntime {
        arn: arn.clone(),
        configuration,
        program: SeededProgram { executable: executable()?, environment, log_path: logs.join("agent.log") },
    })
}

fn inherited(names: &[&str]) -> Vec<(OsString, OsString)> {
    names.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect()
}

/// The host's own agent gets the providers' keys, and OpenTelemetry's variables, by which it exports its own spans; others get what they are launched with.
fn is_for_own_agent(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("OTEL_") || (name.ends_with("_API_KEY") && !name.starts_with("FRONTDESK_"))
}

/// On Linux the running file itself, so that a replaced or deleted one does not start another version's agent.
fn executable() -> anyhow::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())));
    }
    std::env::current_exe().context("failed to find this program's own file")
}

/// The proxy's role: it may invoke the agent of this name and nothing else.
fn proxy_role(settings: &Settings, agent: &str) -> anyhow::Result<BuiltInRole> {
    // The random end of its id, which changes when it is destroyed and launched again, and its endpoints. No name holds a hyphen.
    let description = "The gateway's own function: it may invoke the agent behind the endpoint.";
    invoking_role(settings, PROXY_ROLE, description, ("lambda.amazonaws.com", PROXY), &format!("{agent}-*"))
}

/// The role that integrations may name as their credentials: it may invoke every agent of the host, and nothing else.
fn gateway_role(settings: &Settings) -> anyhow::Result<BuiltInRole> {
    let description = "Methods with AgentCore straight behind them: it may invoke every agent of this host.";
    invoking_role(settings, GATEWAY_ROLE, description, ("apigateway.amazonaws.com", "ApiGateway"), "*")
}

/// The ARN of the host's own function, the proxy.
pub(crate) fn proxy_arn(region: &str, account_id: &str) -> String {
    format!("arn:aws:lambda:{region}:{account_id}:function:{PROXY}")
}

fn role_arn(settings: &Settings, name: &str) -> String {
    format!("arn:aws:iam::{}:role/frontdesk/{name}", settings.account_id)
}

/// A role that may invoke agents. Its access key lives as long as the process.
fn invoking_role(
    settings: &Settings,
    name: &str,
    description: &str,
    (service, session_name): (&str, &str),
    agents: &str,
) -> anyhow::Result<BuiltInRole> {
    let key = seed::new_access_key(&role_arn(settings, name))?;
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "InvokeAgentCore",
            "Effect": "Allow",
            "Action": "bedrock-agentcore:InvokeAgentRuntime",
            "Resource": format!("arn:aws:bedrock-agentcore:{}:{}:runtime/{agents}", settings.region, settings.account_id),
        }],
    });
    Ok(BuiltInRole {
        name: name.to_owned(),
        description: description.to_owned(),
        service: service.to_owned(),
        policy: ("InvokeAgentCore".to_owned(), policy.to_string()),
        credentials: Credentials::new(key.id, key.secret.expose()),
        session_name: session_name.to_owned(),
    })
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

fn metrics_page(registry: Registry, observers: &Observers, stage_logs: &Arc<StageLogs>, logs: &Arc<LogService>) -> MetricsPage {
    let (gateway, access_log) = (observers.metrics.clone(), observers.access_log.clone());
    let (stage_logs, logs) = (stage_logs.clone(), logs.clone());
    Arc::new(move || {
        let lost = access_log.as_ref().map_or(0, |access_log| access_log.lost()) + stage_logs.lost() + logs.lost();
        gateway.set_log_lines_lost(lost);
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
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

fn now_unix() -> i64 {
    now().unix_timestamp()
}
