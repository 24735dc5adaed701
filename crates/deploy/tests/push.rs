//! Pushes against a registry in memory: what is there is not sent, what is interrupted goes on, what is refused is told.

#[path = "double/registry.rs"]
mod registry_double;

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use frontdesk_aws::SecretKey;
use frontdesk_deploy::call::Retries;
use frontdesk_deploy::image::{self, Image, ImageSpec, Platform};
use frontdesk_deploy::registry::{Login, PushEvent, Pushed, Registry, RegistryError};
use registry_double::{Faults, RegistryDouble};

/// Larger than two chunks of eight megabytes when compressed.
const MODEL_BYTES: usize = 20_000_000;
const RETRIES: Retries = Retries { times_max: 3, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2) };

struct Built {
    image: Image,
    _folder: tempfile::TempDir,
}

/// An image whose model takes several chunks.
fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| build(MODEL_BYTES))
}

/// An image whose model does not compress.
fn build(model_bytes: usize) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    })
    .take(model_bytes)
    .collect();
    std::fs::write(path("model"), noise).unwrap();
    std::fs::write(path("faq.csv"), "question,answer\n").unwrap();
    let spec = ImageSpec::agent(&static_program(&path("program")), Platform::LinuxArm64, &[path("model")], &path("faq.csv"));
    let image = image::build(&spec, &path("layout"), &|_| ()).unwrap();
    Built { image, _folder: folder }
}

/// The header of a static program for 64-bit ARM.
fn static_program(path: &std::path::Path) -> std::path::PathBuf {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    for half in [2u16, 183, 1, 0] {
        program.extend(half.to_le_bytes());
    }
    program.resize(52, 0);
    for size in [64u16, 56, 0, 64, 0, 0] {
        program.extend(size.to_le_bytes());
    }
    std::fs::write(path, program).unwrap();
    path.to_owned()
}

fn registry(host: &str, login: Login) -> Registry {
    Registry::new(&format!("{host}/frontdesk:v1").parse().unwrap(), login).unwrap().with_retries(RETRIES)
}

async fn push(host: &str, login: Login, image: &Image) -> (Result<Pushed, RegistryError>, Vec<PushEvent>) {
    let events = Mutex::new(Vec::new());
    let pushed = registry(host, login).push(image, &|event| events.lock().unwrap().push(event)).await;
    (pushed, events.into_inner().unwrap())
}

/// Panics unless the registry has all of the image, under its tag too.
fn check_kept(double: &RegistryDouble, image: &Image) {
    for layer in &image.layers {
        let read = std::fs::read(image.folder.join("blobs/sha256").join(&layer.descriptor.digest[7..])).unwrap();
        assert!(double.blob(&layer.descriptor.digest) == Some(read), "{}", layer.name);
    }
    assert!(double.blob(&image.config.digest).is_some());
    let manifest = double.manifest("v1").unwrap();
    assert_eq!(double.manifest(&image.manifest.digest), Some(manifest));
}

fn login(password: &str) -> Login {
    Login::Password { user: "AWS".to_owned(), password: SecretKey::new(password) }
}

fn resumed(events: &[PushEvent]) -> Vec<u64> {
    events.iter().filter_map(|event| if let PushEvent::Resumed { at, .. } = event { Some(*at) } else { None }).collect()
}

#[tokio::test]
async fn an_image_is_pushed_once() {
    let (built, double) = (built(), RegistryDouble::start(Faults::default()).await);
    let (pushed, _) = push(&double.host, Login::Anonymous, &built.image).await;
    let pushed = pushed.unwrap();
    assert_eq!(pushed.reference, format!("{}/frontdesk@{}", double.host, built.image.manifest.digest));
    assert_eq!((pushed.blobs_sent, pushed.blobs_present, pushed.bytes_sent), (5, 0, built.image.size()));
    check_kept(&double, &built.image);
    // The model in three chunks, the others whole.
    assert_eq!((double.count("PATCH"), double.count("GET")), (3, 0), "{:?}", double.asked());
    let before = double.asked().len();
    let (again, events) = push(&double.host, Login::Anonymous, &built.image).await;
    assert_eq!((again.unwrap().bytes_sent, double.asked().len() - before, events.len()), (0, 1, 0));
}

#[tokio::test]
async fn what_the_registry_has_is_not_sent() {
    let (built, double) = (built(), RegistryDouble::start(Faults::default()).await);
    let model = &built.image.layers[1].descriptor;
    double.keep_blob(&model.digest, std::fs::read(built.image.folder.join("blobs/sha256").join(&model.digest[7..])).unwrap());
    let (pushed, events) = push(&double.host, Login::Anonymous, &built.image).await;
    let pushed = pushed.unwrap();
    assert_eq!((pushed.blobs_sent, pushed.blobs_present), (4, 1));
    assert!(pushed.bytes_sent < 1_000_000, "{pushed:?}");
    assert!(events.contains(&PushEvent::BlobExists { digest: model.digest.clone(), bytes: model.size }));
    assert_eq!(double.count("PATCH"), 0);
    check_kept(&double, &built.image);
}

