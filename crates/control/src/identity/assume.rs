//! Temporary credentials: who may have which, and for how long (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).

use std::collections::BTreeMap;

use frontdesk_aws::policy::{Admission, Context, Decision, Policy, PolicyKind, Requester, admit};
use frontdesk_aws::{Credentials, SecretKey, ServiceError};
use frontdesk_store::IdentityKind;
use http::StatusCode;
use time::OffsetDateTime;

use super::directory::{Directory, IdentityEntry};
use super::error::IamError;
use super::service::{IdentityService, session_arn};
use super::session::{Holder, Session};
use super::{Principal, PrincipalKind, TemporaryCredentials};

/// The shortest session, in seconds.
pub(crate) const SESSION_S_MIN: u32 = 900;
/// A session of a role, unless its caller says otherwise.
const ROLE_SESSION_S: u32 = 3600;
/// A role's session that was begun by a role's session, at most.
const CHAINED_SESSION_S_MAX: u32 = 3600;
/// A session of GetSessionToken, unless its caller says otherwise, and at most.
const USER_SESSION_S: u32 = 43_200;
const USER_SESSION_S_MAX: u32 = 129_600;
/// The root's, at most.
const ROOT_SESSION_S_MAX: u32 = 3600;
/// Managed policies that may bound a session.
const SESSION_POLICIES_MAX: usize = 10;
/// What session policies and tags may weigh, in characters.
const SESSION_POLICY_CHARS_MAX: usize = 2048;
const ASSUME_ROLE: &str = "sts:AssumeRole";

/// What AssumeRole was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct AssumeRole {
    pub(crate) role_arn: String,
    pub(crate) session_name: String,
    pub(crate) duration_s: Option<u32>,
    pub(crate) policy: Option<String>,
    pub(crate) policy_arns: Vec<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) external_id: Option<String>,
}

impl IdentityService {
    /// Makes a caller a role's session, if the role trusts it and its own policies let it.
    ///
    /// # Errors
    /// AccessDenied, ValidationError, MalformedPolicyDocument, PackedPolicyTooLarge.
    pub(crate) fn assume_role(
        &self,
        principal: &Principal,
        wanted: AssumeRole,
        now_unix: i64,
    ) -> Result<TemporaryCredentials, ServiceError> {
        if *principal.kind() == PrincipalKind::Root {
            return Err(ServiceError::access_denied("Roles may not be assumed by root accounts."));
        }
        let directory = self.directory();
        let denied = || {
            let (arn, role) = (principal.arn(), &wanted.role_arn);
            ServiceError::access_denied(format!("User: {arn} is not authorized to perform: {ASSUME_ROLE} on resource: {role}"))
        };
        // That a role does not exist is not for everybody to know.
        let role =
            directory.identity_of_arn(&wanted.role_arn).filter(|entry| entry.identity.kind == IdentityKind::Role).ok_or_else(denied)?;
        let mut keys = Context::new().with("sts:RoleSessionName", &*wanted.session_name);
        if let Some(external_id) = &wanted.external_id {
            keys = keys.with("sts:ExternalId", external_id);
        }
        if !wanted.tags.is_empty() {
            keys = keys.with_all("aws:TagKeys", wanted.tags.keys());
            keys = wanted.tags.iter().fold(keys, |keys, (key, value)| keys.with(format!("aws:RequestTag/{key}"), value));
        }
        may_assume(principal, role, ASSUME_ROLE, &keys)?;
        if !wanted.tags.is_empty() {
            may_assume(principal, role, "sts:TagSession", &keys)?;
        }
        let is_chained = matches!(principal.kind(), PrincipalKind::Role { .. });
        let duration_s = role_duration(role, wanted.duration_s, is_chained)?;
        check_bounds(&directory, &wanted)?;
        self.begin_role_session(role, wanted, duration_s, now_unix)
    }

