//! What the program itself serves at the gateway's address, beside the APIs: the chat page and a health check.

use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use crate::integration::Body;

const CHAT_PAGE: &str = include_str!("chat.html");

/// The program's own answer for a path, if the path is its own.
pub(crate) fn own_page(verb: &Method, path: &str) -> Option<Response<Body>> {
    if verb != Method::GET && verb != Method::HEAD {
        return None;
    }
    let (content_type, content) = match path {
        "/" => ("text/html; charset=utf-8", CHAT_PAGE),
        "/healthz" => ("application/json", "{\"status\":\"ok\"}"),
        _ => return None,
    };
    let content = if verb == Method::HEAD { "" } else { content };
    let mut response = Response::new(Full::from(content).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The page takes a key: no other site may frame it.
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}
