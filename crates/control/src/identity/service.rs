//! The identities as the rest of the host uses them: finding who signed, and changing who there is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use frontdesk_aws::policy::{Context, Policy, PolicyError};
use frontdesk_aws::{AccessKeyId, Credentials, ServiceError};
use frontdesk_gateway::key::random_text;
use frontdesk_store::{Identity, IdentityKind, KeyUse, RoleTerms, Store, StoreError, UserAccessKey};
use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::directory::{AccessKeyEntry, Directory, IdentityEntry};
use super::error::IamError;
use super::session::{Holder, Session};
use super::{Principal, PrincipalKind};

/// A use of an access key is written when the one before lies this far back: who asks for the last use asks for the day.
const LAST_USE_STEP_S: i64 = 15 * 60;
/// The path of the host's own roles, by which their owner tells them from its own.
const BUILT_IN_PATH: &str = "/frontdesk/";

/// Why the identities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityServiceError {
    /// The database.
    #[error("the identities could not be read")]
    Store(#[from] StoreError),
    /// A policy that this program does not understand, which an older or newer one may.
    #[error("a policy of the account cannot be read: use the frontdesk that wrote it")]
    Policy(#[from] PolicyError),
}

/// A role that the host made for a part of itself. It is listed with the others, and not to be changed.
#[derive(Debug, Clone)]
pub struct BuiltInRole {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The service that may be it, such as `lambda.amazonaws.com`.
    pub service: String,
    /// Its one policy: a name and a document.
    pub policy: (String, String),
    /// What the part of the host signs with, for as long as the process lives.
    pub credentials: Credentials,
    /// The name of that session.
    pub session_name: String,
}

/// Who can call this host.
pub struct IdentityService {
    pub(super) store: Arc<Store>,
    account: String,
    directory: ArcSwap<Directory>,
    /// How often the directory was replaced.
    revision: AtomicU64,
    /// One change at a time: each begins with what the one before left.
    writing: Mutex<()>,
    /// Credentials that are not IAM's to change: the root's, and those of the host's parts.
    fixed: HashMap<AccessKeyId, Fixed>,
}

#[derive(Debug, Clone)]
struct Fixed {
    credentials: Credentials,
    holder: Holder,
}

/// Whose an access key is, before anything has been proved.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// What the request must have been signed with.
    pub(crate) credentials: Credentials,
    holder: Holder,
    /// Of temporary credentials.
    session: Option<Session>,
    /// Of a user's own.
    key: Option<Arc<AccessKeyEntry>>,
}

impl std::fmt::Debug for IdentityService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IdentityService").field("account", &self.account).finish_non_exhaustive()
    }
}