    /// Makes a service of the host's, such as `lambda.amazonaws.com`, a role's session, if the role trusts it. Returns credentials that are as good as
    /// those of AssumeRole.
    ///
    /// # Errors
    /// AccessDenied when there is no such role or it does not trust the service.
    pub fn assume_role_for_service(
        &self,
        service: &str,
        role_arn: &str,
        session_name: &str,
        now_unix: i64,
    ) -> Result<TemporaryCredentials, ServiceError> {
        let directory = self.directory();
        let trusting = self.role_trusting(&directory, service, role_arn);
        let role = trusting.ok_or_else(|| {
            ServiceError::access_denied(format!("{service} is not authorized to perform: {ASSUME_ROLE} on resource: {role_arn}"))
        })?;
        let wanted = AssumeRole { session_name: session_name.to_owned(), ..AssumeRole::default() };
        self.begin_role_session(role, wanted, ROLE_SESSION_S, now_unix)
    }

    /// Whether a service of the host's, such as `apigateway.amazonaws.com`, may do something in a role's name: the role must trust it, and its policies allow the action.
    ///
    /// # Errors
    /// AccessDenied, AccessDeniedException.
    pub fn service_may(
        &self,
        (service, session_name): (&str, &str),
        role_arn: &str,
        action: &str,
        resource: &str,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let TemporaryCredentials { credentials, .. } =
            self.assume_role_for_service(service, role_arn, session_name, now.unix_timestamp())?;
        let claimed = self.claimed(&credentials.access_key_id, credentials.session_token.as_ref().map(SecretKey::expose));
        let claimed = claimed.ok_or_else(|| ServiceError::internal_server("a session that was begun this moment is unknown"))?;
        self.principal(claimed, Context::new(), now)?.authorize(action, &[resource])
    }

    /// Whether there is such a role, and it trusts a service.
    pub(crate) fn trusts(&self, service: &str, role_arn: &str) -> bool {
        self.role_trusting(&self.directory(), service, role_arn).is_some()
    }

    fn role_trusting<'d>(&self, directory: &'d Directory, service: &str, role_arn: &str) -> Option<&'d IdentityEntry> {
        let role = directory.identity_of_arn(role_arn).filter(|entry| entry.identity.kind == IdentityKind::Role)?;
        let context = Context::new().with("aws:SourceAccount", self.account());
        let admission = admit(role.trust.as_ref()?, Requester::Service(service), ASSUME_ROLE, role_arn, &context);
        (admission == Admission::Named).then_some(&**role)
    }

    fn begin_role_session(
        &self,
        role: &IdentityEntry,
        wanted: AssumeRole,
        duration_s: u32,
        now_unix: i64,
    ) -> Result<TemporaryCredentials, ServiceError> {
        let AssumeRole { session_name, policy, policy_arns, tags, .. } = wanted;
        let arn = session_arn(self.account(), role, &session_name);
        let user_id = format!("{}:{session_name}", role.identity.id);
        let holder = Holder::Role { id: role.identity.id.clone(), session_name };
        let (credentials, expires_at) = self.begin(holder, policy.into_iter().collect(), policy_arns, tags, duration_s, now_unix)?;
        Ok(TemporaryCredentials { credentials, expires_at, arn, user_id })
    }

    /// Gives a user, or the root, temporary credentials of its own.
    ///
    /// # Errors
    /// AccessDenied for who has temporary ones already.
    pub(crate) fn session_token(
        &self,
        principal: &Principal,
        duration_s: Option<u32>,
        now_unix: i64,
    ) -> Result<TemporaryCredentials, ServiceError> {
        let (holder, duration_s) = match principal.kind() {
            PrincipalKind::Role { .. } | PrincipalKind::User { is_temporary: true, .. } => {
                return Err(ServiceError::access_denied("Cannot call GetSessionToken with session credentials"));
            }
            PrincipalKind::Root => {
                let duration_s = duration_s.unwrap_or(ROOT_SESSION_S_MAX).min(ROOT_SESSION_S_MAX);
                (Holder::Root, duration_s)
            }
            PrincipalKind::User { .. } => (Holder::User(principal.user_id().to_owned()), duration_s.unwrap_or(USER_SESSION_S)),
        };
        check_duration(duration_s, USER_SESSION_S_MAX)?;
        let (credentials, expires_at) = self.begin(holder, Vec::new(), Vec::new(), BTreeMap::new(), duration_s, now_unix)?;
        Ok(TemporaryCredentials { credentials, expires_at, arn: principal.arn().to_owned(), user_id: principal.user_id().to_owned() })
    }

    fn begin(
        &self,
        holder: Holder,
        policies: Vec<String>,
        policy_arns: Vec<String>,
        tags: BTreeMap<String, String>,
        duration_s: u32,
        now_unix: i64,
    ) -> Result<(Credentials, i64), ServiceError> {
        let (id, secret) = IdentityService::new_secret("ASIA")?;
        let expires_at = now_unix + i64::from(duration_s);
        let session = Session { secret, holder, policies, policy_arns, tags, issued_at: now_unix, expires_at };
        let token = session.seal(self.store.seal_key(), &id).map_err(|error| IamError::Store(error.into()))?;
        Ok((Credentials::new(id, session.secret).with_session_token(token), expires_at))
    }
}

