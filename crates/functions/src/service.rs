//! The functions: what there is, what it is to be, and every change of it. Command line, AWS API and gateway go through here.

mod change;
mod concurrency;
mod permissions;
mod publish;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use frontdesk_aws::Credentials;
use frontdesk_process::Spawner;
use frontdesk_store::{Function, FunctionState, FunctionVersion, IsolationLevel, LastUpdate, Store, StoredFunction};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Clients, RuntimeKind};
use crate::code::{CodeFolder, sha256_base64};
use crate::error::FunctionError;
use crate::figures::AllFigures;
use crate::log::LogSinks;
use crate::pool::Pools;

pub use change::{CodeChange, ConfigurationChange, NewFunction};
pub use permissions::Permission;
use permissions::Permissions;

/// How often idle environments are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// Finds the credentials of a role, for a session by the function's name. `None` leaves the function without any.
pub type RoleCredentials = Arc<dyn Fn(&str, &str) -> Option<Credentials> + Send + Sync>;

/// Where functions live.
#[derive(Debug, Clone)]
pub struct FunctionPlace {
    /// The region in their ARNs.
    pub region: String,
    /// The account in their ARNs.
    pub account_id: String,
    /// The folder of their code.
    pub code: PathBuf,
    /// The folder of the runtime interface clients, which several hosts may share.
    pub clients: PathBuf,
    /// The folder of their processes' own folders; what is in it goes with a start.
    pub environments: PathBuf,
    /// What every function finds in its environment; `PATH` is where interpreters are looked for.
    pub environment: Vec<(OsString, OsString)>,
    /// Folders that every function may read, besides its own and the system's.
    pub readable: Vec<PathBuf>,
    /// Folders that no function may read.
    pub hidden: Vec<PathBuf>,
    /// How far apart functions are kept from the host and from each other.
    pub isolation: IsolationLevel,
    /// Invocations at once, over all functions.
    pub invocations_max: u32,
}

/// A function's version, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionView {
    /// Its ARN, with the qualifier that it was asked for by.
    pub arn: String,
    /// The function.
    pub function: Function,
    /// The version.
    pub version: FunctionVersion,
    /// SHA-256 of the zip file, in base64.
    pub code_sha256: String,
}

/// The functions.
pub struct FunctionService {
    pub(crate) place: FunctionPlace,
    pub(crate) spawner: Spawner,
    pub(crate) codes: CodeFolder,
    pub(crate) clients: Clients,
    pub(crate) pools: Pools,
    pub(crate) roles: RoleCredentials,
    pub(crate) sinks: LogSinks,
    /// The runtime on which functions are carried out, whichever their callers are on.
    pub(crate) tasks: Handle,
    pub(crate) environment: Arc<[(OsString, OsString)]>,
    /// Events that wait or are being handled.
    pub(crate) events: AtomicUsize,
    pub(crate) figures: AllFigures,
    store: Arc<Store>,
    functions: RwLock<BTreeMap<String, Known>>,
    /// One change at a time: it is written first, and then seen.
    changing: Mutex<()>,
    /// How many changes have been seen.
    changes: watch::Sender<u64>,
    environments: AtomicU64,
}

/// A function as it is, and what requests ask of it, read.
#[derive(Debug, Clone)]
struct Known {
    stored: Arc<StoredFunction>,
    permissions: Arc<Permissions>,
}

impl Known {
    fn new(stored: StoredFunction) -> Known {
        Known { permissions: Arc::new(Permissions::of(&stored.function.policies)), stored: Arc::new(stored) }
    }
}

impl std::fmt::Debug for FunctionService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FunctionService").field("place", &self.place).finish_non_exhaustive()
    }
}

