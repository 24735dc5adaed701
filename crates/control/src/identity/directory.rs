//! The account as one table: who there is and what is attached to whom. Pure: a change is made on a copy, which says what must be written before it counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use frontdesk_aws::Credentials;
use frontdesk_aws::policy::{Policy, PolicyError};
use frontdesk_store::{Identity, IdentityChange, IdentityKind, ManagedPolicy, PolicyVersion, StoredIdentities, UserAccessKey};

use super::aws_managed::AWS_MANAGED;
use super::error::IamError;
use super::{Grants, PrincipalKind};

/// The account that owns AWS's own policies.
const AWS: &str = "aws";
/// When AWS's own policies are said to have been made: the day of IAM's current policy language.
const AWS_MANAGED_AT: i64 = 1_350_432_000;

/// A user, group or role with its policies parsed.
#[derive(Debug, Clone)]
pub(crate) struct IdentityEntry {
    pub(crate) identity: Identity,
    pub(crate) arn: String,
    inline: Vec<Arc<Policy>>,
    /// A role's.
    pub(crate) trust: Option<Arc<Policy>>,
    /// Made by the host for itself, and nobody else's to change.
    is_built_in: bool,
}

/// A managed policy with its default version parsed.
#[derive(Debug, Clone)]
pub(crate) struct PolicyEntry {
    pub(crate) policy: ManagedPolicy,
    pub(crate) arn: String,
    pub(crate) is_aws: bool,
    default: Arc<Policy>,
}

/// An access key of a user's.
#[derive(Debug, Clone)]
pub(crate) struct AccessKeyEntry {
    pub(crate) key: UserAccessKey,
    pub(crate) credentials: Credentials,
}

/// The account.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    account: Arc<str>,
    /// By kind and name in lower case.
    identities: BTreeMap<(IdentityKind, String), Arc<IdentityEntry>>,
    /// The same, by id: every call of a user or a role asks.
    by_id: HashMap<String, Arc<IdentityEntry>>,
    /// By ARN.
    policies: BTreeMap<String, Arc<PolicyEntry>>,
    /// By id.
    access_keys: BTreeMap<String, Arc<AccessKeyEntry>>,
    /// What must be written before this counts.
    changes: Vec<IdentityChange>,
}

impl Directory {
    /// What is stored, and AWS's own policies.
    pub(super) fn new(account: &str, stored: StoredIdentities) -> Result<Directory, PolicyError> {
        let account = Arc::from(account);
        let mut directory = Directory {
            account,
            identities: BTreeMap::new(),
            by_id: HashMap::new(),
            policies: BTreeMap::new(),
            access_keys: BTreeMap::new(),
            changes: Vec::new(),
        };
        for aws in AWS_MANAGED {
            let versions = BTreeMap::from([(1, PolicyVersion { document: aws.document(), created_at: AWS_MANAGED_AT })]);
            let policy = ManagedPolicy {
                id: format!("ANPAFRONTDESK{:08}", number_of(aws.name)),
                name: aws.name.to_owned(),
                path: aws.path.to_owned(),
                description: Some(aws.description.to_owned()),
                created_at: AWS_MANAGED_AT,
                updated_at: AWS_MANAGED_AT,
                versions,
                default_version: 1,
                newest_version: 1,
                tags: BTreeMap::new(),
            };
            let entry = PolicyEntry::new(policy, AWS)?;
            directory.policies.insert(entry.arn.clone(), Arc::new(entry));
        }
        for policy in stored.policies {
            let entry = PolicyEntry::new(policy, &directory.account)?;
            directory.policies.insert(entry.arn.clone(), Arc::new(entry));
        }
        for identity in stored.identities {
            let entry = IdentityEntry::new(identity, &directory.account)?;
            directory.insert(entry);
        }
        for key in stored.access_keys {
            directory.access_keys.insert(key.id.clone(), Arc::new(AccessKeyEntry::new(key)));
        }
        Ok(directory)
    }

    /// Puts a role of the host's own to the table, which is written nowhere.
    pub(super) fn put_built_in(&mut self, role: Identity) -> Result<(), PolicyError> {
        let entry = IdentityEntry { is_built_in: true, ..IdentityEntry::new(role, &self.account)? };
        self.insert(entry);
        Ok(())
    }

    pub(super) fn take_changes(&mut self) -> Vec<IdentityChange> {
        std::mem::take(&mut self.changes)
    }

    /// Twelve digits.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    // Reading.

