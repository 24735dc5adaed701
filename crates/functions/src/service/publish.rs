//! Versions that do not change, and names that lead to them.

use std::sync::Arc;

use frontdesk_store::{FunctionAlias, FunctionVersion};

use super::{FunctionService, FunctionView, check_revision, new_revision};
use crate::error::FunctionError;

impl FunctionService {
    /// Publishes `$LATEST` as a numbered version. Where nothing has changed since the last one, that is the answer. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::PreconditionFailed`] when the revision or the code's hash is another.
    pub fn publish(
        self: &Arc<Self>,
        name: &str,
        description: Option<String>,
        code_sha256: Option<&str>,
        revision_id: Option<&str>,
        now_ms: i64,
    ) -> Result<FunctionView, FunctionError> {
        let number = self.change(name, |stored| {
            let latest = stored.versions[FunctionVersion::LATEST].clone();
            check_revision(revision_id, &latest.revision_id)?;
            let sha256 = crate::code::sha256_base64(&latest.code);
            if code_sha256.is_some_and(|given| given != sha256) {
                return Err(FunctionError::Invalid(format!(
                    "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({sha256}). Please try again with the CodeSHA256 in $LATEST.",
                    code_sha256.unwrap_or_default()
                )));
            }
            let last = stored.function.last_version.to_string();
            let is_unchanged = |version: &FunctionVersion| {
                version.code == latest.code && version.configuration == latest.configuration && description.is_none()
            };
            if stored.versions.get(&last).is_some_and(is_unchanged) {
                return Ok(last);
            }
            stored.function.last_version += 1;
            let number = stored.function.last_version.to_string();
            let mut published = FunctionVersion { version: number.clone(), revision_id: new_revision(), modified_at_ms: now_ms, ..latest };
            if let Some(description) = description {
                published.configuration.description = description;
            }
            stored.versions.insert(number.clone(), published);
            Ok(number)
        })?;
        self.prepare(name);
        self.get(name, Some(&number))
    }

    /// The aliases of a function, by name; those that lead to `version`, where one is given.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`].
    pub fn aliases(&self, name: &str, version: Option<&str>) -> Result<Vec<FunctionAlias>, FunctionError> {
        let stored = self.find(name)?;
        Ok(stored.aliases.values().filter(|alias| version.is_none_or(|version| alias.version == version)).cloned().collect())
    }

    /// An alias.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`].
    pub fn alias(&self, name: &str, alias: &str) -> Result<FunctionAlias, FunctionError> {
        let stored = self.find(name)?;
        stored.aliases.get(alias).cloned().ok_or_else(|| self.no_alias(name, alias))
    }

    /// Makes an alias. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`] for the function or the version, [`FunctionError::Conflict`] when there is one of its name, [`FunctionError::Invalid`].
    pub fn create_alias(&self, name: &str, alias: &str, version: &str, description: String) -> Result<FunctionAlias, FunctionError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_number = alias.bytes().all(|byte| byte.is_ascii_digit());
        if is_number || alias.len() > 128 || !alias.bytes().all(is_fit) {
            return Err(FunctionError::Invalid(format!(
                "1 validation error detected: Value '{alias}' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: \
                 (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
            )));
        }
        self.change(name, |stored| {
            if stored.aliases.contains_key(alias) {
                return Err(FunctionError::Conflict(format!("Alias already exists: {}", self.arn(name, Some(alias)))));
            }
            if !stored.versions.contains_key(version) {
                return Err(FunctionError::no_function(&self.arn(name, Some(version))));
            }
            let made = FunctionAlias { name: alias.to_owned(), version: version.to_owned(), description, revision_id: new_revision() };
            stored.aliases.insert(alias.to_owned(), made.clone());
            Ok(made)
        })
    }

    /// Changes an alias; what is `None` stays. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`], [`FunctionError::PreconditionFailed`].
    pub fn update_alias(
        &self,
        name: &str,
        alias: &str,
        version: Option<&str>,
        description: Option<String>,
        revision_id: Option<&str>,
    ) -> Result<FunctionAlias, FunctionError> {
        self.change(name, |stored| {
            let changed = stored.aliases.get_mut(alias).ok_or_else(|| self.no_alias(name, alias))?;
            check_revision(revision_id, &changed.revision_id)?;
            if let Some(version) = version {
                if !stored.versions.contains_key(version) {
                    return Err(FunctionError::no_function(&self.arn(name, Some(version))));
                }
                version.clone_into(&mut changed.version);
            }
            if let Some(description) = description {
                changed.description = description;
            }
            changed.revision_id = new_revision();
            Ok(changed.clone())
        })
    }

    /// Deletes an alias, if there is one. Blocks on the database.
    ///
    /// # Errors
    /// [`FunctionError::NotFound`] for the function.
    pub fn delete_alias(&self, name: &str, alias: &str) -> Result<(), FunctionError> {
        self.change(name, |stored| {
            stored.aliases.remove(alias);
            Ok(())
        })
    }

    fn no_alias(&self, name: &str, alias: &str) -> FunctionError {
        FunctionError::NotFound(format!("Cannot find alias arn: {}", self.arn(name, Some(alias))))
    }
}