impl IdentityService {
    /// Reads the account. `root` is its own access key.
    ///
    /// # Errors
    /// See [`IdentityServiceError`].
    pub fn open(
        store: Arc<Store>,
        account: &str,
        root: Credentials,
        built_in: Vec<BuiltInRole>,
    ) -> Result<IdentityService, IdentityServiceError> {
        let mut directory = Directory::new(account, store.identities()?)?;
        let mut fixed = HashMap::from([(root.access_key_id.clone(), Fixed { credentials: root, holder: Holder::Root })]);
        for role in built_in {
            let BuiltInRole { name, description, service, policy, credentials, session_name } = role;
            let trust = serde_json::json!({
                "Version": "2012-10-17",
                "Statement": [{ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" }],
            });
            // Sessions name their role by id; that of the host's own is its name, which lasts.
            let id = format!("AROA{}", name.to_ascii_uppercase());
            let terms = RoleTerms { trust: trust.to_string(), description: Some(description), session_s_max: 3600 };
            directory.put_built_in(Identity {
                kind: IdentityKind::Role,
                id: id.clone(),
                name,
                path: BUILT_IN_PATH.to_owned(),
                created_at: 0,
                tags: BTreeMap::new(),
                inline: BTreeMap::from([policy]),
                attached: Vec::new(),
                boundary: None,
                groups: BTreeSet::new(),
                role: Some(terms),
            })?;
            fixed.insert(credentials.access_key_id.clone(), Fixed { credentials, holder: Holder::Role { id, session_name } });
        }
        Ok(IdentityService {
            store,
            account: account.to_owned(),
            directory: ArcSwap::from_pointee(directory),
            revision: AtomicU64::new(0),
            writing: Mutex::new(()),
            fixed,
        })
    }

    /// Twelve digits.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// A number that is another one once anybody's policies have changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The account as it is now.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Changes the account: `work` on a copy, then what it changed is written, then the copy counts. Blocks on the database.
    ///
    /// # Errors
    /// What `work` refuses, and [`IamError::Store`]; nothing has changed then.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Directory) -> Result<T, IamError>) -> Result<T, IamError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directory = Directory::clone(&self.directory.load());
        let done = work(&mut directory)?;
        let changes = directory.take_changes();
        if !changes.is_empty() {
            self.store.change_identities(&changes)?;
            self.directory.store(Arc::new(directory));
            self.revision.fetch_add(1, Ordering::Release);
        }
        Ok(done)
    }

    /// Whose an access key is, if it opens anything. Temporary ones are known by their token alone.
    pub(crate) fn claimed(&self, id: &AccessKeyId, token: Option<&str>) -> Option<Claimed> {
        if let Some(Fixed { credentials, holder }) = self.fixed.get(id) {
            return Some(Claimed { credentials: credentials.clone(), holder: holder.clone(), session: None, key: None });
        }
        if let Some(token) = token {
            let session = Session::open(token, self.store.seal_key(), id.as_str())?;
            let credentials = Credentials::new(id.as_str(), session.secret.as_str()).with_session_token(token);
            return Some(Claimed { credentials, holder: session.holder.clone(), session: Some(session), key: None });
        }
        let key = self.directory.load().access_key(id.as_str()).ok()?.clone();
        let holder = Holder::User(key.key.user_id.clone());
        let credentials = key.credentials.clone();
        key.key.is_active.then_some(Claimed { credentials, holder, session: None, key: Some(key) })
    }

    /// Who has proved to hold what was [`claimed`](Self::claimed), at a request with these condition keys.
    ///
    /// # Errors
    /// ExpiredTokenException, and UnrecognizedClientException when the user or role is gone.
    pub(crate) fn principal(&self, claimed: Claimed, request: Context, now: OffsetDateTime) -> Result<Principal, ServiceError> {
        let Claimed { credentials: _, holder, session, key: _ } = claimed;
        if session.as_ref().is_some_and(|session| session.expires_at <= now.unix_timestamp()) {
            let message = "The security token included in the request is expired";
            return Err(ServiceError::new(StatusCode::FORBIDDEN, "ExpiredTokenException", message));
        }
        let gone = || ServiceError::from(frontdesk_aws::sigv4::VerifyError::UnrecognizedClient);
        let directory = self.directory.load();
        let account = &self.account;
        let (arn, user_id, kind, mut grants, mut context) = match &holder {
            Holder::Root => {
                let arn = format!("arn:aws:iam::{account}:root");
                let context = request.with("aws:PrincipalType", "Account").with("aws:PrincipalArn", &*arn).with("aws:userid", account);
                (arn, account.clone(), PrincipalKind::Root, None, context)
            }
            Holder::User(id) => {
                let user = directory.identity_of_id(id).ok_or_else(gone)?;
                let Identity { name, id, tags, .. } = &user.identity;
                let context = request.with("aws:PrincipalType", "User").with("aws:PrincipalArn", &*user.arn);
                let context = tagged(context.with("aws:username", name).with("aws:userid", id), tags);
                (user.arn.clone(), id.clone(), user.principal_kind(session.is_some()), Some(directory.grants_of(user)), context)
            }
            Holder::Role { id, session_name } => {
                let role = directory.identity_of_id(id).ok_or_else(gone)?;
                let user_id = [id.as_str(), ":", session_name].concat();
                let context = request.with("aws:PrincipalType", "AssumedRole").with("aws:PrincipalArn", &*role.arn);
                let context = tagged(context.with("aws:userid", &*user_id), &role.identity.tags);
                let arn = session_arn(account, role, session_name);
                (arn, user_id, role.principal_kind(true), Some(directory.grants_of(role)), context)
            }
        };
        context = context.with("aws:PrincipalAccount", account);
        if let Some(session) = &session {
            let issued_at =
                OffsetDateTime::from_unix_timestamp(session.issued_at).ok().and_then(|issued_at| issued_at.format(&Rfc3339).ok());
            context = tagged(context, &session.tags).with("aws:MultiFactorAuthPresent", "false");
            context = context.with("aws:TokenIssueTime", issued_at.unwrap_or_default());
            if let Some(grants) = &mut grants {
                grants.session = bounds(&directory, session);
            }
        }
        Ok(Principal { arn, user_id, kind, grants, context })
    }

    /// Remembers a use of a user's access key, now and then. Does not wait for the database.
    pub(crate) fn note_use(self: &Arc<Self>, claimed: &Claimed, service: &str, region: &str, now_unix: i64) {
        let Some(entry) = &claimed.key else { return };
        let is_known = move |key: &UserAccessKey| key.last_used.as_ref().is_some_and(|last_used| now_unix - last_used.at < LAST_USE_STEP_S);
        if is_known(&entry.key) {
            return;
        }
        let (identities, id) = (self.clone(), entry.key.id.clone());
        let last_used = KeyUse { at: now_unix, service: service.to_owned(), region: region.to_owned() };
        tokio::task::spawn_blocking(move || {
            let noted = identities.change(|directory| {
                let key = directory.access_key(&id)?.key.clone();
                // Of many calls at once the first has written it.
                if is_known(&key) {
                    return Ok(());
                }
                directory.put_access_key(UserAccessKey { last_used: Some(last_used), ..key });
                Ok(())
            });
            match noted {
                // Deleted meanwhile.
                Ok(()) | Err(IamError::NoSuchEntity(_)) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "an access key's last use was not written"),
            }
        });
    }

