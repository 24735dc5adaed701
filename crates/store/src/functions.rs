//! Lambda functions at rest: Lambda's model (function, version, alias) and where it is kept.
//!
//! The names and the defaults are Lambda's (<https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html>). A definition is one JSON document, since it is always
//! read and written as a whole; the form is this program's own and not AWS's. Environment variables are sealed. Code lies in files, by its hash.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::database::{Store, StoreError};
use crate::rest_apis::text;

/// A function with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFunction {
    /// The function itself.
    pub function: Function,
    /// Its versions by name; one is [`FunctionVersion::LATEST`].
    pub versions: BTreeMap<String, FunctionVersion>,
    /// Its aliases by name.
    pub aliases: BTreeMap<String, FunctionAlias>,
}

/// A function: a name that lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its name, which no other function has.
    pub name: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// The number of the version that was published last; 0 before the first.
    pub last_version: u32,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Who may call, by what they call: a version's or an alias's name, empty for the function without one.
    pub policies: BTreeMap<String, ResourcePolicy>,
    /// How many calls may run at once; `None` where only the host's limit counts.
    pub reserved_concurrency: Option<u32>,
}

/// The statements that let others call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourcePolicy {
    /// Changes with every change.
    pub revision_id: String,
    /// IAM statements, each with a `Sid` of its own.
    pub statements: Vec<Value>,
}

/// What a function runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionVersion {
    /// `$LATEST`, or a number.
    pub version: String,
    /// Its code.
    pub code: FunctionCode,
    /// How it is run.
    pub configuration: FunctionConfiguration,
    /// How far it is.
    pub state: FunctionState,
    /// Why it is where it is.
    pub state_reason: Option<String>,
    /// How far its last change is.
    pub last_update: LastUpdate,
    /// Why its last change failed.
    pub last_update_reason: Option<String>,
    /// Unix milliseconds.
    pub modified_at_ms: i64,
    /// Changes with every change.
    pub revision_id: String,
}

impl FunctionVersion {
    /// The name of the version that changes.
    pub const LATEST: &str = "$LATEST";
}

/// Code that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCode {
    /// SHA-256 of the zip file, in hexadecimal digits: the name that it is kept under.
    pub sha256: String,
    /// The zip file's length.
    pub bytes: u64,
}

/// How a function is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionConfiguration {
    /// Such as `python3.12`.
    pub runtime: String,
    /// The role that it plays.
    pub role_arn: String,
    /// Which function of the code is called, such as `module.name`.
    pub handler: String,
    /// What it is for.
    pub description: String,
    /// An invocation that takes longer is ended.
    pub timeout_s: u32,
    /// Memory, in MB.
    pub memory_mb: u32,
    /// Room in `/tmp`, in MB.
    pub ephemeral_storage_mb: u32,
    /// `x86_64` or `arm64`, as its owner has it; it runs on this machine's.
    pub architecture: String,
    /// Its environment variables. Kept apart from the rest, sealed.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// `Active` or `PassThrough`.
    pub tracing_mode: String,
}

/// How far a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionState {
    /// It is new and being prepared.
    Pending,
    /// It can be called.
    Active,
    /// It cannot be used.
    Failed,
}

/// How far the last change of a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastUpdate {
    /// Being prepared.
    InProgress,
    /// In use.
    Successful,
    /// Not usable.
    Failed,
}

/// A name that leads to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionAlias {
    /// Its name.
    pub name: String,
    /// The version that it leads to.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Changes with every change.
    pub revision_id: String,
}

impl Store {
    /// All functions, by name.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`], and [`StoreError::Seal`] when the seal key is another than the one they were sealed with.
    pub fn functions(&self) -> Result<Vec<StoredFunction>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare("SELECT definition FROM lambda_function ORDER BY name")?;
        let definitions = select.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let whole = |definition: String| {
            let function: Function = serde_json::from_str(&definition).map_err(StoreError::Document)?;
            let versions = self.function_versions(&connection, &function.name)?;
            let aliases = aliases_of(&connection, &function.name)?;
            Ok(StoredFunction { function, versions, aliases })
        };
        definitions.into_iter().map(whole).collect()
    }

    fn function_versions(&self, connection: &Connection, name: &str) -> Result<BTreeMap<String, FunctionVersion>, StoreError> {
        let sql = "SELECT definition, sealed_environment FROM lambda_function_version WHERE function_name = ?1";
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let mut versions = BTreeMap::new();
        for row in rows {
            let (definition, sealed) = row?;
            let mut version: FunctionVersion = serde_json::from_str(&definition).map_err(StoreError::Document)?;
            let environment = self.seal_key.open(&sealed, &bound_to(name, &version.version))?;
            version.configuration.environment = serde_json::from_str(environment.expose()).map_err(StoreError::Document)?;
            versions.insert(version.version.clone(), version);
        }
        Ok(versions)
    }

    /// Writes a function as a whole, in one transaction: what it no longer holds is deleted.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Seal`].
    pub fn put_function(&self, stored: &StoredFunction) -> Result<(), StoreError> {
        let StoredFunction { function, versions, aliases } = stored;
        let name = &function.name;
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let sql = "INSERT INTO lambda_function (name, created_at, definition) VALUES (?1, ?2, ?3)
                   ON CONFLICT (name) DO UPDATE SET definition = excluded.definition";
        transaction.execute(sql, (name, function.created_at_ms, text(function)))?;
        transaction.execute("DELETE FROM lambda_function_version WHERE function_name = ?1", [name])?;
        for version in versions.values() {
            let sealed = self.seal_key.seal(&text(&version.configuration.environment), &bound_to(name, &version.version))?;
            let sql =
                "INSERT INTO lambda_function_version (function_name, version, definition, sealed_environment) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, (name, &version.version, text(version), sealed))?;
        }
        transaction.execute("DELETE FROM lambda_function_alias WHERE function_name = ?1", [name])?;
        for alias in aliases.values() {
            let sql = "INSERT INTO lambda_function_alias (function_name, name, definition) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (name, &alias.name, text(alias)))?;
        }
        Ok(transaction.commit()?)
    }

    /// Deletes a function with its versions and aliases. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_function(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.connection().execute("DELETE FROM lambda_function WHERE name = ?1", [name])? == 1)
    }
}

fn aliases_of(connection: &Connection, name: &str) -> Result<BTreeMap<String, FunctionAlias>, StoreError> {
    let mut select = connection.prepare_cached("SELECT definition FROM lambda_function_alias WHERE function_name = ?1")?;
    let rows = select.query_map([name], |row| row.get::<_, String>(0))?;
    let mut aliases = BTreeMap::new();
    for row in rows {
        let alias: FunctionAlias = serde_json::from_str(&row?).map_err(StoreError::Document)?;
        aliases.insert(alias.name.clone(), alias);
    }
    Ok(aliases)
}

/// What a version's sealed environment belongs to, so that it opens nowhere else.
fn bound_to(name: &str, version: &str) -> String {
    format!("lambda/{name}/{version}")
}
