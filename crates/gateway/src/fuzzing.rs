//! What the fuzz targets (`fuzz/`) drive: each function takes any bytes and panics where the gateway breaks a promise. Compiled for fuzzing and for the tests
//! alone, which run the targets over their seeds, so that neither goes stale.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use frontdesk_store::{Deployment, IntegrationType, Method, Resource};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use percent_encoding::percent_decode_str;
use prometheus_client::registry::Registry;

use crate::admission::Now;
use crate::apis::edit;
use crate::backend::{Backends, Facts, HttpTarget, Source, Template};
use crate::cache::{CacheScope, CacheSettings};
use crate::exchange::Exchange;
use crate::forwarded::caller_address;
use crate::key;
use crate::keys::import;
use crate::metrics::Metrics;
use crate::route::{Deployed, RouteMaker, RouteTable};
use crate::stage_logs::StageLogs;
use frontdesk_trace::Trace;

/// The resources of the API that routes lead to.
const PATHS: [&str; 9] = [
    "/",
    "/invoke",
    "/orders",
    "/orders/{order}",
    "/orders/new",
    "/orders/{order}/lines/{line}",
    "/orders/{order}/{rest+}",
    "/files/{path+}",
    "/files/readme",
];

/// A path as it came, and the host and `X-Forwarded-For` beside it, one a line.
///
/// # Panics
/// When a route is found that does not fit the path, one that fits is not found, a parameter could lead a backend out of its place, or a stranger's header is
/// believed.
pub fn route(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, host, forwarded) = (line(), line(), line());
    check_forwarded(forwarded);
    // The listener hands on what is a request target, and nothing else.
    let Ok(uri) = Uri::try_from(path) else { return };
    let path = uri.path();
    let found = routes().find(std::str::from_utf8(host).ok(), path, "GET");
    let Ok(route) = &found else {
        if let Some(segments) = path.strip_prefix("/prod/").filter(|_| host.is_empty()) {
            let fits = PATHS.iter().find(|resource| fits(resource, segments).is_some());
            assert!(fits.is_none() || segments.ends_with('/'), "{path} fits {fits:?} and is not found");
        }
        return;
    };
    for (name, value) in &route.parameters {
        let leads_out = value.split(['/', '\\']).any(|part| matches!(part, "." | ".."));
        assert!(!value.is_empty() && !leads_out && !value.contains('\0'), "{path}: {name} is {value:?}");
    }
    let resource = &route.entry.names.resource;
    if let Some(in_stage) = path.strip_prefix("/prod/").filter(|_| host.is_empty() && resource != "/") {
        let expected = fits(resource, in_stage.trim_end_matches('/'));
        assert_eq!(expected.as_ref(), Some(&route.parameters), "{path} is no {resource}");
    }
}

/// The parameters with which a path is a resource's, told as simply as possible.
fn fits(resource: &str, path: &str) -> Option<Vec<(String, String)>> {
    let path: Vec<&str> = path.split('/').collect();
    let template: Vec<&str> = resource.trim_start_matches('/').split('/').collect();
    let mut parameters = Vec::new();
    let decode = |segment: &str| {
        let value = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
        let is_sound = !value.is_empty() && !value.contains('\0') && !value.split(['/', '\\']).any(|part| part == "." || part == "..");
        is_sound.then_some(value)
    };
    for (index, part) in template.iter().enumerate() {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            None => (path.get(index) == Some(part)).then_some(())?,
            Some(name) => match name.strip_suffix('+') {
                None => parameters.push((name.to_owned(), decode(path.get(index)?)?)),
                Some(name) => {
                    let rest: Option<Vec<String>> = path.get(index..)?.iter().map(|segment| decode(segment)).collect();
                    let rest = rest.filter(|rest| !rest.is_empty())?;
                    parameters.push((name.to_owned(), rest.join("/")));
                    return Some(parameters);
                }
            },
        }
    }
    (path.len() == template.len()).then_some(parameters)
}

fn routes() -> &'static RouteTable {
    static ROUTES: OnceLock<RouteTable> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let maker = RouteMaker {
            metrics: Metrics::register(&mut Registry::default()),
            backends: Backends::new(HashMap::new()).expect("this machine has certificate authorities"),
            cache: CacheSettings { scope: CacheScope::PerKey, bytes_max: 1 << 20 },
            logs: Arc::new(StageLogs::nowhere()),
            seeded: "seeded".to_owned(),
        };
        let deployed = |api_id: &str| {
            let integration = edit::new_integration(IntegrationType::Mock);
            let methods = BTreeMap::from([("ANY".to_owned(), Method { integration: Some(integration), ..edit::new_method() })]);
            let resource = |(number, path): (usize, &&str)| {
                let resource = Resource { path: (*path).to_owned(), methods: methods.clone(), ..edit::root(number.to_string()) };
                (resource.id.clone(), resource)
            };
            let deployment = Deployment {
                id: "d1".to_owned(),
                api_id: api_id.to_owned(),
                description: None,
                created_at: 0,
                resources: PATHS.iter().enumerate().map(resource).collect(),
                gateway_responses: BTreeMap::new(),
                binary_media_types: Vec::new(),
            };
            let mut stage = edit::new_stage(api_id, "prod", 0);
            stage.deployment_id = "d1".to_owned();
            Deployed { api_id: api_id.to_owned(), api_name: api_id.to_owned(), stages: vec![(stage, deployment)] }
        };
        maker.table(vec![deployed("seeded"), deployed("other")], &RouteTable::default())
    })
}