#[tokio::test]
async fn an_interrupted_chunk_goes_on_where_the_registry_has_it() {
    let (built, double) = (built(), RegistryDouble::start(Faults { halves: 2, ..Faults::default() }).await);
    let (pushed, events) = push(&double.host, Login::Anonymous, &built.image).await;
    pushed.unwrap();
    check_kept(&double, &built.image);
    let chunk = 8 * 1024 * 1024;
    assert_eq!(resumed(&events), [(chunk - 1) / 2, (chunk - 1) / 2 + (chunk - 1) / 2], "{events:?}");
}

#[tokio::test]
async fn a_line_that_breaks_in_mid_chunk_costs_no_more_than_the_chunk() {
    let (built, double) = (built(), RegistryDouble::start(Faults::default()).await);
    let line = double.behind_a_line_that_breaks(vec![5_000_000, 9_000_000]).await;
    let (pushed, events) = push(&line, Login::Anonymous, &built.image).await;
    pushed.unwrap();
    check_kept(&double, &built.image);
    assert!(!resumed(&events).is_empty(), "{events:?}");
}

#[tokio::test]
async fn an_upload_that_is_forgotten_begins_anew() {
    let (built, double) = (built(), RegistryDouble::start(Faults { halves: 1, forgotten: 1, ..Faults::default() }).await);
    let (pushed, events) = push(&double.host, Login::Anonymous, &built.image).await;
    pushed.unwrap();
    check_kept(&double, &built.image);
    assert!(resumed(&events).is_empty());
    assert_eq!(double.count("POST"), 6, "{:?}", double.asked());
}

#[tokio::test]
async fn a_registry_that_takes_no_chunks_gets_the_blob_whole() {
    for chunk_status in [400, 405, 501] {
        let (built, double) = (built(), RegistryDouble::start(Faults { chunk_status: Some(chunk_status), ..Faults::default() }).await);
        push(&double.host, Login::Anonymous, &built.image).await.0.unwrap();
        check_kept(&double, &built.image);
        assert_eq!(double.count("PATCH"), 1);
    }
}

#[tokio::test]
async fn attempts_end() {
    let (built, double) = (built(), RegistryDouble::start(Faults { chunk_status: Some(503), ..Faults::default() }).await);
    let error = push(&double.host, Login::Anonymous, &built.image).await.0.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert!(error.to_string().contains(&built.image.layers[1].descriptor.digest), "{error}");
    assert_eq!(double.manifest("v1"), None);
}

#[tokio::test]
async fn a_registry_is_logged_in_to_as_it_asks() {
    for is_basic in [true, false] {
        let faults = Faults { login: Some(("AWS", "sesame")), is_basic, ..Faults::default() };
        let (built, double) = (built(), RegistryDouble::start(faults).await);
        push(&double.host, login("sesame"), &built.image).await.0.unwrap();
        check_kept(&double, &built.image);
        assert_eq!(double.count("GET /token"), usize::from(!is_basic));
        // Asked once, then it is known.
        assert_eq!(double.asked()[0], double.asked()[if is_basic { 1 } else { 2 }]);

        let error = push(&double.host, login("wrong"), &built.image).await.0.unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("wrong"), "{error:?}");
    }
    let faults = Faults { login: Some(("AWS", "sesame")), is_basic: true, ..Faults::default() };
    let (built, double) = (built(), RegistryDouble::start(faults).await);
    let error = push(&double.host, Login::Anonymous, &built.image).await.0.unwrap_err();
    assert!(matches!(error, RegistryError::LoginWanted), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_arrives_damaged_is_refused() {
    let (built, double) = (built(), RegistryDouble::start(Faults { is_corrupt: true, ..Faults::default() }).await);
    let error = push(&double.host, Login::Anonymous, &built.image).await.0.unwrap_err();
    assert!(error.to_string().contains("did not match"), "{error}");
    assert_eq!(double.manifest("v1"), None);
}

#[tokio::test]
async fn an_image_that_is_gone_is_no_image() {
    let (built, double) = (build(1000), RegistryDouble::start(Faults::default()).await);
    std::fs::remove_dir_all(&built.image.folder).unwrap();
    let error = push(&double.host, Login::Anonymous, &built.image).await.0.unwrap_err();
    assert!(matches!(error, RegistryError::NoImage { .. }), "{error:?}");
    assert!(double.asked().is_empty());
}