/// The role must trust the caller; where it trusts the caller's account alone, the caller's own policies must let it too.
fn may_assume(principal: &Principal, role: &IdentityEntry, action: &str, keys: &Context) -> Result<(), ServiceError> {
    let mut arns = vec![principal.arn()];
    if let PrincipalKind::Role { arn } = principal.kind() {
        arns.push(arn);
    }
    let account = role.arn.split(':').nth(4).unwrap_or_default();
    let context = principal.context().clone().and(keys);
    let requester = Requester::Aws { account, arns: &arns };
    let admission = role.trust.as_ref().map(|trust| admit(trust, requester, action, &role.arn, &context));
    let trusts = |decision: Decision| decision.require(PolicyKind::RoleTrust, principal.arn(), action, &role.arn);
    match admission {
        Some(Admission::ExplicitDeny) => trusts(Decision::ExplicitDeny),
        None | Some(Admission::ImplicitDeny) => trusts(Decision::ImplicitDeny),
        Some(Admission::Account) => principal.authorize_with(action, &[&role.arn], keys),
        Some(Admission::Named) => match principal.decide(action, &role.arn, keys) {
            // Being named is enough in one account, unless something denies it.
            (kind, Decision::ExplicitDeny) => Decision::ExplicitDeny.require(kind, principal.arn(), action, &role.arn),
            _ => Ok(()),
        },
    }
}

fn role_duration(role: &IdentityEntry, duration_s: Option<u32>, is_chained: bool) -> Result<u32, ServiceError> {
    let session_s_max = role.identity.role.as_ref().map_or(ROLE_SESSION_S, |role| role.session_s_max);
    let duration_s = duration_s.unwrap_or(ROLE_SESSION_S);
    check_duration(duration_s, u32::MAX)?;
    if duration_s > session_s_max {
        let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(ServiceError::validation(message));
    }
    if is_chained && duration_s > CHAINED_SESSION_S_MAX {
        let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
        return Err(ServiceError::validation(message));
    }
    Ok(duration_s)
}

fn check_duration(duration_s: u32, max: u32) -> Result<(), ServiceError> {
    let (relation, bound) = match duration_s {
        _ if duration_s < SESSION_S_MIN => ("greater", SESSION_S_MIN),
        _ if duration_s > max => ("less", max),
        _ => return Ok(()),
    };
    Err(ServiceError::validation(format!(
        "1 validation error detected: Value '{duration_s}' at 'durationSeconds' failed to satisfy constraint: \
         Member must have value {relation} than or equal to {bound}"
    )))
}

/// Session policies must be policies, and few.
fn check_bounds(directory: &Directory, wanted: &AssumeRole) -> Result<(), ServiceError> {
    let AssumeRole { policy, policy_arns, tags, .. } = wanted;
    if let Some(policy) = policy {
        Policy::parse(policy).map_err(IamError::from)?;
    }
    if policy_arns.len() > SESSION_POLICIES_MAX {
        return Err(ServiceError::validation(format!(
            "a session has at most {SESSION_POLICIES_MAX} managed policies, not {}",
            policy_arns.len()
        )));
    }
    for arn in policy_arns {
        directory.policy(arn)?;
    }
    let tag_chars: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let chars = policy.as_ref().map_or(0, String::len) + policy_arns.iter().map(String::len).sum::<usize>() + tag_chars;
    if chars > SESSION_POLICY_CHARS_MAX {
        let percent = chars * 100 / SESSION_POLICY_CHARS_MAX;
        let message = format!("Packed policy consumes {percent}% of allotted space, please use smaller policy.");
        return Err(ServiceError::new(StatusCode::BAD_REQUEST, "PackedPolicyTooLarge", message));
    }
    Ok(())
}
