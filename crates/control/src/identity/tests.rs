//! Sessions over time, which no client of a test waits for, and services that take a role.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_aws::policy::Context;
use frontdesk_store::{Identity, IdentityKind, RoleTerms, SealKey, Store};
use time::OffsetDateTime;

use super::*;

const ACCOUNT: &str = "123456789012";
const NOW: i64 = 1_700_000_000;

fn open(folder: &std::path::Path) -> IdentityService {
    let store = Store::open(&folder.join("frontdesk.db"), SealKey::from_bytes(&[1; 32])).unwrap();
    let built_in = BuiltInRole {
        name: "OwnRole".to_owned(),
        description: "for tests".to_owned(),
        service: "lambda.amazonaws.com".to_owned(),
        policy: ("p".to_owned(), ALLOW_INVOKE.to_owned()),
        credentials: Credentials::new("AKIAOWN", "own"),
        session_name: "own".to_owned(),
    };
    IdentityService::open(Arc::new(store), ACCOUNT, Credentials::new("AKIAROOT", "root"), vec![built_in]).unwrap()
}

const ALLOW_INVOKE: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"bedrock-agentcore:Invoke*","Resource":"*"}}"#;

fn identity(kind: IdentityKind, name: &str, trust: Option<&str>) -> Identity {
    Identity {
        kind,
        id: format!("ID{}", name.to_ascii_uppercase()),
        name: name.to_owned(),
        path: "/".to_owned(),
        created_at: NOW,
        tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
        inline: BTreeMap::from([("p".to_owned(), ALLOW_INVOKE.to_owned())]),
        attached: Vec::new(),
        boundary: None,
        groups: BTreeSet::new(),
        role: trust.map(|trust| RoleTerms { trust: trust.to_owned(), description: None, session_s_max: 3600 }),
    }
}

fn trusting(principal: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}}}"#)
}

/// Who signs with these credentials at a moment; the error's code when nobody does.
fn principal(service: &IdentityService, credentials: &Credentials, now: i64) -> Result<Principal, String> {
    let token = credentials.session_token.as_ref().map(|token| token.expose());
    let claimed = service.claimed(&credentials.access_key_id, token).ok_or("unknown")?;
    assert_eq!(claimed.credentials, *credentials);
    let now = OffsetDateTime::from_unix_timestamp(now).unwrap();
    service.principal(claimed, Context::new(), now).map_err(|error| error.code.into_owned())
}

#[test]
fn a_service_takes_a_role_that_trusts_it_until_the_session_ends() {
    let folder = tempfile::tempdir().unwrap();
    let service = open(folder.path());
    let role = identity(IdentityKind::Role, "ForLambda", Some(&trusting(r#"{"Service":"lambda.amazonaws.com"}"#)));
    service.change(|directory| directory.create(role)).unwrap();
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/ForLambda");
    let assume = |by: &str, arn: &str| service.assume_role_for_service(by, arn, "session", NOW);
    assert_eq!(assume("events.amazonaws.com", &arn).unwrap_err().code, "AccessDeniedException");
    assert_eq!(assume("lambda.amazonaws.com", &format!("{arn}2")).unwrap_err().code, "AccessDeniedException");

    let session = assume("lambda.amazonaws.com", &arn).unwrap();
    assert_eq!(session.arn, format!("arn:aws:sts::{ACCOUNT}:assumed-role/ForLambda/session"));
    assert_eq!((session.user_id.as_str(), session.expires_at), ("IDFORLAMBDA:session", NOW + 3600));
    let known = principal(&service, &session.credentials, NOW + 3599).unwrap();
    assert_eq!(known.arn(), session.arn);
    known.authorize("bedrock-agentcore:InvokeAgentRuntime", &["arn:aws:bedrock-agentcore:r:1:runtime/x"]).unwrap();
    known.authorize("iam:GetUser", &["*"]).unwrap_err();
    assert_eq!(principal(&service, &session.credentials, NOW + 3600).unwrap_err(), "ExpiredTokenException");
    // The key without its token is nobody's.
    let without = Credentials::new(session.credentials.access_key_id.as_str(), session.credentials.secret_access_key.expose());
    assert_eq!(principal(&service, &without, NOW).unwrap_err(), "unknown");

    // A role of the same name is another role, and the session is not its.
    service
        .change(|directory| {
            directory.edit(IdentityKind::Role, "ForLambda", |role| {
                role.inline.clear();
                Ok(())
            })?;
            directory.delete(IdentityKind::Role, "forlambda")?;
            let again = identity(IdentityKind::Role, "ForLambda", Some(&trusting("\"*\"")));
            directory.create(Identity { id: "IDOTHER".to_owned(), ..again })
        })
        .unwrap();
    assert_eq!(principal(&service, &session.credentials, NOW).unwrap_err(), "UnrecognizedClientException");
}

#[test]
fn the_root_may_everything_and_the_host_s_own_role_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let service = open(folder.path());
    let root = principal(&service, &Credentials::new("AKIAROOT", "root"), NOW).unwrap();
    assert_eq!((root.arn(), root.kind()), (format!("arn:aws:iam::{ACCOUNT}:root").as_str(), &PrincipalKind::Root));
    root.authorize("any:Thing", &["*"]).unwrap();
    let own = principal(&service, &Credentials::new("AKIAOWN", "own"), NOW).unwrap();
    assert_eq!(own.arn(), format!("arn:aws:sts::{ACCOUNT}:assumed-role/OwnRole/own"));
    own.authorize("bedrock-agentcore:InvokeAgentRuntime", &["*"]).unwrap();
    own.authorize("iam:ListRoles", &["*"]).unwrap_err();
    let refused = service.change(|directory| directory.delete(IdentityKind::Role, "OwnRole")).unwrap_err();
    assert!(matches!(refused, IamError::UnmodifiableEntity(_)), "{refused}");
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = open(folder.path());
    let refused = service.change(|directory| {
        directory.create(identity(IdentityKind::User, "ann", None))?;
        directory.create(identity(IdentityKind::User, "ANN", None))
    });
    assert!(matches!(refused, Err(IamError::EntityAlreadyExists(_))), "{refused:?}");
    assert!(service.directory().identity(IdentityKind::User, "ann").is_err());
    let malformed = Identity { inline: BTreeMap::from([("p".to_owned(), "{}".to_owned())]), ..identity(IdentityKind::User, "ann", None) };
    let refused = service.change(|directory| directory.create(malformed));
    assert!(matches!(refused, Err(IamError::MalformedPolicyDocument(_))), "{refused:?}");
    drop(service);
    assert_eq!(open(folder.path()).directory().identities(IdentityKind::User).count(), 0);
}