    /// # Errors
    /// NoSuchEntity.
    pub(crate) fn identity(&self, kind: IdentityKind, name: &str) -> Result<&Arc<IdentityEntry>, IamError> {
        self.identities.get(&(kind, name.to_ascii_lowercase())).ok_or_else(|| IamError::no_identity(kind, name))
    }

    /// All of a kind, by name.
    pub(crate) fn identities(&self, kind: IdentityKind) -> impl Iterator<Item = &Arc<IdentityEntry>> {
        self.identities.values().filter(move |entry| entry.identity.kind == kind)
    }

    pub(crate) fn identity_of_id(&self, id: &str) -> Option<&Arc<IdentityEntry>> {
        self.by_id.get(id)
    }

    pub(crate) fn identity_of_arn(&self, arn: &str) -> Option<&Arc<IdentityEntry>> {
        let (kind, path_and_name) = arn.splitn(6, ':').nth(5)?.split_once('/')?;
        let kind = [IdentityKind::User, IdentityKind::Group, IdentityKind::Role].into_iter().find(|known| known.name() == kind)?;
        let name = path_and_name.rsplit('/').next()?;
        self.identity(kind, name).ok().filter(|entry| entry.arn == arn)
    }

    /// # Errors
    /// NoSuchEntity.
    pub(crate) fn policy(&self, arn: &str) -> Result<&Arc<PolicyEntry>, IamError> {
        self.policies.get(arn).ok_or_else(|| IamError::NoSuchEntity(format!("Policy {arn} was not found.")))
    }

    /// # Errors
    /// NoSuchEntity, in the words for who wants to attach it.
    pub(crate) fn attachable(&self, arn: &str) -> Result<&Arc<PolicyEntry>, IamError> {
        let unknown = || IamError::NoSuchEntity(format!("Policy {arn} does not exist or is not attachable."));
        self.policies.get(arn).ok_or_else(unknown)
    }