    /// A new unique id, such as `AROA` and 17 more characters, in IAM's alphabet.
    pub(crate) fn new_id(prefix: &str) -> Result<String, IamError> {
        Self::random(prefix, 17)
    }

    /// A new access key of a user's.
    pub(crate) fn new_access_key(user_id: &str, now_unix: i64) -> Result<UserAccessKey, IamError> {
        let (id, secret) = Self::new_secret("AKIA")?;
        let secret = frontdesk_store::SecretText::new(secret);
        Ok(UserAccessKey { id, user_id: user_id.to_owned(), secret, is_active: true, created_at: now_unix, last_used: None })
    }

    /// An access key id of 20 characters and a secret of 40.
    pub(super) fn new_secret(prefix: &str) -> Result<(String, String), IamError> {
        let secret = random_text(40, b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz").map_err(IamError::Random)?;
        Ok((Self::random(prefix, 16)?, secret))
    }

    fn random(prefix: &str, chars: usize) -> Result<String, IamError> {
        let random = random_text(chars, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567").map_err(IamError::Random)?;
        Ok(format!("{prefix}{random}"))
    }
}

/// The policies that bound a session; none when it was begun without.
fn bounds(directory: &Directory, session: &Session) -> Option<Vec<Arc<Policy>>> {
    if session.policies.is_empty() && session.policy_arns.is_empty() {
        return None;
    }
    // One that is gone, or is none, allows nothing.
    let given = session.policies.iter().filter_map(|document| Policy::parse(document).ok().map(Arc::new));
    Some(given.chain(session.policy_arns.iter().filter_map(|arn| directory.parsed(arn))).collect())
}

fn tagged(context: Context, tags: &BTreeMap<String, String>) -> Context {
    tags.iter().fold(context, |context, (key, value)| context.with(format!("aws:PrincipalTag/{key}"), value))
}

/// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, without the role's path.
pub(super) fn session_arn(account: &str, role: &IdentityEntry, session_name: &str) -> String {
    ["arn:aws:sts::", account, ":assumed-role/", &role.identity.name, "/", session_name].concat()
}
