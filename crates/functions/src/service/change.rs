//! Functions are made, changed and deleted.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use frontdesk_store::{Function, FunctionCode, FunctionConfiguration, FunctionState, FunctionVersion, LastUpdate, StoredFunction};

use super::{FunctionService, FunctionView, check_revision, is_on_its_way, new_revision};
use crate::code::CodeFolder;
use crate::error::FunctionError;
use crate::name::FunctionName;
use crate::validation;

/// A function to make.
#[derive(Debug, Clone)]
pub struct NewFunction {
    /// Its name.
    pub name: String,
    /// How it is run.
    pub configuration: FunctionConfiguration,
    /// Its code.
    pub zip: Vec<u8>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether version 1 is published at once.
    pub is_published: bool,
}

/// New code for a function.
#[derive(Debug, Clone, Default)]
pub struct CodeChange {
    /// The code.
    pub zip: Vec<u8>,
    /// What it is built for.
    pub architecture: Option<String>,
    /// Whether a version is published.
    pub is_published: bool,
    /// Whether nothing is to be changed: it is only checked.
    pub is_dry_run: bool,
    /// The revision that is to be changed, and no other.
    pub revision_id: Option<String>,
}

/// Another configuration for a function; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationChange {
    /// Such as `python3.12`.
    pub runtime: Option<String>,
    /// The role that it plays.
    pub role_arn: Option<String>,
    /// Which function of the code is called.
    pub handler: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The longest invocation, in seconds.
    pub timeout_s: Option<u32>,
    /// Memory, in MB.
    pub memory_mb: Option<u32>,
    /// Room in `/tmp`, in MB.
    pub ephemeral_storage_mb: Option<u32>,
    /// All its environment variables.
    pub environment: Option<BTreeMap<String, String>>,
    /// `Active` or `PassThrough`.
    pub tracing_mode: Option<String>,
    /// The revision that is to be changed, and no other.
    pub revision_id: Option<String>,
}

impl FunctionService {
    /// Makes a function. It is `Pending` until it is prepared, in the background. Blocks on the database and the disk.
    ///
    /// # Errors
    /// [`FunctionError::Conflict`] when there is one of its name, [`FunctionError::Invalid`], [`FunctionError::TooLarge`].
    pub fn create(self: &Arc<Self>, new: NewFunction, now_ms: i64) -> Result<FunctionView, FunctionError> {
        let name = FunctionName::parse(&new.name, None)?.name;
        validation::check(&new.configuration)?;
        if self.find(&name).is_ok() {
            return Err(exists(&name));
        }
        let code = self.codes.keep(&new.zip)?;
        let version = FunctionVersion {
            version: FunctionVersion::LATEST.to_owned(),
            code,
            configuration: new.configuration,
            state: FunctionState::Pending,
            state_reason: Some("The function is being created.".to_owned()),
            last_update: LastUpdate::InProgress,
            last_update_reason: Some("The function is being created.".to_owned()),
            modified_at_ms: now_ms,
            revision_id: new_revision(),
        };
        let function = Function {
            name: name.clone(),
            created_at_ms: now_ms,
            last_version: 0,
            tags: new.tags,
            policies: BTreeMap::new(),
            reserved_concurrency: None,
        };
        let versions = BTreeMap::from([(version.version.clone(), version)]);
        {
            let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            // Another may have been faster.
            if self.find(&name).is_ok() {
                return Err(exists(&name));
            }
            self.write(StoredFunction { function, versions, aliases: BTreeMap::new() })?;
        }
        let view = if new.is_published { self.publish(&name, None, None, None, now_ms)? } else { self.get(&name, None)? };
        self.prepare(&name);
        Ok(view)
    }

    /// Gives a function new code. Calls in flight end with the old. Blocks on the database and the disk.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::Conflict`] while a change is being prepared, [`FunctionError::PreconditionFailed`], and for the code as
    /// [`FunctionService::create`].
    pub fn update_code(self: &Arc<Self>, name: &str, change: CodeChange, now_ms: i64) -> Result<FunctionView, FunctionError> {
        self.find(name)?;
        if change.is_dry_run {
            let mut view = self.get(name, None)?;
            view.version.code = CodeFolder::check(&change.zip)?;
            view.code_sha256 = crate::code::sha256_base64(&view.version.code);
            return Ok(view);
        }
        let code = self.codes.keep(&change.zip)?;
        let before = self.update(name, change.revision_id.as_deref(), now_ms, |version| {
            if let Some(architecture) = change.architecture {
                version.configuration.architecture = architecture;
            }
            Ok(std::mem::replace(&mut version.code, code))
        })?;
        self.forget_unused(&before);
        if change.is_published {
            return self.publish(name, None, None, None, now_ms);
        }
        self.get(name, None)
    }