    /// All, by ARN: the account's own before AWS's.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &Arc<PolicyEntry>> {
        self.policies.values()
    }

    /// # Errors
    /// NoSuchEntity.
    pub(crate) fn access_key(&self, id: &str) -> Result<&Arc<AccessKeyEntry>, IamError> {
        self.access_keys.get(id).ok_or_else(|| IamError::NoSuchEntity(format!("The Access Key with id {id} cannot be found.")))
    }

    pub(crate) fn access_keys_of(&self, user_id: &str) -> impl Iterator<Item = &Arc<AccessKeyEntry>> {
        self.access_keys.values().filter(move |entry| entry.key.user_id == user_id)
    }

    /// Those that a policy is attached to, as a boundary too when asked for.
    pub(crate) fn holders_of<'a>(&'a self, arn: &'a str, as_boundary: bool) -> impl Iterator<Item = &'a Arc<IdentityEntry>> {
        self.identities.values().filter(move |entry| match as_boundary {
            true => entry.identity.boundary.as_deref() == Some(arn),
            false => entry.identity.attached.iter().any(|attached| attached == arn),
        })
    }

    pub(crate) fn members_of<'a>(&'a self, group_id: &'a str) -> impl Iterator<Item = &'a Arc<IdentityEntry>> {
        self.identities(IdentityKind::User).filter(move |user| user.identity.groups.contains(group_id))
    }

    /// The groups that a user is in.
    pub(crate) fn groups_of<'a>(&'a self, user: &'a Identity) -> impl Iterator<Item = &'a Arc<IdentityEntry>> {
        self.identities(IdentityKind::Group).filter(|group| user.groups.contains(&group.identity.id))
    }

    /// What an identity's policies grant it: inline, attached, and of a user the same of its groups.
    pub(crate) fn grants_of(&self, entry: &IdentityEntry) -> Grants {
        let mut identity = Vec::new();
        self.gather(entry, &mut identity);
        for group in self.groups_of(&entry.identity) {
            self.gather(group, &mut identity);
        }
        // A boundary that is gone bounds to nothing.
        let boundary = entry.identity.boundary.as_deref().map(|arn| self.parsed(arn).into_iter().collect());
        Grants { identity, boundary, session: None }
    }

    fn gather(&self, entry: &IdentityEntry, policies: &mut Vec<Arc<Policy>>) {
        policies.extend(entry.inline.iter().cloned());
        policies.extend(entry.identity.attached.iter().filter_map(|arn| self.parsed(arn)));
    }

    /// The default version of a managed policy.
    pub(super) fn parsed(&self, arn: &str) -> Option<Arc<Policy>> {
        self.policies.get(arn).map(|entry| entry.default.clone())
    }

    // Changing.

    /// Adds an identity.
    ///
    /// # Errors
    /// EntityAlreadyExists, MalformedPolicyDocument.
    pub(crate) fn create(&mut self, identity: Identity) -> Result<Arc<IdentityEntry>, IamError> {
        let entry = IdentityEntry::new(identity, &self.account)?;
        let Identity { kind, name, .. } = &entry.identity;
        if self.identities.contains_key(&entry.place()) {
            return Err(already_exists(*kind, name));
        }
        Ok(self.put(entry))
    }

    /// Changes an identity; also its name, where no other has the new one.
    ///
    /// # Errors
    /// NoSuchEntity, UnmodifiableEntity, EntityAlreadyExists, MalformedPolicyDocument, and what `edit` refuses.
    pub(crate) fn edit(
        &mut self,
        kind: IdentityKind,
        name: &str,
        edit: impl FnOnce(&mut Identity) -> Result<(), IamError>,
    ) -> Result<Arc<IdentityEntry>, IamError> {
        let before = self.changeable(kind, name)?.clone();
        let mut identity = before.identity.clone();
        edit(&mut identity)?;
        let entry = IdentityEntry::new(identity, &self.account)?;
        if entry.place() != before.place() {
            if self.identities.contains_key(&entry.place()) {
                return Err(already_exists(kind, &entry.identity.name));
            }
            self.identities.remove(&before.place());
        }
        Ok(self.put(entry))
    }

    /// Deletes an identity that has nothing left.
    ///
    /// # Errors
    /// NoSuchEntity, UnmodifiableEntity, DeleteConflict.
    pub(crate) fn delete(&mut self, kind: IdentityKind, name: &str) -> Result<(), IamError> {
        let entry = self.changeable(kind, name)?.clone();
        let Identity { id, attached, inline, groups, .. } = &entry.identity;
        if self.access_keys_of(id).next().is_some() {
            return Err(IamError::DeleteConflict("Cannot delete entity, must delete access keys first."));
        }
        if !groups.is_empty() || self.members_of(id).next().is_some() {
            return Err(IamError::DeleteConflict("Cannot delete entity, must remove users from group first."));
        }
        if !attached.is_empty() {
            return Err(IamError::DeleteConflict("Cannot delete entity, must detach all policies first."));
        }
        if !inline.is_empty() {
            return Err(IamError::DeleteConflict("Cannot delete entity, must delete policies first."));
        }
        self.identities.remove(&entry.place());
        self.by_id.remove(id);
        self.changes.push(IdentityChange::DeleteIdentity(id.clone()));
        Ok(())
    }

    fn changeable(&self, kind: IdentityKind, name: &str) -> Result<&Arc<IdentityEntry>, IamError> {
        let entry = self.identity(kind, name)?;
        if entry.is_built_in {
            return Err(IamError::UnmodifiableEntity(entry.identity.name.clone()));
        }
        Ok(entry)
    }

    fn put(&mut self, entry: IdentityEntry) -> Arc<IdentityEntry> {
        self.changes.push(IdentityChange::PutIdentity(entry.identity.clone()));
        self.insert(entry)
    }

    fn insert(&mut self, entry: IdentityEntry) -> Arc<IdentityEntry> {
        let (place, entry) = (entry.place(), Arc::new(entry));
        self.identities.insert(place, entry.clone());
        self.by_id.insert(entry.identity.id.clone(), entry.clone());
        entry
    }

    /// Adds a managed policy.
    ///
    /// # Errors
    /// EntityAlreadyExists, MalformedPolicyDocument.
    pub(crate) fn create_policy(&mut self, policy: ManagedPolicy) -> Result<Arc<PolicyEntry>, IamError> {
        let has_its_name = |known: &&Arc<PolicyEntry>| !known.is_aws && known.policy.name.eq_ignore_ascii_case(&policy.name);
        if self.policies().find(has_its_name).is_some() {
            return Err(IamError::EntityAlreadyExists(format!(
                "A policy called {} already exists. Duplicate names are not allowed.",
                policy.name
            )));
        }
        let entry = PolicyEntry::new(policy, &self.account)?;
        Ok(self.put_policy(entry))
    }

    /// Changes a managed policy of the account's own.
    ///
    /// # Errors
    /// NoSuchEntity, MalformedPolicyDocument, and what `edit` refuses.
    pub(crate) fn edit_policy(
        &mut self,
        arn: &str,
        edit: impl FnOnce(&mut ManagedPolicy) -> Result<(), IamError>,
    ) -> Result<Arc<PolicyEntry>, IamError> {
        let mut policy = self.own_policy(arn)?.policy.clone();
        edit(&mut policy)?;
        let entry = PolicyEntry::new(policy, &self.account)?;
        Ok(self.put_policy(entry))
    }

    /// Deletes a managed policy that nobody holds, with its one version.
    ///
    /// # Errors
    /// NoSuchEntity, DeleteConflict.
    pub(crate) fn delete_policy(&mut self, arn: &str) -> Result<(), IamError> {
        let entry = self.own_policy(arn)?.clone();
        if self.holders_of(arn, false).chain(self.holders_of(arn, true)).next().is_some() {
            return Err(IamError::DeleteConflict("Cannot delete a policy attached to entities."));
        }
        if entry.policy.versions.len() > 1 {
            return Err(IamError::DeleteConflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
            ));
        }
        self.policies.remove(arn);
        self.changes.push(IdentityChange::DeletePolicy(entry.policy.id.clone()));
        Ok(())
    }

    fn own_policy(&self, arn: &str) -> Result<&Arc<PolicyEntry>, IamError> {
        let entry = self.policy(arn)?;
        if entry.is_aws {
            return Err(IamError::InvalidInput(format!("Policy {arn} is AWS's own: its owner alone can change it.")));
        }
        Ok(entry)
    }

    fn put_policy(&mut self, entry: PolicyEntry) -> Arc<PolicyEntry> {
        self.changes.push(IdentityChange::PutPolicy(entry.policy.clone()));
        let entry = Arc::new(entry);
        self.policies.insert(entry.arn.clone(), entry.clone());
        entry
    }

    /// Adds an access key, or replaces what was known of it.
    pub(crate) fn put_access_key(&mut self, key: UserAccessKey) -> Arc<AccessKeyEntry> {
        self.changes.push(IdentityChange::PutAccessKey(key.clone()));
        let entry = Arc::new(AccessKeyEntry::new(key));
        self.access_keys.insert(entry.key.id.clone(), entry.clone());
        entry
    }

    /// Deletes an access key.
    ///
    /// # Errors
    /// NoSuchEntity.
    pub(crate) fn delete_access_key(&mut self, id: &str) -> Result<(), IamError> {
        self.access_key(id)?;
        self.access_keys.remove(id);
        self.changes.push(IdentityChange::DeleteAccessKey(id.to_owned()));
        Ok(())
    }
}

