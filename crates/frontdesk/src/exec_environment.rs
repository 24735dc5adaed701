//! The environment that points a program at this host: its endpoint, credentials and region, the intercepting proxy and what to trust. What would lead it past all that
//! is taken out.

mod java;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use frontdesk_control::{ProxyCredentials, ProxyUser};

use crate::ca_bundle;
use crate::run_file::{RootKeyFile, RunFile};
use crate::settings::Settings;

/// Where the local authority's certificate lies, in the data folder.
pub(crate) const CERTIFICATE_FILE: &str = "ca.pem";
/// What programs find at the proxy's place.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// What needs no proxy: this machine itself.
const PAST_THE_PROXY: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// Variables of the AWS SDKs that go before those that are set here, or name another account
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>).
const MISLEADING: [&str; 12] = [
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_ACCOUNT_ID",
];
/// Such a variable names an endpoint for one service.
const ENDPOINT_OF_ONE: &str = "AWS_ENDPOINT_URL_";

/// Variables with their values; those without one are to be unset.
pub(crate) type Variables = Vec<(String, Option<OsString>)>;

/// The folder of files that programs under `exec` and `env` need.
pub(crate) fn folder(settings: &Settings) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(&settings.data_dir)?.join("exec"))
}

/// The environment for a person's programs, and the files that it names. `inherited` are the names and values that are there already.
pub(crate) fn prepare(settings: &Settings, inherited: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<Variables> {
    let (run, root) = (RunFile::find(settings)?, RootKeyFile::find(settings)?);
    let data_dir = std::path::absolute(&settings.data_dir)?;
    let certificate = data_dir.join(CERTIFICATE_FILE);
    let authority = std::fs::read_to_string(&certificate)
        .with_context(|| format!("failed to read {}: is the running host an older version? Start it again", certificate.display()))?;
    let folder = folder(settings)?;
    let bundle = folder.join("ca-bundle.pem");
    ca_bundle::write(&bundle, &authority)?;
    let trust_store = folder.join("trust-store.jks");
    ca_bundle::write_for_java(&trust_store, &authority)?;
    let inherited: Vec<_> = inherited.filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    let mut variables: Variables = Vec::new();
    let mut set = |name: &str, value: OsString| variables.push((name.to_owned(), Some(value)));
    set("AWS_ACCESS_KEY_ID", root.access_key_id.into());
    set("AWS_SECRET_ACCESS_KEY", root.secret_access_key.clone().into());
    set("AWS_REGION", run.region.clone().into());
    set("AWS_DEFAULT_REGION", run.region.clone().into());
    set("AWS_ENDPOINT_URL", run.control.clone().into());
    // What `aws configure` writes is kept apart from the person's own, and goes behind what is said here.
    set("AWS_CONFIG_FILE", folder.join("aws-config").into());
    set("AWS_SHARED_CREDENTIALS_FILE", folder.join("aws-credentials").into());
    if !inherited.iter().any(|(name, _)| name == "AWS_DEFAULT_OUTPUT") {
        set("AWS_DEFAULT_OUTPUT", "json".into());
    }
    let credentials = ProxyCredentials::new(&root.secret_access_key);
    for (name, value) in proxy(&credentials, ProxyUser::Exec, &run.control, &inherited) {
        set(&name, value);
    }
    for (name, value) in trust(&bundle) {
        set(&name, value);
    }
    for (name, value) in java::variables(&run.control, &hosts_past_the_proxy(&inherited), &trust_store, &inherited) {
        set(&name, value);
    }
    // The host is found from any folder, and plays the same account there.
    set("FRONTDESK_DATA_DIR", data_dir.into());
    set("FRONTDESK_PROGRAMS_DIR", std::path::absolute(settings.programs_folder()?)?.into());
    set("FRONTDESK_REGION", run.region.into());
    set("FRONTDESK_ACCOUNT_ID", settings.account_id.clone().into());
    let misleads = |name: &str| MISLEADING.contains(&name) || name.starts_with(ENDPOINT_OF_ONE);
    variables.extend(inherited.into_iter().filter(|(name, _)| misleads(name)).map(|(name, _)| (name, None)));
    Ok(variables)
}

/// What leads a program to the proxy, and past it where nobody is to be asked.
pub(crate) fn proxy(
    credentials: &ProxyCredentials,
    user: ProxyUser,
    control: &str,
    inherited: &[(String, OsString)],
) -> Vec<(String, OsString)> {
    let url = credentials.url(user, control);
    let mut variables: Vec<(String, OsString)> = PROXY_VARIABLES.map(|name| (name.to_owned(), url.clone().into())).into();
    let past = hosts_past_the_proxy(inherited);
    variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), past.clone().into())));
    // Node has the proxy's variables from 24 on (and 22.21), for its own `https` and `fetch`, where this says so.
    variables.push(("NODE_USE_ENV_PROXY".to_owned(), "1".into()));
    variables
}

/// What makes a program trust the certificates of this file.
pub(crate) fn trust(bundle: &Path) -> Vec<(String, OsString)> {
    let variables = ca_bundle::VARIABLES.into_iter().chain([ca_bundle::NODE_VARIABLE]);
    variables.map(|name| (name.to_owned(), bundle.as_os_str().to_owned())).collect()
}

/// Those of an environment.
fn hosts_past_the_proxy(inherited: &[(String, OsString)]) -> String {
    let named = |name: &str| inherited.iter().find(|(found, _)| found == name).map(|(_, value)| value.to_string_lossy().into_owned());
    past_the_proxy(&named("no_proxy").or(named("NO_PROXY")).unwrap_or_default())
}

/// The hosts that are called without a proxy: those that were before, but for all of AWS's, and this machine.
fn past_the_proxy(before: &str) -> String {
    let is_aws = |host: &str| {
        let host = host.trim_start_matches(['*', '.']).split(':').next().unwrap_or_default().to_ascii_lowercase();
        host.is_empty() || host == "com" || host == "amazonaws.com" || host.ends_with(".amazonaws.com")
    };
    let before = before.split([',', ' ']).map(str::trim).filter(|host| !host.is_empty() && !is_aws(host) && !PAST_THE_PROXY.contains(host));
    PAST_THE_PROXY.into_iter().chain(before).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, expected: &str) {
        assert_eq!(past_the_proxy(before), format!("127.0.0.1,localhost,::1{expected}"), "{before}");
    }

    #[test]
    fn hosts_of_aws_are_not_called_past_the_proxy() {
        check("", "");
        check("*", "");
        check("localhost, .example.com,10.0.0.0/8", ",.example.com,10.0.0.0/8");
        check("amazonaws.com,.amazonaws.com,*.amazonaws.com,.us-east-1.amazonaws.com,sts.amazonaws.com:443,com,.com", "");
        check(".AmazonAWS.com", "");
        check("notamazonaws.com", ",notamazonaws.com");
    }
}