impl FunctionService {
    /// Opens the functions that the store holds. What was being prepared when the host ended is prepared again. Must be called inside the async runtime.
    ///
    /// # Errors
    /// [`FunctionError::Store`], and [`FunctionError::Failed`] when the folder cannot be made.
    pub fn open(
        store: Arc<Store>,
        spawner: Spawner,
        place: FunctionPlace,
        roles: RoleCredentials,
        sinks: LogSinks,
    ) -> Result<Arc<FunctionService>, FunctionError> {
        // Those of an earlier host, which has ended.
        let _ = std::fs::remove_dir_all(&place.environments);
        std::fs::create_dir_all(&place.environments)
            .map_err(|error| FunctionError::Failed(format!("failed to make the folder {}: {error}", place.environments.display())))?;
        let functions: BTreeMap<_, _> =
            store.functions()?.into_iter().map(|stored| (stored.function.name.clone(), Known::new(stored))).collect();
        let path = place.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone()).unwrap_or_default();
        let service = Arc::new(FunctionService {
            codes: CodeFolder::new(place.code.clone()),
            clients: Clients::new(place.clients.clone(), path),
            pools: Pools::new(place.invocations_max),
            environment: place.environment.clone().into(),
            functions: RwLock::new(functions),
            changing: Mutex::new(()),
            changes: watch::Sender::new(0),
            environments: AtomicU64::new(0),
            events: AtomicUsize::new(0),
            figures: AllFigures::default(),
            store,
            spawner,
            place,
            roles,
            sinks,
            tasks: Handle::current(),
        });
        for stored in service.all() {
            if stored.versions.values().any(is_on_its_way) {
                service.prepare(&stored.function.name);
            }
        }
        tokio::spawn(tidy(Arc::downgrade(&service)));
        Ok(service)
    }

    /// All functions, by name, each as its newest version.
    #[must_use]
    pub fn list(&self) -> Vec<FunctionView> {
        self.all().iter().map(|stored| self.view(stored, &stored.versions[FunctionVersion::LATEST], None)).collect()
    }

    /// A function, or the version or alias of it that `qualifier` names.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`].
    pub fn get(&self, name: &str, qualifier: Option<&str>) -> Result<FunctionView, FunctionError> {
        let stored = self.find(name)?;
        let version = self.version_of(&stored, qualifier)?;
        Ok(self.view(&stored, version, qualifier))
    }

    /// The versions of a function: `$LATEST`, then the numbered ones in order.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`].
    pub fn versions(&self, name: &str) -> Result<Vec<FunctionView>, FunctionError> {
        let stored = self.find(name)?;
        let mut versions: Vec<_> = stored.versions.values().collect();
        versions.sort_by_key(|version| version.version.parse::<u32>().unwrap_or(0));
        Ok(versions.into_iter().map(|version| self.view(&stored, version, Some(&version.version))).collect())
    }

    /// How many invocations may run at once, over all functions.
    #[must_use]
    pub fn invocations_max(&self) -> u32 {
        self.place.invocations_max
    }

    /// Tells of changes, those of a state among them, once they can be seen.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Ends all processes.
    pub async fn shut_down(&self) {
        for environment in self.pools.unwanted(Instant::now(), |_| false) {
            environment.end().await;
        }
    }

    /// The ARN of a function, or of a version or alias of it.
    #[must_use]
    pub fn arn(&self, name: &str, qualifier: Option<&str>) -> String {
        let FunctionPlace { region, account_id, .. } = &self.place;
        let qualifier = qualifier.map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
        format!("arn:aws:lambda:{region}:{account_id}:function:{name}{qualifier}")
    }

    pub(crate) fn all(&self) -> Vec<Arc<StoredFunction>> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).values().map(|known| known.stored.clone()).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Result<Arc<StoredFunction>, FunctionError> {
        self.known(name).map(|known| known.stored).ok_or_else(|| FunctionError::no_function(&self.arn(name, None)))
    }

    fn known(&self, name: &str) -> Option<Known> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The version that a qualifier leads to.
    pub(crate) fn version_of<'f>(&self, stored: &'f StoredFunction, qualifier: Option<&str>) -> Result<&'f FunctionVersion, FunctionError> {
        let qualifier = qualifier.unwrap_or(FunctionVersion::LATEST);
        let version = stored.aliases.get(qualifier).map_or(qualifier, |alias| &alias.version);
        let found = stored.versions.get(version);
        found.ok_or_else(|| FunctionError::no_function(&self.arn(&stored.function.name, Some(qualifier))))
    }

    /// Whether a version of this revision still is what its function is.
    pub(crate) fn is_current(&self, key: &crate::pool::PoolKey) -> bool {
        self.find(&key.function).is_ok_and(|stored| stored.versions.values().any(|version| version.revision_id == key.revision_id))
    }

    /// A folder that no process has had.
    pub(crate) fn new_environment_folder(&self) -> PathBuf {
        let number = self.environments.fetch_add(1, Ordering::Relaxed);
        self.place.environments.join(number.to_string())
    }

    fn view(&self, stored: &StoredFunction, version: &FunctionVersion, qualifier: Option<&str>) -> FunctionView {
        FunctionView {
            arn: self.arn(&stored.function.name, qualifier),
            function: stored.function.clone(),
            version: version.clone(),
            code_sha256: sha256_base64(&version.code),
        }
    }

    /// Changes a function: what `change` makes of it is written and then seen.
    fn change<T>(&self, name: &str, change: impl FnOnce(&mut StoredFunction) -> Result<T, FunctionError>) -> Result<T, FunctionError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stored = (*self.find(name)?).clone();
        let told = change(&mut stored)?;
        self.write(stored)?;
        Ok(told)
    }

    fn write(&self, stored: StoredFunction) -> Result<(), FunctionError> {
        self.store.put_function(&stored)?;
        let name = stored.function.name.clone();
        self.functions.write().unwrap_or_else(PoisonError::into_inner).insert(name, Known::new(stored));
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// Prepares what is pending of a function, in the background.
    fn prepare(self: &Arc<Self>, name: &str) {
        let (service, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let Ok(stored) = service.find(&name) else { return };
            for version in stored.versions.values().filter(|version| is_on_its_way(version)) {
                let prepared = service.try_preparing(version).await;
                let (service, name, version) = (service.clone(), name.clone(), version.clone());
                let told = tokio::task::spawn_blocking(move || service.tell_prepared(&name, &version, prepared)).await;
                if let Ok(Err(error)) = told {
                    tracing::error!(error = &error as &dyn std::error::Error, "a function's state could not be written");
                }
            }
        });
    }

    async fn try_preparing(&self, version: &FunctionVersion) -> Result<(), String> {
        let kind = RuntimeKind::of(&version.configuration.runtime).ok_or("its runtime is not known")?;
        let (codes, code) = (self.codes.clone(), version.code.clone());
        let task = tokio::task::spawn_blocking(move || codes.unpacked(&code)).await.map_err(|panicked| panicked.to_string())??;
        self.clients.prepare(kind, &version.configuration.handler, &task).await.map(drop)
    }

    fn tell_prepared(&self, name: &str, prepared: &FunctionVersion, outcome: Result<(), String>) -> Result<(), FunctionError> {
        if let Err(reason) = &outcome {
            tracing::warn!(function = name, version = prepared.version, reason, "a function cannot be run");
        }
        self.change(name, |stored| {
            // It may have been changed again since, or deleted.
            let Some(version) = stored.versions.get_mut(&prepared.version).filter(|version| version.revision_id == prepared.revision_id)
            else {
                return Ok(());
            };
            match outcome {
                Ok(()) => {
                    (version.state, version.state_reason) = (FunctionState::Active, None);
                    (version.last_update, version.last_update_reason) = (LastUpdate::Successful, None);
                }
                Err(reason) => {
                    if version.state == FunctionState::Pending {
                        (version.state, version.state_reason) = (FunctionState::Failed, Some(reason.clone()));
                    }
                    (version.last_update, version.last_update_reason) = (LastUpdate::Failed, Some(reason));
                }
            }
            Ok(())
        })
    }
}

fn is_on_its_way(version: &FunctionVersion) -> bool {
    version.state == FunctionState::Pending || version.last_update == LastUpdate::InProgress
}

/// Ends environments that nobody needs, as long as there is a service.
async fn tidy(service: Weak<FunctionService>) {
    let mut interval = tokio::time::interval(TIDY_INTERVAL);
    loop {
        interval.tick().await;
        let Some(service) = service.upgrade() else { return };
        for environment in service.pools.unwanted(Instant::now(), |key| service.is_current(key)) {
            environment.end().await;
        }
    }
}

/// A new revision's id.
fn new_revision() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Fails when the caller's idea of a revision is not the newest.
fn check_revision(given: Option<&str>, newest: &str) -> Result<(), FunctionError> {
    match given {
        Some(given) if given != newest => Err(FunctionError::PreconditionFailed),
        _ => Ok(()),
    }
}