impl IdentityEntry {
    fn new(identity: Identity, account: &str) -> Result<IdentityEntry, PolicyError> {
        let Identity { kind, path, name, inline, role, .. } = &identity;
        let arn = format!("arn:aws:iam::{account}:{}{path}{name}", kind.name());
        let inline = inline.values().map(|document| Policy::parse(document).map(Arc::new)).collect::<Result<_, _>>()?;
        let trust = role.as_ref().map(|role| Policy::parse_trust(&role.trust).map(Arc::new)).transpose()?;
        Ok(IdentityEntry { arn, inline, trust, is_built_in: false, identity })
    }

    fn place(&self) -> (IdentityKind, String) {
        (self.identity.kind, self.identity.name.to_ascii_lowercase())
    }

    /// What its own credentials make of it.
    pub(super) fn principal_kind(&self, is_temporary: bool) -> PrincipalKind {
        match self.identity.kind {
            IdentityKind::Role => PrincipalKind::Role { arn: self.arn.clone() },
            IdentityKind::User | IdentityKind::Group => PrincipalKind::User { name: self.identity.name.clone(), is_temporary },
        }
    }
}

impl PolicyEntry {
    fn new(policy: ManagedPolicy, account: &str) -> Result<PolicyEntry, PolicyError> {
        let arn = format!("arn:aws:iam::{account}:policy{}{}", policy.path, policy.name);
        let document = policy.versions.get(&policy.default_version).map_or("", |version| version.document.as_str());
        let default = Arc::new(Policy::parse(document)?);
        Ok(PolicyEntry { policy, arn, is_aws: account == AWS, default })
    }
}

impl AccessKeyEntry {
    fn new(key: UserAccessKey) -> AccessKeyEntry {
        let credentials = Credentials::new(key.id.clone(), key.secret.expose());
        AccessKeyEntry { key, credentials }
    }
}

fn already_exists(kind: IdentityKind, name: &str) -> IamError {
    let kind = match kind {
        IdentityKind::User => "User",
        IdentityKind::Group => "Group",
        IdentityKind::Role => "Role",
    };
    IamError::EntityAlreadyExists(format!("{kind} with name {name} already exists."))
}

/// A number that lasts for a name: AWS's own policies have the same ids on every host.
fn number_of(name: &str) -> u32 {
    // FNV-1a, of which eight digits are kept.
    name.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619)) % 100_000_000
}