fn check_forwarded(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", value);
    let trusted = ["10.0.0.0/8".parse().expect("it is a network")];
    let (stranger, proxy) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 0, 0, 1]));
    assert_eq!(caller_address(stranger, &headers, &trusted), stranger, "a stranger's header is believed");
    let told = caller_address(proxy, &headers, &trusted);
    let text = String::from_utf8_lossy(headers["x-forwarded-for"].as_bytes()).into_owned();
    let is_written = text.split(',').any(|hop| {
        let hop = hop.trim();
        let bare = hop.trim_start_matches('[').split(']').next().unwrap_or(hop);
        [hop, bare, hop.rsplit_once(':').map_or(hop, |(address, _)| address)]
            .iter()
            .any(|hop| hop.parse::<IpAddr>().is_ok_and(|address| address.to_canonical() == told))
    });
    assert!(told == proxy || is_written, "{told} stands nowhere in {text:?}");
}

/// A template, a parameter mapping, a path parameter's value and a query, one a line.
///
/// # Panics
/// When a text without references is not rendered as it is, or a value of the caller's leads a request to another server or out of its place there.
pub fn mapping(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (template, mapping, value, query) = (line(), line(), line(), line());
    let Ok(request) = Request::get(format!("/orders?{query}")).header("x-value", HeaderValue::from_str(value).unwrap_or(EMPTY)).body(())
    else {
        return;
    };
    let (head, ()) = request.into_parts();
    let exchange = exchange(&head.headers);
    let parameters = [("value".to_owned(), value.to_owned())];
    let variables = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
    let facts = Facts::of(&exchange, "000000000000", &head, &parameters, &variables, query.as_bytes());
    if let Ok(read) = Template::parse(template) {
        let rendered = read.render(&facts);
        assert!(template.contains('$') || rendered == template, "{template:?} became {rendered:?}");
    }
    let Ok(source) = Source::parse(mapping) else { return };
    let _ = source.value(&facts);
    let sources = HashMap::from([("value".to_owned(), source)]);
    let target = HttpTarget::compile("http://backend.test/base/{value}/end", "/orders/{value}", &sources).expect("it is a URL");
    let Ok(uri) = target.uri(&facts) else { return };
    assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some("backend.test"), "{uri}");
    let segments: Vec<&str> = uri.path().split('/').collect();
    assert!(matches!(segments[..], ["", "base", value, "end"] if !is_dots(value)), "{uri}");
}

/// Whether servers read a segment as this folder, or the one above.
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

fn exchange(headers: &HeaderMap) -> Exchange {
    let request_id = uuid::Uuid::from_u128(1);
    Exchange {
        request_id,
        trace: Trace::of(headers, request_id, 0),
        began: Now { unix_ms: 0, monotonic_ns: 0 },
        source_ip: IpAddr::from([192, 0, 2, 7]),
        version: Version::HTTP_11,
        verb: http::Method::GET,
        path: "/orders".to_owned(),
        host: None,
        user_agent: None,
        route: None,
        api_key_id: None,
        refusal: None,
        integration: None,
        cache: None,
        status: StatusCode::OK,
    }
}

/// A file of keys.
///
/// # Panics
/// When a row is read that no key may have, or rows written again are read as others.
pub fn import(file: &[u8]) {
    let Ok(rows) = import::read(file) else { return };
    assert!(!rows.is_empty());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["Name", "Key", "Description", "Enabled", "UsagePlanIds"]).expect("memory takes it");
    for row in &rows {
        key::check_given(row.value.expose()).expect("a value that is no key was read");
        let about = &row.about;
        let (name, description) = (about.name.as_deref().unwrap_or_default(), about.description.as_deref().unwrap_or_default());
        let enabled = if about.enabled == Some(true) { "true" } else { "false" };
        let plans = row.plans.join(",");
        writer.write_record([name, row.value.expose(), description, enabled, &plans]).expect("memory takes it");
    }
    let again = import::read(&writer.into_inner().expect("memory takes it")).expect("what was read can be written and read");
    let told = |rows: &[import::Row]| -> Vec<_> {
        let row = |row: &import::Row| (row.value.expose().to_owned(), row.about.name.clone(), row.about.enabled, row.plans.clone());
        rows.iter().map(row).collect()
    };
    assert_eq!(told(&again), told(&rows));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, run: fn(&[u8])) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        let seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{} holds no seeds", folder.display());
        for seed in seeds {
            run(&std::fs::read(&seed).unwrap());
        }
    }

    #[test]
    fn the_seeds_keep_every_promise() {
        check("route", route);
        check("mapping", mapping);
        check("import", import);
    }
}
