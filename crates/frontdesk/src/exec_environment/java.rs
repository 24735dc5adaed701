//! Java's way to a proxy: it reads none of the variables that others do, but options in `JAVA_TOOL_OPTIONS`, which every Java takes up: those of programs that are
//! not started by `java` too, and version 8's. (`JDK_JAVA_OPTIONS` is the launcher's alone, from 9 on; both are told on stderr as "Picked up".)
//!
//! The proxy's credential is not among them: Java sends it to no proxy by itself, and it would be told on stderr. The proxy finds it in the process's environment.

use std::ffi::OsString;
use std::path::Path;

/// Taken up by each Java, before what its command line says.
const TOOL_OPTIONS: &str = "JAVA_TOOL_OPTIONS";
/// These count after it, the launcher's and HotSpot's own.
const LATER_OPTIONS: [&str; 2] = ["JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"];
/// The properties that are set here (Java's page "Networking Properties", and the reference guide of JSSE).
const PROXY_HOST: &str = "https.proxyHost";
const PROXY_PORT: &str = "https.proxyPort";
/// For https too, whatever its name says.
const PAST_THE_PROXY: &str = "http.nonProxyHosts";
const TRUST_STORE: &str = "javax.net.ssl.trustStore";
const TRUST_STORE_TYPE: &str = "javax.net.ssl.trustStoreType";
/// Those, and the password that would belong to another store.
const OURS: [&str; 6] = [PROXY_HOST, PROXY_PORT, PAST_THE_PROXY, TRUST_STORE, TRUST_STORE_TYPE, "javax.net.ssl.trustStorePassword"];

/// The variables for the proxy at this control URL, past it for these hosts (as `NO_PROXY` has them), and with this trust store. What was there already stays in
/// front, but for what would lead elsewhere.
pub(super) fn variables(
    control: &str,
    past_the_proxy: &str,
    trust_store: &Path,
    inherited: &[(String, OsString)],
) -> Vec<(String, OsString)> {
    let inherited = |name: &str| inherited.iter().find(|(found, _)| found == name).map(|(_, value)| value.to_string_lossy().into_owned());
    let address = control.trim_start_matches("http://").trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "80"));
    let mut options = inherited(TOOL_OPTIONS).map_or_else(Vec::new, |before| of_others(&before));
    for (property, value) in [
        (PROXY_HOST, host.trim_matches(['[', ']']).to_owned()),
        (PROXY_PORT, port.to_owned()),
        (PAST_THE_PROXY, patterns(past_the_proxy)),
        (TRUST_STORE, trust_store.to_string_lossy().into_owned()),
        (TRUST_STORE_TYPE, "JKS".to_owned()),
    ] {
        options.push(quoted(&format!("-D{property}={value}")));
    }
    let mut variables = vec![(TOOL_OPTIONS.to_owned(), options.join(" ").into())];
    for name in LATER_OPTIONS {
        if let Some(before) = inherited(name) {
            variables.push((name.to_owned(), of_others(&before).join(" ").into()));
        }
    }
    variables
}

/// The options of a variable that set none of our properties, as they are written there.
fn of_others(options: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quote = None;
    for character in options.chars() {
        match (quote, character) {
            (None, ' ' | '\t' | '\n' | '\r') => found.push(String::new()),
            (opened, _) => {
                match opened {
                    None if matches!(character, '\'' | '"') => quote = Some(character),
                    Some(opening) if opening == character => quote = None,
                    _ => {}
                }
                if let Some(option) = found.last_mut() {
                    option.push(character);
                }
            }
        }
    }
    let is_ours = |option: &str| {
        let plain = option.replace(['\'', '"'], "");
        plain.strip_prefix("-D").is_some_and(|property| OURS.contains(&property.split('=').next().unwrap_or_default()))
    };
    found.retain(|option| !option.is_empty() && !is_ours(option));
    found
}

/// An option as it stands among others: in quotes where it holds blanks, which are no part of it (the JVM Tool Interface, "Tool Options").
fn quoted(option: &str) -> String {
    if !option.contains([' ', '\t', '\n', '\r', '\'', '"']) {
        return option.to_owned();
    }
    // There is no way to write a quote but within those of the other kind.
    option
        .split_inclusive('\'')
        .map(|piece| match piece.strip_suffix('\'') {
            Some(before) => format!("'{before}'\"'\""),
            None => format!("'{piece}'"),
        })
        .collect()
}

/// Hosts as Java writes them: with `|` between, a star for what may stand before. A network, or a host at one port only, cannot be said.
fn patterns(hosts: &str) -> String {
    let is_plain =
        |host: &str| host.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '*'));
    let pattern = |host: &str| match host.strip_prefix('.') {
        Some(_) => format!("*{host}"),
        None if host.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{host}]"),
        // As the others take it, a name means all below it, too.
        None if host.parse::<std::net::Ipv4Addr>().is_err() && host.contains('.') && !host.contains('*') => format!("{host}|*.{host}"),
        None => host.to_owned(),
    };
    let hosts = hosts.split(',').filter(|host| is_plain(host) || host.parse::<std::net::Ipv6Addr>().is_ok());
    hosts.map(pattern).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(inherited: &[(&str, &str)], expected: &[(&str, &str)]) {
        let inherited: Vec<_> = inherited.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        let past = "127.0.0.1,localhost,::1,.example.com,intern.example.net,10.0.0.0/8,build";
        let found = variables("http://127.0.0.1:4566", past, Path::new("/data/a b/trust.jks"), &inherited);
        let ours = "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4566 \
            -Dhttp.nonProxyHosts=127.0.0.1|localhost|[::1]|*.example.com|intern.example.net|*.intern.example.net|build \
            '-Djavax.net.ssl.trustStore=/data/a b/trust.jks' -Djavax.net.ssl.trustStoreType=JKS";
        let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), value.replace('@', ours).into())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn java_is_told_of_the_proxy_and_keeps_its_other_options() {
        check(&[], &[(TOOL_OPTIONS, "@")]);
        check(&[(TOOL_OPTIONS, " -Xmx1g  '-Dname=a b'\t-Dx=\"it's\" ")], &[(TOOL_OPTIONS, "-Xmx1g '-Dname=a b' -Dx=\"it's\" @")]);
    }

    #[test]
    fn what_would_lead_elsewhere_is_taken_out() {
        let elsewhere = "-Dhttps.proxyHost=proxy -Xmx1g '-Djavax.net.ssl.trustStore=/a b' -D'https.proxyPort'=1 -Dhttps.proxyHostless=1";
        let kept = "-Xmx1g -Dhttps.proxyHostless=1";
        check(
            &[(TOOL_OPTIONS, elsewhere), ("_JAVA_OPTIONS", elsewhere), ("JDK_JAVA_OPTIONS", "-Dhttp.nonProxyHosts=*")],
            &[(TOOL_OPTIONS, &format!("{kept} @")), ("JDK_JAVA_OPTIONS", ""), ("_JAVA_OPTIONS", kept)],
        );
        // Under `exec` under `exec`.
        let once = variables("http://[::1]:9", "", Path::new("/t"), &[]);
        assert_eq!(variables("http://[::1]:9", "", Path::new("/t"), &once), once);
        assert!(once[0].1.to_str().unwrap().starts_with("-Dhttps.proxyHost=::1 -Dhttps.proxyPort=9 "));
    }

    #[test]
    fn quotes_in_a_path_are_written_as_java_reads_them() {
        assert_eq!(quoted("/a'b c"), "'/a'\"'\"'b c'");
        assert_eq!(of_others(&quoted("/a'b c")), ["'/a'\"'\"'b c'"]);
    }
}
