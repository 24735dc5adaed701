//! What every image holds beside the program: the roots that TLS trusts, the user it runs as, places to write, and for a dynamic program its libraries.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::layer::{Entry, Layer};
use super::platform::Executable;
use super::{ImageError, USER, libraries};

/// Where OpenSSL, rustls and Go look on Debian's kin.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const HOME: &str = "/home/frontdesk";
const PEM_LINE_CHARS: usize = 64;

/// The base layer for `program`.
pub(super) fn layer(program: &Executable) -> Result<Layer, ImageError> {
    let mut layer = Layer::default();
    let text = |text: String| Entry::Bytes { bytes: text.into_bytes(), mode: 0o644 };
    layer
        .add(Path::new("/etc/passwd"), text(format!("root:x:0:0:root:/:/sbin/nologin\nfrontdesk:x:{USER}:{USER}::{HOME}:/sbin/nologin\n")));
    layer.add(Path::new("/etc/group"), text(format!("root:x:0:\nfrontdesk:x:{USER}:\n")));
    // Without it glibc asks no name server.
    layer.add(Path::new("/etc/nsswitch.conf"), text("passwd: files\ngroup: files\nhosts: files dns\n".to_owned()));
    layer.add(Path::new(CA_BUNDLE), text(ca_bundle()));
    layer.add(Path::new("/tmp"), Entry::Folder { mode: 0o1777, owner: 0 });
    layer.add(Path::new(HOME), Entry::Folder { mode: 0o755, owner: USER });
    for (target, source) in libraries::libraries(program)? {
        layer.add(&target, Entry::File { source, mode: 0o755 });
    }
    Ok(layer)
}

/// Mozilla's roots as of this program's build, not this machine's: the same program makes the same image everywhere.
fn ca_bundle() -> String {
    let mut bundle = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        bundle.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64_STANDARD.encode(certificate.as_ref());
        for line in encoded.as_bytes().chunks(PEM_LINE_CHARS) {
            bundle.push_str(&String::from_utf8_lossy(line));
            bundle.push('\n');
        }
        bundle.push_str("-----END CERTIFICATE-----\n");
    }
    bundle
}