    /// Changes how a function is run. Calls in flight end as they began. Blocks on the database.
    ///
    /// # Errors
    /// As [`FunctionService::update_code`], and [`FunctionError::Invalid`].
    pub fn update_configuration(
        self: &Arc<Self>,
        name: &str,
        change: ConfigurationChange,
        now_ms: i64,
    ) -> Result<FunctionView, FunctionError> {
        let revision_id = change.revision_id.clone();
        self.update(name, revision_id.as_deref(), now_ms, |version| {
            let ConfigurationChange {
                runtime,
                role_arn,
                handler,
                description,
                timeout_s,
                memory_mb,
                ephemeral_storage_mb,
                environment,
                tracing_mode,
                revision_id: _,
            } = change;
            let now = &version.configuration;
            let changed = FunctionConfiguration {
                runtime: runtime.unwrap_or_else(|| now.runtime.clone()),
                role_arn: role_arn.unwrap_or_else(|| now.role_arn.clone()),
                handler: handler.unwrap_or_else(|| now.handler.clone()),
                description: description.unwrap_or_else(|| now.description.clone()),
                timeout_s: timeout_s.unwrap_or(now.timeout_s),
                memory_mb: memory_mb.unwrap_or(now.memory_mb),
                ephemeral_storage_mb: ephemeral_storage_mb.unwrap_or(now.ephemeral_storage_mb),
                architecture: now.architecture.clone(),
                environment: environment.unwrap_or_else(|| now.environment.clone()),
                tracing_mode: tracing_mode.unwrap_or_else(|| now.tracing_mode.clone()),
            };
            validation::check(&changed)?;
            version.configuration = changed;
            Ok(())
        })?;
        self.get(name, None)
    }

    /// Deletes a function, or one numbered version of it. Calls in flight end. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::Invalid`] for `$LATEST` alone, [`FunctionError::Conflict`] for a version that an alias leads to.
    pub fn delete(&self, name: &str, qualifier: Option<&str>) -> Result<(), FunctionError> {
        let Some(qualifier) = qualifier else {
            let stored = self.find(name)?;
            {
                let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
                self.store.delete_function(name)?;
                self.functions.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            }
            stored.versions.values().for_each(|version| self.forget_unused(&version.code));
            return Ok(());
        };
        if qualifier == FunctionVersion::LATEST {
            return Err(FunctionError::Invalid("$LATEST version cannot be deleted without deleting the function.".to_owned()));
        }
        let removed = self.change(name, |stored| {
            if let Some(alias) = stored.aliases.values().find(|alias| alias.version == qualifier) {
                let message = format!("Version {qualifier} cannot be deleted while the alias {} points to it", alias.name);
                return Err(FunctionError::Conflict(message));
            }
            // As in Lambda, what is not there counts as deleted.
            Ok(stored.versions.remove(qualifier))
        })?;
        removed.into_iter().for_each(|version| self.forget_unused(&version.code));
        Ok(())
    }

    /// Changes `$LATEST` and has it prepared.
    fn update<T>(
        self: &Arc<Self>,
        name: &str,
        revision_id: Option<&str>,
        now_ms: i64,
        change: impl FnOnce(&mut FunctionVersion) -> Result<T, FunctionError>,
    ) -> Result<T, FunctionError> {
        let told = self.change(name, |stored| {
            let arn = self.arn(name, None);
            let version = stored.versions.get_mut(FunctionVersion::LATEST).ok_or_else(|| FunctionError::no_function(&arn))?;
            check_revision(revision_id, &version.revision_id)?;
            if is_on_its_way(version) {
                return Err(FunctionError::Conflict(format!(
                    "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
                )));
            }
            let told = change(version)?;
            version.last_update = LastUpdate::InProgress;
            version.last_update_reason = Some("The function is being updated.".to_owned());
            (version.modified_at_ms, version.revision_id) = (now_ms, new_revision());
            Ok(told)
        })?;
        self.prepare(name);
        Ok(told)
    }

    /// Forgets code that no version of any function has.
    fn forget_unused(&self, code: &FunctionCode) {
        let is_used = self.all().iter().any(|stored| stored.versions.values().any(|version| version.code == *code));
        if !is_used {
            self.codes.forget(code);
        }
    }
}

fn exists(name: &str) -> FunctionError {
    FunctionError::Conflict(format!("Function already exist: {name}"))
}
